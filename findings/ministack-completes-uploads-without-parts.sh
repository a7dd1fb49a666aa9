#!/usr/bin/env bash
# ministack 1.5.33: CompleteMultipartUpload takes lists that S3 refuses
# A list without parts makes an empty object (S3: MalformedXML). A list in descending order is taken (S3:
# InvalidPartOrder), and so are parts of one byte that are not the last (S3: EntityTooSmall). A test against it
# does not find a client that loses its list of parts.
#
# Needs python3 with venv and the Python package index; installs ministack==1.5.33 and boto3==1.43.11 into a temporary folder.
# Exits 0 while it behaves as described, 1 once it does not.
set -euo pipefail
work=$(mktemp -d)
server=
trap 'if [ -n "$server" ]; then kill -9 "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; fi; rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'ministack==1.5.33' boto3==1.43.11
free() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
port=$(free) key=AKEXAMPLEEXAMPLEEXAM secret=secretsecretsecretsecretsecretsecret0000
GATEWAY_PORT=$port "$work/venv/bin/ministack" >"$work/log" 2>&1 &
server=$!
"$work/venv/bin/pip" show ministack | grep ^Version
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
def upload(key, bodies, listed):
    name = s3.create_multipart_upload(Bucket="bucket", Key=key)["UploadId"]
    etags = [s3.upload_part(Bucket="bucket", Key=key, UploadId=name, PartNumber=number, Body=body)["ETag"]
             for number, body in enumerate(bodies, 1)]
    parts = [{"PartNumber": number, "ETag": etags[number - 1]} for number in listed]
    return s3.complete_multipart_upload(Bucket="bucket", Key=key, UploadId=name, MultipartUpload={"Parts": parts})


read = lambda key: s3.get_object(Bucket="bucket", Key=key)["Body"].read()
seen("no part listed", code(lambda: upload("none", [b"a"], [])), 200)
seen("the object", read("none"), b"")
seen("descending", code(lambda: upload("down", [b"a" * (5 << 20), b"b"], [2, 1])), 200)
seen("begins with", read("down")[:1], b"a")
seen("parts of one byte", code(lambda: upload("small", [b"a", b"b", b"c"], [1, 2, 3])), 200)
seen("the object", read("small"), b"abc")
END
