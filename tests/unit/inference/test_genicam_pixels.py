import numpy as np
import pytest

from lineside_inference.errors import CameraFailed
from lineside_inference.sources.cameras.genicam.pixels import BAYER_RG8, MONO8, to_bgr


def test_gray_becomes_three_equal_channels_of_its_own_memory() -> None:
    data = np.arange(12, dtype=np.uint8)
    pixels = to_bgr(data, MONO8, 4, 2)
    data[:] = 0
    assert pixels.shape == (2, 4, 3)
    assert (pixels[..., 0] == np.arange(8).reshape(2, 4)).all()
    assert (pixels[..., 0] == pixels[..., 2]).all()


def test_a_bayer_pattern_that_begins_with_red_gives_red() -> None:
    raw = np.zeros((8, 8), np.uint8)
    raw[0::2, 0::2] = 200
    blue, green, red = to_bgr(raw.ravel(), BAYER_RG8, 8, 8)[4, 4]
    assert (blue, green, red) == (0, 0, 200)


@pytest.mark.parametrize(
    ("size", "pixel_format", "said"),
    [(7, MONO8, "7 bytes for 4 x 2 pixels of Mono8"), (64, 0x01100007, "pixel format 0x01100007")],
)
def test_what_is_short_or_of_another_format_is_refused(size: int, pixel_format: int, said: str) -> None:
    with pytest.raises(CameraFailed, match=said):
        to_bgr(np.zeros(size, np.uint8), pixel_format, 4, 2)
