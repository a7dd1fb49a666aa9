#!/usr/bin/env bash
# moto 5.2.5: a body that does not match its Content-MD5 or checksum is stored
# S3 answers BadDigest. A test that sends damaged bytes on purpose finds them stored with 200 here; the answer's
# ETag is that of the bytes that arrived, so comparing ETags still finds it out.
#
# Needs python3 with venv and the Python package index; installs moto[server,s3]==5.2.5 and boto3==1.43.11 into a temporary folder.
# Exits 0 while it behaves as described, 1 once it does not.
set -euo pipefail
work=$(mktemp -d)
server=
trap 'if [ -n "$server" ]; then kill -9 "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; fi; rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'moto[server,s3]==5.2.5' boto3==1.43.11
free() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
port=$(free) key=AKEXAMPLEEXAMPLEEXAM secret=secretsecretsecretsecretsecretsecret0000
"$work/venv/bin/moto_server" -H 127.0.0.1 -p "$port" >"$work/log" 2>&1 &
server=$!
"$work/venv/bin/pip" show moto | grep ^Version
"$work/venv/bin/python" - "$port" "$key" "$secret" <<'END'
import sys, time, urllib.error, urllib.request
import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

address = f"http://127.0.0.1:{sys.argv[1]}"
for _ in range(300):
    try:
        urllib.request.urlopen(address, timeout=2)
        break
    except urllib.error.HTTPError:
        break
    except OSError:
        time.sleep(0.2)
s3 = boto3.client("s3", endpoint_url=address, aws_access_key_id=sys.argv[2], aws_secret_access_key=sys.argv[3],
                  region_name="us-east-1", config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}, request_checksum_calculation="when_required", response_checksum_validation="when_required"))


def code(call):
    """The error code that a call ends with, or its HTTP status."""
    try:
        return call()["ResponseMetadata"]["HTTPStatusCode"]
    except ClientError as error:
        return error.response["Error"]["Code"]


def seen(what, value, expected):
    print(f"{what}: {value!r}")
    if value != expected:
        sys.exit(f"that has changed: it was {expected!r}")


s3.create_bucket(Bucket="bucket")
import base64, hashlib
md5 = base64.b64encode(hashlib.md5(b"other").digest()).decode()
sha = base64.b64encode(hashlib.sha256(b"other").digest()).decode()
seen("wrong MD5", code(lambda: s3.put_object(Bucket="bucket", Key="md5", Body=b"data", ContentMD5=md5)), 200)
seen("wrong SHA-256", code(lambda: s3.put_object(Bucket="bucket", Key="sha", Body=b"data", ChecksumSHA256=sha)), 200)
seen("ETag is of what arrived", s3.head_object(Bucket="bucket", Key="md5")["ETag"].strip('"'), hashlib.md5(b"data").hexdigest())
END
