import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineside_inference.imaging.shrink import is_quicker, shrink


def exactly(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """The mean of each area, with weights of double precision, not rounded."""
    rows, columns = (_weights(*sides) for sides in ((len(pixels), height), (pixels.shape[1], width)))
    return np.einsum("ij,jk...,lk->il...", rows, pixels.astype(np.float64), columns, optimize=True)


def _weights(long: int, short: int) -> np.ndarray:
    starts = np.arange(short)[:, np.newaxis] * long / short
    at = np.arange(long)
    covered = np.minimum(starts + long / short, at + 1) - np.maximum(starts, at)
    return np.clip(covered, 0, 1) * short / long


@given(
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    smaller=st.tuples(st.integers(1, 24), st.integers(1, 24)),
    channels=st.sampled_from([(), (3,)]),
    seed=st.integers(0, 1000),
)
def test_each_value_is_the_mean_of_its_area(
    size: tuple[int, int], smaller: tuple[int, int], channels: tuple[int, ...], seed: int
) -> None:
    width, height = smaller
    shape = (max(size[1], 2 * height), max(size[0], width), *channels)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    assert np.abs(shrink(pixels, width, height) - exactly(pixels, width, height)).max() < 0.501


@pytest.mark.parametrize("channels", [(), (3,)])
@pytest.mark.parametrize("size", [(160, 160), (224, 224), (640, 512), (300, 17)])
def test_opencv_rounds_few_values_the_other_way(size: tuple[int, int], channels: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(7).integers(0, 256, (2048, 2448, *channels), np.uint8)
    other = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    difference = np.abs(shrink(pixels, *size).astype(int) - other)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.001


def test_rows_that_lie_apart_are_read_where_they_are() -> None:
    padded = np.random.default_rng(5).integers(0, 256, (400, 330), np.uint8)
    seen = padded[:, :300]
    assert np.array_equal(shrink(seen, 30, 20), shrink(seen.copy(), 30, 20))


@pytest.mark.parametrize(
    ("shape", "size", "expected"),
    [
        ((2048, 2448, 3), (160, 160), True),
        ((2048, 2448), (160, 160), True),
        ((1024, 1280, 3), (320, 256), False),  # a quarter
        ((1080, 1920, 3), (640, 640), False),
        ((480, 640, 3), (100, 100), False),
        ((4000, 100, 3), (160, 160), False),  # wider than it was
    ],
)
def test_it_is_taken_where_it_is_quicker(shape: tuple[int, ...], size: tuple[int, int], *, expected: bool) -> None:
    assert is_quicker(np.empty(shape, np.uint8), *size) == expected
