#!/usr/bin/env bash
# A GigE Vision camera is asked for two single frames, one after the other, on one connection: the first comes, the second
# ends in "no frame arrived within the snap timeout". viva-genicam and libaravis take any number of them from the same
# camera. Seen with telegenicam 2.1.0 and the fake camera of Debian's aravis-tools 0.8.26. Fails where the second comes.
set -euo pipefail

command -v arv-fake-gv-camera-0.8 >/dev/null || { echo "needs arv-fake-gv-camera-0.8 (package aravis-tools)"; exit 2; }
folder=$(mktemp -d)
camera=
trap '[ -z "$camera" ] || kill "$camera"; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check telegenicam==2.1.0
arv-fake-gv-camera-0.8 -i 127.0.0.1 &
camera=$!
"$folder/venv/bin/python" - <<'PYTHON'
import time

import telegenic

for _ in range(50):
    camera = telegenic.Camera("127.0.0.1")
    try:
        camera.connect()
        break
    except telegenic.CameraError:
        time.sleep(0.1)
print("the first:", camera.snap())
try:
    second = camera.snap()
except telegenic.GenicamError as error:
    print("the second:", error)
else:
    raise SystemExit(f"the second comes now: {second}")
PYTHON
