"""Files as cameras and their tools write them, each kind once: decoded right, or refused by a sentence."""

import struct
import zlib
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
import simplejpeg

from lineside_inference.errors import ImageTruncated, ImageUndecodable
from lineside_inference.imaging.decode import decode, decode_turned
from lineside_inference.imaging.formats.orientation import orientation
from lineside_inference.models.card import Card
from lineside_inference.models.preparation import Preparation
from tests.support import image_files as files

MOST = 1_000_000
PALETTE = np.array([[10, 20, 30], [200, 0, 90], [0, 255, 0], [255, 128, 64]], np.uint8)
"""Blue, green, red."""


@pytest.fixture
def colour(make_card: Callable[..., Card]) -> Preparation:
    return Preparation.of(make_card().input)


@pytest.fixture
def gray(make_card: Callable[..., Card]) -> Preparation:
    image = {"width": 12, "height": 8, "colour": "gray"}
    given = {"name": "image", "kind": "image", "datatype": "FP32", "shape": [1, 8, 12], "image": image}
    return Preparation.of(make_card(input=given).input)


def indexes(colours: int, width: int = 13, height: int = 5) -> np.ndarray:
    return np.random.default_rng(colours).integers(0, colours, (height, width)).astype(np.uint8)


def packed(row: np.ndarray, bits: int) -> bytes:
    """A row's numbers, the first in the highest bits."""
    text = "".join(f"{int(one):0{bits}b}" for one in row)
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big")


