#!/usr/bin/env bash
# OpenCV demosaics a numpy array of 16-bit values whose rows lie an odd number of bytes apart as if they lay one byte
# closer, and gives other values than the array has, without an error. numpy marks such an array as not aligned.
# Seen with opencv-python-headless 5.0.0.93. Fails where OpenCV reads the array's values, or refuses it.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check opencv-python-headless==5.0.0.93 numpy
"$folder/venv/bin/python" - <<'PYTHON'
import cv2
import numpy as np

print("opencv-python-headless", cv2.__version__)
height, width, stride = 4, 8, 21  # rows of 16 bytes and 5 of padding
buffer = np.zeros(stride * height, np.uint8)
values = np.ndarray((height, width), np.uint16, buffer, strides=(stride, 2))
values[...] = 1000
assert not values.flags.aligned
seen = cv2.cvtColor(values, cv2.COLOR_BayerRGGB2BGR)
print("a mosaic of 1000 everywhere; OpenCV gives", sorted(set(seen.ravel().tolist())))
assert (seen != 1000).any(), "OpenCV reads the array's values now"
assert (cv2.cvtColor(np.require(values, requirements="A"), cv2.COLOR_BayerRGGB2BGR) == 1000).all()
PYTHON
