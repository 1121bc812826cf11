"""Image files made byte by byte, as cameras and their tools write them."""

import struct
import zlib
from collections.abc import Sequence

import cv2
import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def part(width: int = 96, height: int = 64) -> np.ndarray:
    """A smooth picture with some noise, height x width x 3 (BGR), uint8."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    noise = np.random.default_rng(5).integers(0, 9, (height, width, 3))
    return np.clip(np.dstack([x, y, 255 - x]) + noise, 0, 255).astype(np.uint8)


def deep(bits: int = 12, width: int = 96, height: int = 64) -> np.ndarray:
    """A gray picture of so many bits in 16, height x width, uint16; it uses all of them."""
    values = np.random.default_rng(6).integers(0, 1 << bits, (height, width)).astype(np.uint16)
    values[0, :2] = 0, (1 << bits) - 1
    return values


def jpeg(pixels: np.ndarray, *options: int) -> bytes:
    return cv2.imencode(".jpg", pixels, list(options))[1].tobytes()


def plain_jpeg(width: int = 640, height: int = 480) -> bytes:
    """A JPEG of one gray."""
    return jpeg(np.full((height, width, 3), 90, np.uint8))


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_header(width: int, height: int) -> bytes:
    """The signature and the header of a PNG of 8 bits in three colours, without its pixels."""
    body = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return SIGNATURE + chunk(b"IHDR", body)


def png(values: np.ndarray, *before: bytes, packed: bytes | None = None) -> bytes:
    """A PNG of a gray or BGR picture, uint8 or uint16; `before` are chunks before its pixels, `packed` their zlib."""
    height, width = values.shape[:2]
    kind = values.dtype.newbyteorder(">")
    rows = values if values.ndim == 2 else values[:, :, ::-1]
    body = b"".join(b"\0" + row.astype(kind).tobytes() for row in rows)
    head = struct.pack(">IIBBBBB", width, height, 8 * kind.itemsize, 0 if values.ndim == 2 else 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(body) if packed is None else packed)
    return SIGNATURE + chunk(b"IHDR", head) + b"".join(before) + pixels + chunk(b"IEND", b"")


def pgm(values: np.ndarray, peak: int, *, comment: bytes = b"") -> bytes:
    """A binary PGM or PPM with this maxval."""
    height, width = values.shape[:2]
    rows = values if values.ndim == 2 else values[:, :, ::-1]
    kind = b"P5" if values.ndim == 2 else b"P6"
    return (
        kind
        + b"\n"
        + comment
        + b"%d %d\n%d\n" % (width, height, peak)
        + rows.astype(">u2" if peak > 255 else "u1").tobytes()
    )


def bmp(pixels: np.ndarray, masks: Sequence[int], *, bits: int = 32, header: int = 40, top_down: bool = False) -> bytes:
    """A BMP with masks of red, green, blue; each channel is scaled to its mask."""
    height, width = pixels.shape[:2]
    packed = np.zeros((height, width), np.uint64)
    for channel, mask in zip(pixels.transpose(2, 0, 1)[::-1], masks, strict=True):
        shift = (mask & -mask).bit_length() - 1
        peak = mask >> shift
        packed |= ((channel.astype(np.uint64) * peak + 127) // 255) << np.uint64(shift)
    rows = packed.astype(f"<u{bits // 8}")
    rows = rows if top_down else rows[::-1]
    fields = struct.pack(
        "<IiiHHIIiiII", header, width, -height if top_down else height, 1, bits, 3, rows.nbytes, 0, 0, 0, 0
    )
    fields += struct.pack("<III", *masks)
    fields = fields.ljust(max(header, 52), b"\0")
    padding = b"\0" * (-rows[0].nbytes % 4)
    body = b"".join(row.tobytes() + padding for row in rows)
    offset = 14 + len(fields)
    return b"BM" + struct.pack("<IHHI", offset + len(body), 0, 0, offset) + fields + body


def tiff(values: np.ndarray, *, order: str = "<", strips: int = 3, packed: bool = False, **changed: int) -> bytes:
    """A TIFF in strips, `packed` with deflate and differences; `changed` are tags by number, as `t262=0`."""
    height, width = values.shape[:2]
    samples = 1 if values.ndim == 2 else 3
    kind = values.dtype.newbyteorder(order)
    rows = values if samples == 1 else values[:, :, ::-1]
    if packed:
        rows = np.diff(rows, axis=1, prepend=rows[:, :1] * 0)
    each = -(-height // strips)
    pieces = [rows[at : at + each].astype(kind).tobytes() for at in range(0, height, each)]
    pieces = [zlib.compress(piece) if packed else piece for piece in pieces]
    tags: dict[int, tuple[int, ...]] = {
        256: (width,),
        257: (height,),
        258: (8 * kind.itemsize,) * samples,
        259: (8 if packed else 1,),
        262: (1 if samples == 1 else 2,),
        273: (0,) * len(pieces),
        277: (samples,),
        278: (each,),
        279: tuple(map(len, pieces)),
        **({317: (2,)} if packed else {}),
    }
    tags |= {int(name[1:]): (value,) for name, value in changed.items()}
    behind = 8 + 2 + 12 * len(tags) + 4
    apart = behind
    for numbers in tags.values():
        apart += 4 * len(numbers) if len(numbers) > 1 else 0
    at, tags[273] = apart, ()
    for piece in pieces:
        tags[273] += (at,)
        at += len(piece)
    entries, extra = b"", b""
    for tag, numbers in sorted(tags.items()):
        value = struct.pack(f"{order}{len(numbers)}I", *numbers)
        if len(numbers) > 1:
            value, extra = struct.pack(f"{order}I", behind + len(extra)), extra + value
        entries += struct.pack(f"{order}HHI", tag, 4, len(numbers)) + value
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    return start + struct.pack(f"{order}H", len(tags)) + entries + bytes(4) + extra + b"".join(pieces)
