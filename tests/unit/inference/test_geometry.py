"""Where a picture lies in the input, and the way back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineside_inference.imaging.geometry import Geometry
from lineside_inference.imaging.prepare import prepare
from lineside_inference.models.card import CardInput, ImagePreparation
from lineside_inference.models.preparation import Preparation

SIZES = st.integers(1, 4000)


def preparation(width: int, height: int, fit: str, **fields: object) -> Preparation:
    image = ImagePreparation.model_validate({"width": width, "height": height, "fit": fit} | fields)
    card = CardInput.model_validate(
        {"name": "x", "kind": "image", "datatype": "FP32", "shape": image.shape, "image": image.model_dump()}
    )
    return Preparation.of(card)


@given(width=SIZES, height=SIZES, into=st.tuples(st.integers(8, 700), st.integers(8, 700)), letterbox=st.booleans())
def test_a_box_goes_into_the_input_and_comes_back(
    *, width: int, height: int, into: tuple[int, int], letterbox: bool
) -> None:
    geometry = Geometry.of(preparation(*into, "letterbox" if letterbox else "stretch"), width, height)
    boxes = np.array([[0, 0, width, height], [width / 3, height / 4, width / 2, height]], np.float64)
    inside = geometry.to_input(boxes)
    assert np.allclose(geometry.to_image(inside), boxes, atol=1e-6)
    assert np.allclose(inside[0, :2], [geometry.left, geometry.top])
    assert (inside[0, 2:] <= np.array(into) + 1e-9).all()
    assert np.array_equal(
        geometry.clip(boxes * 3 - 5)[0], [0, 0, *np.clip([3 * width - 5, 3 * height - 5], 0, [width, height])]
    )


@given(
    width=SIZES,
    height=SIZES,
    into=st.tuples(st.integers(8, 200), st.integers(8, 200)),
    cells=st.tuples(st.integers(1, 64), st.integers(1, 64)),
)
def test_the_window_of_a_map_covers_the_picture_to_half_a_cell(
    width: int, height: int, into: tuple[int, int], cells: tuple[int, int]
) -> None:
    geometry = Geometry.of(preparation(*into, "letterbox"), width, height)
    for window, start, length, whole, count in zip(
        geometry.window(*cells),
        (geometry.top, geometry.left),
        (geometry.fitted_height, geometry.fitted_width),
        into[::-1],
        cells[::-1],
        strict=True,
    ):
        assert 0 <= window.start < window.stop <= count
        # A cell's middle is (2n + 1) * whole / (2 * count): compared as integers, for some lie exactly on the edge.
        middles = (2 * np.arange(count) + 1) * whole
        inside = np.flatnonzero((middles > 2 * count * start) & (middles < 2 * count * (start + length)))
        assert set(inside) <= set(range(window.start, window.stop))
        assert window.stop - window.start <= len(inside) + 1


def test_a_reduced_decode_still_leads_to_the_original_pixels() -> None:
    card = preparation(32, 32, "letterbox")
    geometry = Geometry.of(card, 161, 121, (1281, 961))  # decoded at 1/8, rounded up
    assert (geometry.width, geometry.height) == (1281, 961)
    assert geometry.to_image(geometry.to_input(np.array([[1281.0, 961, 0, 0]])))[0, :2] == pytest.approx([1281, 961])
    corner = [[geometry.left + geometry.fitted_width, geometry.top + geometry.fitted_height] * 2]
    assert geometry.to_image(np.array(corner, np.float64))[0] == pytest.approx([1281, 961, 1281, 961])


def test_prepare_tells_where_it_put_the_picture() -> None:
    out = np.zeros((3, 64, 64), np.float32)
    geometry = prepare(np.full((40, 80, 3), 250, np.uint8), preparation(64, 64, "letterbox"), out)
    assert geometry == Geometry(64, 64, 0, 16, 64, 32, 80, 40)
    assert (out[:, 16:48] == 250).all()
    assert (out[:, :16] == 114).all()
    assert geometry.cell_pixels(64, 64) == pytest.approx(80 * 40 / (64 * 32))