def png(rows: list[bytes], width: int, bits: int, kind: int, *before: bytes) -> bytes:
    head = struct.pack(">IIBBBBB", width, len(rows), bits, kind, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    pieces = files.chunk(b"IHDR", head), *before, files.chunk(b"IDAT", body), files.chunk(b"IEND", b"")
    return files.SIGNATURE + b"".join(pieces)


def bmp(rows: list[bytes], width: int, bits: int, *, palette: bytes = b"", top_down: bool = False) -> bytes:
    padded = [row + bytes(-len(row) % 4) for row in (rows if top_down else rows[::-1])]
    height = -len(rows) if top_down else len(rows)
    offset = 54 + len(palette)
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, 0, 0, 0, 0, len(palette) // 4, 0)
    return (
        b"BM" + struct.pack("<IHHI", offset + sum(map(len, padded)), 0, 0, offset) + head + palette + b"".join(padded)
    )


def read(data: bytes, preparation: Preparation) -> Any:
    return decode(data, preparation, max_pixels=MOST)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_a_gray_png_of_few_bits(gray: Preparation, bits: int) -> None:
    values = indexes(1 << bits)
    data = png([packed(row, bits) for row in values], 13, bits, 0)
    assert np.array_equal(read(data, gray), values * (255 // ((1 << bits) - 1)))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("is_transparent", [False, True])
def test_a_png_with_a_palette(colour: Preparation, bits: int, *, is_transparent: bool) -> None:
    """What is transparent has its colour too."""
    values = indexes(2 if bits == 1 else 4)
    chunks = [files.chunk(b"PLTE", PALETTE[: 1 << bits, ::-1].tobytes())]
    chunks += [files.chunk(b"tRNS", bytes(2))] if is_transparent else []
    data = png([packed(row, bits) for row in values], 13, bits, 3, *chunks)
    assert np.array_equal(read(data, colour), PALETTE[values])


def test_a_png_with_alpha_has_the_colours_below_it(colour: Preparation) -> None:
    pixels = files.part(13, 5)
    alpha = np.arange(65, dtype=np.uint8).reshape(5, 13, 1)
    data = png([row.tobytes() for row in np.dstack([pixels[:, :, ::-1], alpha])], 13, 8, 6)
    assert np.array_equal(read(data, colour), pixels)


@pytest.mark.parametrize(
    "chunk",
    [
        files.chunk(b"gAMA", struct.pack(">I", 100_000)),
        files.chunk(b"iCCP", b"Adobe RGB\0\0" + zlib.compress(bytes(200))),
        files.chunk(b"eXIf", b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)),
    ],
    ids=["gamma", "profile", "orientation"],
)
def test_a_png_is_judged_by_its_numbers(colour: Preparation, chunk: bytes) -> None:
    """Colours are those that the file has, as training tools read them; no gamma, profile or orientation is applied."""
    pixels = files.part(13, 5)
    assert np.array_equal(read(files.png(pixels, chunk), colour), pixels)


@pytest.mark.parametrize("frames", [1, 2])
def test_an_animated_png_is_refused(colour: Preparation, frames: int) -> None:
    pixels = files.part(13, 5)
    control = struct.pack(">IIIIIHHBB", 0, 13, 5, 0, 0, 1, 10, 0, 0)
    data = files.png(pixels, files.chunk(b"acTL", struct.pack(">II", frames, 0)), files.chunk(b"fcTL", control))
    if frames == 1:
        assert np.array_equal(read(data, colour), pixels)
    else:
        with pytest.raises(ImageUndecodable, match="the PNG is an animation"):
            read(data, colour)


@pytest.mark.parametrize("top_down", [False, True])
@pytest.mark.parametrize("bits", [1, 4, 8])
def test_a_bmp_with_a_palette(colour: Preparation, bits: int, *, top_down: bool) -> None:
    values = indexes(2 if bits == 1 else 4)
    palette = np.zeros((1 << bits, 4), np.uint8)
    palette[:4, :3] = PALETTE[: 1 << bits]
    data = bmp([packed(row, bits) for row in values], 13, bits, palette=palette.tobytes(), top_down=top_down)
    assert np.array_equal(read(data, colour), PALETTE[values])


@pytest.mark.parametrize("top_down", [False, True])
@pytest.mark.parametrize("bits", [24, 32])
def test_a_bmp_of_whole_bytes(colour: Preparation, bits: int, *, top_down: bool) -> None:
    """The fourth byte of 32 bits means nothing, be it 0 or 255."""
    pixels = files.part(13, 5)
    fourth = np.arange(65, dtype=np.uint8).reshape(5, 13, 1)
    stored = pixels if bits == 24 else np.dstack([pixels, fourth])
    data = bmp([row.tobytes() for row in stored], 13, bits, top_down=top_down)
    assert np.array_equal(read(data, colour), pixels)
    with pytest.raises(ImageTruncated):
        read(data[:-1], colour)


def test_webp(colour: Preparation) -> None:
    pixels = files.part(40, 30)
    lossless = cv2.imencode(".webp", pixels, [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes()
    assert np.array_equal(read(lossless, colour), pixels)
    lossy = cv2.imencode(".webp", pixels, [cv2.IMWRITE_WEBP_QUALITY, 90])[1].tobytes()
    assert np.abs(read(lossy, colour).astype(int) - pixels).mean() < 8


def test_an_animated_webp_is_refused(colour: Preparation) -> None:
    body = b"WEBPVP8X" + struct.pack("<IBBBBHBHB", 10, 0x02, 0, 0, 0, 39, 0, 29, 0)
    with pytest.raises(ImageUndecodable, match="the WebP is an animation"):
        read(b"RIFF" + struct.pack("<I", len(body)) + body, colour)


@pytest.mark.parametrize(
    ("inks", "bgr"),
    [
        ((255, 255, 255, 255), (255, 255, 255)),
        ((0, 255, 255, 255), (255, 255, 0)),
        ((255, 0, 255, 255), (255, 0, 255)),
        ((255, 255, 0, 255), (0, 255, 255)),
        ((255, 255, 255, 0), (0, 0, 0)),
    ],
    ids=["white", "cyan", "magenta", "yellow", "black"],
)
def test_four_inks_of_a_jpeg_are_read_as_adobe_writes_them(
    colour: Preparation, inks: tuple[int, ...], bgr: tuple[int, ...]
) -> None:
    """255 is no ink; there is no profile of the inks: they are mixed as light is."""
    data = simplejpeg.encode_jpeg(np.full((16, 16, 4), inks, np.uint8), colorspace="CMYK")
    assert np.abs(read(data, colour).astype(int) - bgr).max() <= 3


def exif(value: int, order: str = ">", *, kind: int = 3) -> bytes:
    start = b"MM\0*" if order == ">" else b"II*\0"
    entries = struct.pack(f"{order}HHIHH", 0x010F, 3, 1, 7, 0) + struct.pack(f"{order}HHIHH", 0x0112, kind, 1, value, 0)
    body = b"Exif\0\0" + start + struct.pack(f"{order}IH", 8, 2) + entries + bytes(4)
    return b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body


def with_segment(data: bytes, segment: bytes) -> bytes:
    return data[:2] + segment + data[2:]


def test_a_profile_of_colours_in_a_jpeg_changes_nothing(colour: Preparation) -> None:
    plain = files.jpeg(files.part(40, 30))
    body = b"ICC_PROFILE\0\1\1" + bytes(300)
    data = with_segment(plain, b"\xff\xe2" + struct.pack(">H", len(body) + 2) + body)
    assert np.array_equal(read(data, colour), read(plain, colour))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("value", range(2, 9))
def test_a_jpeg_is_turned_as_its_exif_says_where_that_is_wanted(
    colour: Preparation, gray: Preparation, value: int, order: str
) -> None:
    data = with_segment(files.jpeg(files.part(40, 30)), exif(value, order))
    for preparation, flag in ((colour, cv2.IMREAD_COLOR), (gray, cv2.IMREAD_GRAYSCALE)):
        found = decode_turned(data, preparation, max_pixels=MOST)
        assert found is not None
        assert np.array_equal(found, cv2.imdecode(np.frombuffer(data, np.uint8), flag))
        assert read(data, preparation).shape[1] > read(data, preparation).shape[0]  # never otherwise


@pytest.mark.parametrize(
    "segment",
    [b"", exif(1), exif(0), exif(9), exif(6, kind=4), exif(6)[:20] + b"\xff" * 30, b"\xff\xe1\0\x08Exif\0\0"],
    ids=["none", "upright", "zero", "nine", "long", "noise", "empty"],
)
def test_an_exif_that_says_nothing_usable_turns_nothing(colour: Preparation, segment: bytes) -> None:
    data = with_segment(files.jpeg(files.part(40, 30)), segment)
    assert orientation(data) == 1
    assert decode_turned(data, colour, max_pixels=MOST) is None


def test_every_cut_of_an_exif_is_borne() -> None:
    data = with_segment(files.jpeg(files.part(40, 30)), exif(6))
    assert {orientation(data[:size]) for size in range(200)} <= {1, 6}
    assert orientation(files.png(files.part())) == 1


def test_a_cut_jpeg_is_not_turned_but_refused(colour: Preparation) -> None:
    data = with_segment(files.jpeg(files.part(400, 300)), exif(6))
    with pytest.raises(ImageTruncated):
        decode_turned(data[: len(data) // 2], colour, max_pixels=MOST)
