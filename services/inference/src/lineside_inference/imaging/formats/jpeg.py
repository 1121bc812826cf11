"""JPEG (ITU-T T.81, annex B), decoded by libjpeg-turbo, whose warnings are errors here.

libjpeg fills what is missing with grey and only warns; OpenCV drops the warning. simplejpeg raises it, and decodes to
the same pixels in the same time.
"""
# ruff: noqa: PLR2004 - the numbers are the format's own: markers, offsets and sizes of the standard

import re
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from lineside_inference.errors import ImageBitDepth, ImageTruncated, ImageUndecodable
from lineside_inference.imaging.formats.header import ALLOWED, Header

Bytes = bytes | bytearray

_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
"""In a scan a byte FF is followed by 0 (stuffing), RSTn or FF (fill); anything else begins a marker."""
_SEGMENT = re.compile(rb"\xff+[^\xff]", re.DOTALL)
_BETWEEN_SCANS = frozenset({0xC4, 0xCC, 0xDA, 0xDB, 0xDC, 0xDD, 0xFE, *range(0xE0, 0xF0)})
_NO_FRAME = frozenset({0xC4, 0xC8, 0xCC})
"""DHT, JPG and DAC, which share the range of the frame headers SOF0 to SOF15."""
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_SLICE = 64 * 1024
"""Bytes searched at once: a search holds the interpreter's lock, 1 ms at the worst for so many."""
_MAX_MARKS = _SLICE // 4
"""Bytes FF in a slice of a scan; coded pixels have one in a hundred, and each costs the search its time."""
_MAX_FILL = 64 * 1024
_MAX_SEGMENTS = 4096
_MAX_SCANS = 100
_NOT_CODED = 255


@dataclass(frozen=True)
class Frame:
    """A frame header: size in pixels, and how its coefficients are coded."""

    width: int
    height: int
    precision: int
    components: int
    is_progressive: bool


class Walk:
    """Follows a JPEG's markers from its SOI at `start`; goes on where it stopped when more bytes are there.

    `end` is behind the end marker, None until that was met. All raise ImageTruncated or ImageUndecodable.
    """

    def __init__(self, start: int = 0) -> None:
        self.frame: Frame | None = None
        self.end: int | None = None
        self.segments: list[tuple[int, int, int]] = []
        """Marker, offset and value of the length of each segment."""
        self._at = start + 2
        self._in_scan = False
        self._scans = 0
        self._coded: dict[int, bytearray] = {}
        """By component and coefficient: how many low bits are not coded yet, 255 where nothing is."""

    def to_frame(self, data: Bytes) -> Frame | None:
        """Go as far as the frame header; return it, or None where the data ends before."""
        while self.frame is None and self.end is None and self._step(data):
            pass
        return self.frame

    def to_end(self, data: Bytes) -> bool:
        """Go as far as the data does; return whether the end marker was met, and all before it is there."""
        while self.end is None and self._step(data):
            pass
        return self.end is not None

    def _step(self, data: Bytes) -> bool:
        """Pass one marker, or one slice of a scan; return False where more data is needed."""
        if self._at >= len(data):
            return False
        if self._in_scan and data.count(0xFF, self._at, self._at + _SLICE) > _MAX_MARKS:
            raise ImageUndecodable(f"the JPEG is damaged: its image is full of FF from byte {self._at} on")
        found = _MARKER.search(data, self._at, self._at + _SLICE) if self._in_scan else _SEGMENT.match(data, self._at)
        if found is None:
            return self._pass_scan(data) if self._in_scan else self._wait_for_marker(data)
        if found.end() - found.start() > _MAX_FILL:
            raise ImageUndecodable(f"the JPEG has more than {_MAX_FILL} fill bytes at byte {found.start()}")
        return self._pass_marker(data, found.group()[-1], found.end())

    def _pass_scan(self, data: Bytes) -> bool:
        is_more = self._at + _SLICE < len(data)
        self._at = min(self._at + _SLICE, len(data)) - 1  # a marker may be cut in two
        return is_more

    def _wait_for_marker(self, data: Bytes) -> bool:
        if data[self._at] != 0xFF:
            raise ImageUndecodable(f"the JPEG has no marker at byte {self._at}", remedy=ALLOWED)
        if len(data) - self._at > _MAX_FILL:
            raise ImageUndecodable(f"the JPEG has more than {_MAX_FILL} fill bytes at byte {self._at}")
        return False

    def _pass_marker(self, data: Bytes, marker: int, at: int) -> bool:
        if marker == 0xD9:
            self._finish()
            self.end = at
            return True
        if self._scans and marker not in _BETWEEN_SCANS:
            raise ImageUndecodable(f"the JPEG is damaged: marker FF {marker:02X} at byte {at - 2} in its image")
        if marker == 0x01 or 0xD0 <= marker <= 0xD7:  # TEM, RSTn: no length
            self._note(marker, at, 0)
            self._at = at
            return True
        if at + 2 > len(data):
            return False
        length = int.from_bytes(data[at : at + 2], "big")
        if length < 2 or marker in {0x00, 0xD8}:
            raise ImageUndecodable(f"the JPEG is damaged: marker FF {marker:02X} of {length} bytes at byte {at - 2}")
        is_frame = 0xC0 <= marker <= 0xCF and marker not in _NO_FRAME
        if (is_frame or marker == 0xDA) and at + length > len(data):
            return False
        self._note(marker, at, length)
        if is_frame:
            self._begin_frame(marker, bytes(data[at + 2 : at + length]))
        elif marker == 0xDA:
            self._begin_scan(bytes(data[at + 2 : at + length]))
        self._in_scan = marker == 0xDA
        self._at = at + length
        return True

    def _note(self, marker: int, at: int, length: int) -> None:
        if len(self.segments) == _MAX_SEGMENTS:
            raise ImageUndecodable(f"the JPEG has more than {_MAX_SEGMENTS} segments")
        self.segments.append((marker, at, length))

    def _begin_frame(self, marker: int, body: bytes) -> None:
        if self.frame is not None or len(body) < 6 or len(body) < 6 + 3 * body[5]:
            raise ImageUndecodable("the JPEG is damaged: its frame header is cut, or there are two")
        precision, height, width, count = struct.unpack_from(">BHHB", body)
        self.frame = Frame(width, height, precision, count, marker in _PROGRESSIVE)
        self._coded = {body[6 + 3 * index]: bytearray([_NOT_CODED] * 64) for index in range(count)}

    def _begin_scan(self, body: bytes) -> None:
        if self.frame is None:
            raise ImageUndecodable("the JPEG has a scan and no frame before it", remedy=ALLOWED)
        self._scans += 1
        if self._scans > _MAX_SCANS:
            raise ImageUndecodable(f"the JPEG has more than {_MAX_SCANS} scans")
        count = body[0] if body else 0
        if len(body) < 4 + 2 * count:
            raise ImageUndecodable("the JPEG is damaged: the header of a scan is cut")
        first, last, steps = body[1 + 2 * count : 4 + 2 * count]
        if not self.frame.is_progressive:
            first, last, steps = 0, 63, 0
        for component in body[1 : 1 + 2 * count : 2]:
            if component in self._coded:
                self._coded[component][first : last + 1] = bytes([steps & 15]) * (min(last, 63) + 1 - first)

    def _finish(self) -> None:
        """Check that every coefficient of every component was coded to its last bit (T.81, annex G)."""
        if self.frame is None or any(any(levels) for levels in self._coded.values()):
            raise ImageTruncated(f"the JPEG ends after {self._scans} scans, before its image was all there")


