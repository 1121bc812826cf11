#!/usr/bin/env bash
# Triton keeps the files of a model that came with the call that loads it (`file:1/model.onnx`) in /tmp after that load
# failed, also after an unload of that name, until another load of that name or until it ends: names that are tried once
# fill the disk, or the memory where /tmp is a tmpfs. Models of clients go by a folder of our own therefore
# (docs/decisions/0026).
#
# Version: tritonserver 2.51.0 of nvidia-pytriton 0.7.0 (PyPI), client tritonclient 2.73, Python 3.11 to 3.13, Linux.
# Seen: loads of 3 names, 1 MB each, by a backend that is not there, each refused, each unloaded: 3 folders in /tmp, 3 MB.
# Run by hand; it fails when the behaviour changes.
set -euo pipefail
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT
python3 -m venv "$work/server"
"$work/server/bin/pip" install -q "nvidia-pytriton==${PYTRITON:-0.7.0}"
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q "tritonclient[grpc]==${TRITONCLIENT:-2.73.0}"
packages=$(echo "$work"/server/lib/python3.*/site-packages)
mkdir "$work/repository"
port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
LD_LIBRARY_PATH="$packages/nvidia_pytriton.libs" "$packages/pytriton/tritonserver/bin/tritonserver" \
  --model-repository="$work/repository" --model-control-mode=explicit --grpc-address=127.0.0.1 --grpc-port="$port" \
  --allow-http=false --allow-metrics=false >"$work/log" 2>&1 &
cat >"$work/run.py" <<'PYTHON'
import glob, json, sys, time
import tritonclient.grpc as grpc

client = grpc.InferenceServerClient(f"127.0.0.1:{sys.argv[1]}")
for attempt in range(600):
    try:
        if client.is_server_ready():
            break
    except grpc.InferenceServerException:
        pass
    time.sleep(0.1)
print("tritonserver", client.get_server_metadata().version)
config = json.dumps({"backend": "absent", "input": [], "output": []})
before = set(glob.glob("/tmp/folder*"))
refused = 0
for attempt in range(3):
    try:
        client.load_model(f"m{attempt}", config=config, files={"file:1/model.bin": bytes(1_000_000)})
    except grpc.InferenceServerException:
        refused += 1
    client.unload_model(f"m{attempt}")
time.sleep(3)
left = set(glob.glob("/tmp/folder*")) - before
size = sum(len(open(f"{folder}/1/model.bin", "rb").read()) for folder in left)
print(f"{refused} loads refused, {len(left)} folders left in /tmp, {size} bytes")
sys.exit(0 if refused == len(left) == 3 else "the behaviour changed")
PYTHON
timeout 120 "$work/venv/bin/python" "$work/run.py" "$port"
