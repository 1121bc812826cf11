"""PGM and PPM (netpbm), binary: P5 is gray, P6 red, green, blue; values of two bytes have the higher one first.

The largest value, maxval, is the file's own statement of its depth, but for 65535, which writers give whatever the
sensor has.
"""

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lineside_inference.errors import ImageTruncated, ImageUndecodable
from lineside_inference.imaging.formats.header import ALLOWED, Header

_GAP = rb"(?:\s|#[^\r\n]{0,500}[\r\n])+"
_HEADER = re.compile(rb"P([56])" + _GAP + rb"(\d{1,9})" + _GAP + rb"(\d{1,9})" + _GAP + rb"(\d{1,9})\s")
_MAX_HEADER_BYTES = 4096
_ONE_BYTE = 255
_TWO_BYTES = 65_535


def read_header(data: bytes | bytearray) -> Header:
    """Return size, bits and the largest value."""
    return _read(data)[0]


def _read(data: bytes | bytearray) -> tuple[Header, int, int]:
    """Return the header, the number of channels, and where the pixels begin."""
    found = _HEADER.match(data, 0, _MAX_HEADER_BYTES)
    if found is None:
        if len(data) < _MAX_HEADER_BYTES:
            raise ImageTruncated(f"the PGM ends inside its header, after {len(data)} bytes")
        raise ImageUndecodable("the PGM has no width, height and maxval", remedy=ALLOWED)
    width, height, peak = (int(found.group(number)) for number in (2, 3, 4))
    if not 0 < peak <= _TWO_BYTES:
        raise ImageUndecodable(f"the PGM says that its largest value is {peak}; 1 to {_TWO_BYTES} are allowed")
    bits = 8 if peak <= _ONE_BYTE else 16
    stated = None if peak in {_ONE_BYTE, _TWO_BYTES} else peak
    return Header("pgm", width, height, bits=bits, peak=stated), 1 if found.group(1) == b"5" else 3, found.end()


def check(data: bytes | bytearray, header: Header) -> None:
    """Check that there are as many bytes as the header says."""
    _, channels, at = _read(data)
    needed = at + header.width * header.height * channels * header.bits // 8
    if len(data) < needed:
        raise ImageTruncated(f"the PGM needs {needed} bytes by its header and has {len(data)}")


def pixels(data: bytes, header: Header) -> NDArray[Any]:
    """Return the values as they are: height x width, or height x width x 3 (BGR), uint8 or uint16."""
    _, channels, at = _read(data)
    kind = np.dtype(">u2" if header.bits > 8 else "u1")  # noqa: PLR2004 - bits of a byte
    values = np.frombuffer(data, kind, header.width * header.height * channels, at)
    values = values.astype(kind.newbyteorder("="))
    if channels == 1:
        return values.reshape(header.height, header.width)
    return np.ascontiguousarray(values.reshape(header.height, header.width, 3)[:, :, ::-1])