def read_header(data: Bytes) -> Header:
    """Return the size; raises ImageBitDepth for more than 8 bits a value, which our decoder does not take."""
    frame = Walk().to_frame(data)
    if frame is None:
        raise ImageTruncated(f"the JPEG ends before its frame header, after {len(data)} bytes")
    if frame.precision != 8:
        raise ImageBitDepth(
            f"the JPEG has {frame.precision} bits a value", remedy="Give it with 8 bits, or as PNG, TIFF or PGM"
        )
    return Header("jpeg", frame.width, frame.height)


def check(data: Bytes, header: Header) -> None:
    """Check that the end marker and every scan before it are there; damage inside a scan shows when it is decoded."""
    del header
    if not Walk().to_end(data):
        raise ImageTruncated(f"the JPEG has no end marker in its {len(data)} bytes")


def pixels(data: bytes, header: Header, *, is_gray: bool, factor: int = 1, is_strict: bool = True) -> NDArray[np.uint8]:
    """Return the image at 1/1, 1/2, 1/4 or 1/8, gray or BGR; raises ImageTruncated whatever the decoder complains of.

    Where it is not strict, what can be decoded is returned and the rest is grey.
    """
    try:
        return _decode(data, header, is_gray=is_gray, factor=factor, is_strict=is_strict)
    except ValueError as error:
        tidied = _without_harmless(data) if is_strict else None
        if tidied is None:
            raise _damaged(error) from None
    try:
        return _decode(tidied, header, is_gray=is_gray, factor=factor, is_strict=True)
    except ValueError as error:
        raise _damaged(error) from None


def _decode(data: bytes, header: Header, *, is_gray: bool, factor: int, is_strict: bool) -> NDArray[np.uint8]:
    found: NDArray[Any] = simplejpeg.decode_jpeg(
        data,
        "GRAY" if is_gray else "BGR",
        min_height=-(-header.height // factor) if factor > 1 else 0,
        min_width=-(-header.width // factor) if factor > 1 else 0,
        strict=is_strict,
    )
    return found[:, :, 0] if is_gray else found


def _damaged(error: ValueError) -> ImageTruncated:
    return ImageTruncated(
        f"the JPEG is damaged: {error}", remedy="See how it came here; the camera's next one may be whole"
    )


def _without_harmless(data: bytes) -> bytes | None:
    """Return a JPEG less what the decoder warns of though every pixel is there, or None where there is no such thing.

    These are an unknown revision of JFIF, an unknown transform of Adobe (taken for YCbCr or YCCK, as libjpeg does), a
    colour profile that is not whole, and the scan parameters that a sequential JPEG does not use.
    """
    walk = Walk()
    walk.to_end(data)
    out = bytearray(data)
    for marker, at, length in walk.segments:
        if marker == 0xE0 and data.startswith(b"JFIF\0", at + 2) and length >= 16:
            out[at + 7] = 1
        elif marker == 0xEE and data.startswith(b"Adobe", at + 2) and length >= 14 and out[at + 13] > 2:
            out[at + 13] = 2 if walk.frame and walk.frame.components == 4 else 1
        elif marker == 0xE2 and data.startswith(b"ICC_PROFILE\0", at + 2):
            out[at - 1] = 0xED
        elif marker == 0xDA and walk.frame and not walk.frame.is_progressive:
            out[at + 3 + 2 * data[at + 2] : at + 6 + 2 * data[at + 2]] = b"\x00\x3f\x00"
    return bytes(out) if out != data else None
