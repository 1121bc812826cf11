#!/usr/bin/env bash
# OpenCV reads a 32-bit BMP with BI_BITFIELDS as if its masks were the usual ones, where the header has 40 bytes:
# red and blue are exchanged, and masks of ten bits are cut to their low byte. The masks stand behind such a header
# (https://learn.microsoft.com/windows/win32/api/wingdi/ns-wingdi-bitmapinfoheader, biCompression BI_BITFIELDS).
# Seen with opencv-python-headless 5.0.0.93: a pure red pixel comes out blue; ten bits of 1023, 0, 512 come out wrong.
# Fails where OpenCV obeys the masks.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check opencv-python-headless==5.0.0.93 numpy
"$folder/venv/bin/python" - <<'PYTHON'
import struct

import cv2
import numpy as np

print("opencv-python-headless", cv2.__version__)


def bmp(pixel: int, masks: tuple[int, int, int]) -> np.ndarray:
    head = struct.pack("<IiiHHIIiiII", 40, 1, 1, 1, 32, 3, 4, 0, 0, 0, 0) + struct.pack("<III", *masks)
    data = b"BM" + struct.pack("<IHHI", 14 + len(head) + 4, 0, 0, 14 + len(head)) + head + struct.pack("<I", pixel)
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


red = bmp(0x000000FF, (0x000000FF, 0x0000FF00, 0x00FF0000))[0, 0].tolist()
print("red, with the masks of red and blue exchanged: BGR", red, "; by its masks [0, 0, 255]")
ten = bmp(1023 << 20 | 512, (0x3FF00000, 0x000FFC00, 0x000003FF))[0, 0].tolist()
print("red 1023, green 0, blue 512 of 1023: BGR", ten, "; by its masks [128, 0, 255]")
assert red == [255, 0, 0], "OpenCV obeys the masks of 8 bits now"
assert abs(ten[0] - 128) > 1 or ten[1] > 1 or abs(ten[2] - 255) > 1, "OpenCV obeys the masks of 10 bits now"
PYTHON
