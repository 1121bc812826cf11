#!/usr/bin/env bash
# A JPEG that lost half its scan and has its end marker: libjpeg-turbo warns ("premature end of data segment") and fills
# the rest with grey. OpenCV prints the warning and returns the picture, with nothing to tell it from a whole one;
# simplejpeg raises it. A 16-bit PNG without a word of its significant bits is cut to its high byte in the same way.
# Seen with opencv-python-headless 5.0.0.93 and simplejpeg 1.9.0. Fails where OpenCV refuses the picture.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check opencv-python-headless==5.0.0.93 simplejpeg==1.9.0 numpy
"$folder/venv/bin/python" - <<'PYTHON'
import cv2
import numpy as np
import simplejpeg

print("opencv-python-headless", cv2.__version__, "simplejpeg", simplejpeg.__version__)
pixels = np.random.default_rng(1).integers(0, 255, (480, 640, 3), np.uint8)
whole = cv2.imencode(".jpg", pixels)[1].tobytes()
half = whole[: len(whole) // 2].rstrip(b"\xff") + b"\xff\xd9"
found = cv2.imdecode(np.frombuffer(half, np.uint8), cv2.IMREAD_COLOR)
assert found is not None, "OpenCV refuses half a JPEG now"
print("OpenCV returns", found.shape, "of half a JPEG; its lowest row has", len(np.unique(found[-1])), "different values")
try:
    simplejpeg.decode_jpeg(half)
except ValueError as error:
    print("simplejpeg raises:", error)
else:
    raise SystemExit("simplejpeg does not raise any more")
deep = np.full((4, 4), 200, np.uint16)
shallow = cv2.imdecode(cv2.imencode(".png", deep)[1], cv2.IMREAD_GRAYSCALE)
print("200 of 4095 in a 16-bit PNG comes out as", int(shallow[0, 0]), "of 255; it is 12")
assert int(shallow[0, 0]) == 0, "OpenCV does not take the high byte any more"
PYTHON
