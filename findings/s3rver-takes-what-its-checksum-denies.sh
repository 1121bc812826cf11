#!/usr/bin/env bash
# s3rver takes an object whose Content-MD5 is another's, where S3 answers 400 BadDigest: what was damaged on the way is
# stored. Fit to try an application, not to keep evidence.
#
# Version: s3rver 3.7.1 (npm), client boto3 1.44, Python 3.11 or newer, Node.js 18 or newer.
# Seen: put_object of `hello` with the Content-MD5 of nothing: taken, 5 bytes.
# Run by hand; it fails when the behaviour changes.
set -euo pipefail
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q "boto3>=1.44,<2"
(cd "$work" && npm init -y >/dev/null && npm install --silent --no-audit --no-fund "s3rver@${S3RVER:-3.7.1}")
mkdir "$work/data"
port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
node "$work/node_modules/s3rver/bin/s3rver.js" -d "$work/data" -a 127.0.0.1 -p "$port" >"$work/log" 2>&1 &
node -p "'s3rver ' + require('$work/node_modules/s3rver/package.json').version"
cat >"$work/run.py" <<'PYTHON'
import sys, time
import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

client = boto3.client(
    "s3", endpoint_url=f"http://127.0.0.1:{sys.argv[1]}", region_name="us-east-1", aws_access_key_id="S3RVER",
    aws_secret_access_key="S3RVER",
    config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}, request_checksum_calculation="when_required"),
)
for attempt in range(200):
    try:
        client.create_bucket(Bucket="evidence")
        break
    except BotoCoreError:
        time.sleep(0.1)
try:
    client.put_object(Bucket="evidence", Key="a", Body=b"hello", ContentMD5="1B2M2Y8AsgTpgAmY7PhCfg==")
    said = f"taken, {client.head_object(Bucket='evidence', Key='a')['ContentLength']} bytes"
except ClientError as error:
    said = error.response["Error"]["Code"]
print(f"`hello` with the Content-MD5 of nothing: {said}")
sys.exit(0 if said == "taken, 5 bytes" else "the behaviour changed")
PYTHON
timeout 120 "$work/venv/bin/python" "$work/run.py" "$port"
