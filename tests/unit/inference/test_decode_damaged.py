"""A picture of which a part is missing is never judged as whole; what is only odd still is."""

import re
import struct
import zlib
from collections.abc import Callable

import cv2
import numpy as np
import pytest
import simplejpeg

from lineside_inference.errors import ImageTruncated, ImageUndecodable
from lineside_inference.imaging.decode import decode, view
from lineside_inference.imaging.formats.jpeg import Walk
from lineside_inference.imaging.image_headers import check_whole, read_header
from lineside_inference.models.card import Card
from lineside_inference.models.preparation import Preparation
from tests.support import image_files as files

MOST = 1_000_000
END = b"\xff\xd9"
PROGRESSIVE = (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
RESTARTS = (cv2.IMWRITE_JPEG_RST_INTERVAL, 2)


@pytest.fixture
def preparation(make_card: Callable[..., Card]) -> Preparation:
    return Preparation.of(make_card().input)


@pytest.fixture
def gray(make_card: Callable[..., Card]) -> Preparation:
    image = {"width": 12, "height": 8, "colour": "gray"}
    return Preparation.of(
        make_card(
            input={"name": "image", "kind": "image", "datatype": "FP32", "shape": [1, 8, 12], "image": image}
        ).input
    )


def starts(data: bytes, marker: int) -> list[int]:
    return [found.start() for found in re.finditer(bytes([0xFF, marker]), data)]


def scan(data: bytes) -> int:
    """Where the entropy-coded bytes of the first scan begin."""
    at = starts(data, 0xDA)[0] + 2
    return at + int.from_bytes(data[at : at + 2], "big")


@pytest.mark.parametrize("options", [(), PROGRESSIVE, RESTARTS], ids=["baseline", "progressive", "restarts"])
@pytest.mark.parametrize("lost", [0.99, 0.9, 0.5, 0.1, 0.01])
def test_a_jpeg_that_lost_a_part_of_its_scan_and_has_its_end_marker(
    preparation: Preparation, options: tuple[int, ...], lost: float
) -> None:
    data = files.jpeg(files.part(400, 300), *options)
    at = scan(data)
    keep = at + int((len(data) - 2 - at) * (1 - lost))
    while data[keep - 1] == 0xFF:
        keep -= 1  # no half marker
    with pytest.raises(ImageTruncated) as caught:
        decode(data[:keep] + END, preparation, max_pixels=MOST)
    assert caught.value.code == "image-truncated"


@pytest.mark.parametrize("gone", [200, 1000])
def test_a_jpeg_that_lost_bytes_in_its_middle(gray: Preparation, gone: int) -> None:
    data = files.jpeg(files.part(400, 300))
    middle = len(data) // 2
    with pytest.raises(ImageTruncated):
        decode(data[:middle] + data[middle + gone :], gray, max_pixels=MOST)


def test_a_progressive_jpeg_that_lost_its_last_scans_whole(preparation: Preparation) -> None:
    data = files.jpeg(files.part(), *PROGRESSIVE)
    scans = starts(data, 0xDA)
    for at in scans[1:]:
        tables = data.rindex(b"\xff\xc4", 0, at) if b"\xff\xc4" in data[at - 60 : at] else at
        with pytest.raises(ImageTruncated, match="scans, before its image was all there"):
            decode(data[:tables] + END, preparation, max_pixels=MOST)


def test_a_jpeg_of_which_one_component_only_has_its_scan() -> None:
    data = files.jpeg(files.part())
    at = starts(data, 0xDA)[0]
    only_first = data[:at] + b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" + data[scan(data) :]
    with pytest.raises(ImageTruncated, match="1 scans"):
        check_whole(only_first, read_header(only_first))


def without_tables(data: bytes) -> bytes:
    """As many MJPEG cameras send it: less the Huffman tables, which are the standard's own."""
    out, at = data[:2], 2
    while data[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        out += b"" if data[at + 1] == 0xC4 else data[at:end]
        at = end
    return out + data[at:]


def odd() -> list[tuple[str, bytes]]:
    whole = files.jpeg(files.part())
    at = starts(whole, 0xDA)[0]
    params = scan(whole) - 3
    less_jfif = whole[:2] + whole[20:]
    return [
        ("application and comment segments", whole[:2] + b"\xff\xee\0\6abcd\xff\xfe\0\6abcd" + whole[2:]),
        ("fill bytes before a marker", whole[:at] + b"\xff" * 20 + whole[at:]),
        ("fill bytes before the end", whole[:-2] + b"\xff" * 20 + END),
        ("a comment behind the scan", whole[:-2] + b"\xff\xfe\0\6abcd" + END),
        ("bytes behind the end", whole + bytes(1000) + b"\xff\xd9\xff"),
        ("no JFIF", less_jfif),
        ("JFIF of another revision", whole.replace(b"JFIF\0\1", b"JFIF\0\7")),
        ("Adobe with an unknown transform", less_jfif[:2] + b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\7" + less_jfif[2:]),
        ("a colour profile that is not whole", whole[:2] + b"\xff\xe2\0\x14ICC_PROFILE\0\5\2abcd" + whole[2:]),
        ("scan parameters that are not used", whole[:params] + b"\0\0\0" + whole[params + 3 :]),
        ("AVI1, as in a video file", whole[:2] + b"\xff\xe0\0\x10AVI1" + bytes(10) + whole[2:]),
        ("a restart interval of none", whole[:at] + b"\xff\xdd\0\4\0\0" + whole[at:]),
        ("no Huffman tables", without_tables(whole)),
    ]


@pytest.mark.parametrize(("what", "data"), odd(), ids=lambda value: value if isinstance(value, str) else "")
def test_a_whole_jpeg_with_something_odd_is_judged(preparation: Preparation, what: str, data: bytes) -> None:
    del what
    found = decode(data, preparation, max_pixels=MOST)
    assert np.array_equal(found, decode(files.jpeg(files.part()), preparation, max_pixels=MOST))


def test_something_odd_hides_no_damage(preparation: Preparation) -> None:
    for what, data in odd():
        half = data[: (scan(data) + len(data)) // 2].rstrip(b"\xff") + END
        with pytest.raises(ImageTruncated):
            pytest.fail(what) if decode(half, preparation, max_pixels=MOST) is not None else None


@pytest.mark.parametrize("options", [(), PROGRESSIVE, RESTARTS], ids=["baseline", "progressive", "restarts"])
@pytest.mark.parametrize("size", [(96, 64), (24, 16), (25, 17), (400, 301), (1, 1), (2, 2)])
def test_the_pixels_are_those_of_opencv(
    preparation: Preparation, gray: Preparation, options: tuple[int, ...], size: tuple[int, int]
) -> None:
    data = files.jpeg(files.part(*size), *options)
    factor = preparation.reduction(*size)
    flags = {
        1: (cv2.IMREAD_COLOR, cv2.IMREAD_GRAYSCALE),
        2: (cv2.IMREAD_REDUCED_COLOR_2, cv2.IMREAD_REDUCED_GRAYSCALE_2),
        8: (cv2.IMREAD_REDUCED_COLOR_8, cv2.IMREAD_REDUCED_GRAYSCALE_8),
    }[factor]
    for each, flag in zip((preparation, gray), flags, strict=True):
        wanted = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
        assert np.array_equal(decode(data, each, max_pixels=MOST), wanted)


def test_a_jpeg_of_four_inks_is_judged_as_before(preparation: Preparation, gray: Preparation) -> None:
    inks = np.random.default_rng(4).integers(0, 255, (20, 30, 4), np.uint8)
    data = simplejpeg.encode_jpeg(np.ascontiguousarray(inks), colorspace="CMYK")
    for each, flag in ((preparation, cv2.IMREAD_REDUCED_COLOR_2), (gray, cv2.IMREAD_REDUCED_GRAYSCALE_2)):
        wanted = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
        assert np.array_equal(decode(data, each, max_pixels=MOST), wanted)
    with pytest.raises(ImageTruncated):
        decode(data[: len(data) - 400] + END, preparation, max_pixels=MOST)


@pytest.mark.parametrize("size", [16 * 1024, 1000, 1])
def test_the_end_is_found_however_the_bytes_arrive(size: int) -> None:
    data = files.jpeg(files.part(), *PROGRESSIVE)
    walk, buffer = Walk(), bytearray()
    for at in range(0, len(data), size):
        assert walk.end is None
        buffer += data[at : at + size]
        walk.to_end(buffer)
    assert walk.end == len(data)


def test_fill_bytes_and_segments_and_scans_are_bounded() -> None:
    whole = files.jpeg(files.part())
    at = starts(whole, 0xDA)[0]
    one_scan = whole[at:-2]
    for filling, said in (
        (b"\xff" * 2_000_000, "fill bytes"),
        (b"\xff\xfe\0\2" * 100_000, "segments"),
        (one_scan * 101, "scans"),
        (one_scan + b"\xff" * 2_000_000, "full of FF"),
        (one_scan + b"\xff\0" * 1_000_000, "full of FF"),
    ):
        data = whole[:at] + filling + whole[at:]
        with pytest.raises(ImageUndecodable, match=said):
            check_whole(data, read_header(data))


def test_a_damaged_jpeg_can_still_be_looked_at() -> None:
    data = files.jpeg(files.part(400, 300))
    assert view(data[: len(data) // 2] + END, max_pixels=MOST).shape == (300, 400, 3)


def rows(pixels: np.ndarray) -> bytes:
    return b"".join(b"\0" + row[:, ::-1].tobytes() for row in pixels)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_png_whose_rows_are_not_all_there_though_every_checksum_is_right(
    preparation: Preparation, share: float
) -> None:
    plain = rows(files.part())
    packed = zlib.compress(plain)
    for kept in (packed[: int(len(packed) * share)], zlib.compress(plain[: int(len(plain) * share)])):
        with pytest.raises(ImageTruncated):
            decode(files.png(files.part(), packed=kept), preparation, max_pixels=MOST)


def test_a_png_with_a_wrong_bit_in_its_rows(preparation: Preparation) -> None:
    packed = bytearray(zlib.compress(rows(files.part())))
    packed[len(packed) // 2] ^= 4
    with pytest.raises(ImageTruncated):
        decode(files.png(files.part(), packed=bytes(packed)), preparation, max_pixels=MOST)


def test_a_bmp_whose_pixels_begin_in_its_header() -> None:
    data = bytearray(cv2.imencode(".bmp", files.part())[1].tobytes())
    data[10:14] = struct.pack("<I", 20)
    with pytest.raises(ImageUndecodable, match="inside its header"):
        read_header(bytes(data))


@pytest.mark.parametrize("quality", [80, 101], ids=["lossy", "lossless"])
def test_a_webp_that_lost_its_second_half(preparation: Preparation, quality: int) -> None:
    data = cv2.imencode(".webp", files.part(), [cv2.IMWRITE_WEBP_QUALITY, quality])[1].tobytes()
    assert decode(data, preparation, max_pixels=MOST).shape == (64, 96, 3)
    half = bytearray(data[: len(data) // 2])
    with pytest.raises(ImageTruncated, match="by its header"):
        decode(bytes(half), preparation, max_pixels=MOST)
    half[4:8] = struct.pack("<I", len(half) - 8)
    half[16:20] = struct.pack("<I", len(half) - 20)
    with pytest.raises(ImageTruncated):
        decode(bytes(half), preparation, max_pixels=MOST)
