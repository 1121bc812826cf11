import numpy as np
import pytest

from lineside_inference.errors import CameraFailed
from lineside_inference.imaging.pixel_formats.convert import to_pixels
from lineside_inference.sources.cameras.genicam.pixels import to_image, to_raw

MONO8, MONO12, MONO12P, MONO16, BAYER_RG8 = 0x01080001, 0x01100005, 0x010C0047, 0x01100007, 0x01080009


def test_gray_is_of_its_own_memory_and_without_what_follows_it() -> None:
    data = np.arange(12, dtype=np.uint8)
    pixels = to_image(data, MONO8, 4, 2, max_pixels=100)
    data[:] = 0
    assert (pixels == np.arange(8).reshape(2, 4)).all()


def test_rows_are_taken_without_their_padding() -> None:
    pixels = to_image(np.arange(12, dtype=np.uint8), MONO8, 4, 2, row_padding=2, max_pixels=100)
    assert pixels.tolist() == [[0, 1, 2, 3], [6, 7, 8, 9]]


def test_a_bayer_pattern_that_begins_with_red_gives_red() -> None:
    raw = np.zeros((8, 8), np.uint8)
    raw[0::2, 0::2] = 200
    assert to_image(raw.ravel(), BAYER_RG8, 8, 8, max_pixels=100)[4, 4].tolist() == [0, 0, 200]


def test_of_16_bits_the_significant_ones_count() -> None:
    raw = np.full(4, 4095, "<u2").view(np.uint8)
    assert to_image(raw, MONO16, 2, 2, max_pixels=100, significant_bits=12).tolist() == [[255, 255], [255, 255]]
    assert to_image(raw, MONO16, 2, 2, max_pixels=100).tolist() == [[15, 15], [15, 15]]


@pytest.mark.parametrize(
    ("size", "pixel_format", "said"),
    [
        (7, MONO8, "4 x 2 pixels of Mono8 are 8 bytes, and there are 7"),
        (64, 0x81234567, "pixel format 0x81234567 is not known"),
    ],
)
def test_what_is_short_or_of_another_format_is_refused(size: int, pixel_format: int, said: str) -> None:
    for make in (to_image, to_raw):
        with pytest.raises(CameraFailed, match=said):
            make(np.zeros(size, np.uint8), pixel_format, 4, 2, max_pixels=100)


def test_more_pixels_than_allowed_are_refused() -> None:
    for make in (to_image, to_raw):
        with pytest.raises(CameraFailed, match="4 x 2 pixels"):
            make(np.zeros(8, np.uint8), MONO8, 4, 2, max_pixels=7)


@pytest.mark.parametrize("pixel_format", [MONO8, MONO12P, BAYER_RG8])
@pytest.mark.parametrize("row_padding", [0, 3])
def test_kept_as_it_came_it_gives_the_same_pixels_later(pixel_format: int, row_padding: int) -> None:
    data = np.random.default_rng(6).integers(0, 256, 200, np.uint8)
    at_once = to_image(data, pixel_format, 8, 6, row_padding=row_padding, max_pixels=100)
    kept = to_raw(data, pixel_format, 8, 6, row_padding=row_padding, max_pixels=100)
    assert kept is not None
    data[:] = 0
    raw, layout = kept
    assert np.array_equal(to_pixels(raw, layout, max_pixels=100), at_once)


@pytest.mark.parametrize("pixel_format", [MONO12, MONO16])
def test_what_the_conversion_may_refuse_is_not_kept_as_it_came(pixel_format: int) -> None:
    assert to_raw(np.zeros(16, np.uint8), pixel_format, 4, 2, max_pixels=100) is None
