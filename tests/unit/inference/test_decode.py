import resource
import struct
import zlib
from collections.abc import Callable

import cv2
import numpy as np
import pytest

from lineside_inference.errors import ImageTooLarge, ImageTruncated, ImageUndecodable
from lineside_inference.imaging.decode import decode
from lineside_inference.models.card import Card
from lineside_inference.models.preparation import Preparation
from tests.support.image_files import png_header

MOST = 1_000_000


@pytest.fixture
def preparation(make_card: Callable[..., Card]) -> Preparation:
    return Preparation.of(make_card().input)


def picture(width: int, height: int) -> np.ndarray:
    """A smooth picture, so that JPEG loses little."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return np.dstack([x, y, 255 - x]).astype(np.uint8)


@pytest.mark.parametrize("suffix", [".png", ".bmp"])
def test_lossless_formats_come_back_exactly(preparation: Preparation, suffix: str) -> None:
    pixels = picture(40, 30)
    found = decode(cv2.imencode(suffix, pixels)[1].tobytes(), preparation, max_pixels=MOST)
    assert np.array_equal(found, pixels)


def test_a_large_jpeg_is_decoded_smaller_and_means_the_same(preparation: Preparation) -> None:
    pixels = picture(96, 64)
    found = decode(cv2.imencode(".jpg", pixels)[1].tobytes(), preparation, max_pixels=MOST)
    assert found.shape == (8, 12, 3)
    wanted = cv2.resize(pixels, (12, 8), interpolation=cv2.INTER_AREA)
    assert np.abs(found.astype(int) - wanted).mean() < 3


def test_exif_orientation_is_ignored(preparation: Preparation) -> None:
    data = cv2.imencode(".jpg", picture(40, 30))[1].tobytes()
    tiff = b"MM\x00*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    body = b"Exif\x00\x00" + tiff
    turned = data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]
    obeyed = cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_COLOR)
    assert obeyed is not None
    assert obeyed.shape == (40, 30, 3)
    found = decode(turned, preparation, max_pixels=MOST)
    assert found.shape[0] < found.shape[1]


def test_30000_by_30000_is_refused_by_its_header(preparation: Preparation) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ImageTooLarge, match=r"30000 x 30000.*1000000 pixels"):
        decode(png_header(30_000, 30_000), preparation, max_pixels=MOST)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


def test_a_jpeg_of_30000_by_30000_too(preparation: Preparation) -> None:
    data = bytearray(cv2.imencode(".jpg", picture(40, 30))[1].tobytes())
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", 30_000, 30_000)
    with pytest.raises(ImageTooLarge) as caught:
        decode(bytes(data), preparation, max_pixels=MOST)
    assert caught.value.code == "image-too-large"
    assert "30000 x 30000" in caught.value.what


def test_a_truncated_jpeg_is_no_grey_picture(preparation: Preparation) -> None:
    data = cv2.imencode(".jpg", picture(400, 300))[1].tobytes()
    with pytest.raises(ImageTruncated):
        decode(data[: len(data) // 2], preparation, max_pixels=MOST)


def test_a_whole_header_and_no_picture_is_undecodable(preparation: Preparation) -> None:
    end = b"IEND"
    data = png_header(10, 10) + struct.pack(">I", 0) + end + struct.pack(">I", zlib.crc32(end))
    with pytest.raises(ImageUndecodable, match="cannot be decoded"):
        decode(data, preparation, max_pixels=MOST)
