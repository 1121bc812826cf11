from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineside_inference.imaging.prepare import LETTERBOX_VALUE, prepare
from lineside_inference.models.card import Card, CardInput, ImagePreparation
from lineside_inference.models.preparation import Preparation


def image_input(datatype: str = "FP32", **fields: Any) -> CardInput:
    image = ImagePreparation.model_validate({"width": 12, "height": 8} | fields)
    return CardInput.model_validate(
        {"name": "x", "kind": "image", "datatype": datatype, "shape": image.shape, "image": image.model_dump()}
    )


def plain(pixels: np.ndarray, card: CardInput) -> np.ndarray:
    """The card's formula in plain numpy, for a picture that already has the card's size."""
    image = card.image
    assert image is not None
    planes = pixels[:, :, np.newaxis] if pixels.ndim == 2 else pixels
    if image.colour == "rgb":
        planes = planes[:, :, ::-1]
    mean = np.array(image.mean or [0.0] * image.channels)
    std = np.array(image.std or [1.0] * image.channels)
    values: np.ndarray = (planes.astype(np.float64) * image.scale - mean) / std
    return values.transpose(2, 0, 1) if image.layout == "chw" else values


@given(
    colour=st.sampled_from(["rgb", "bgr", "gray"]),
    layout=st.sampled_from(["chw", "hwc"]),
    scale=st.floats(0.001, 2),
    mean=st.tuples(*[st.floats(-200, 200)] * 3),
    std=st.tuples(*[st.floats(0.1, 200)] * 3),
    seed=st.integers(0, 1000),
)
def test_agrees_with_the_formula(
    *, colour: str, layout: str, scale: float, mean: tuple[float, ...], std: tuple[float, ...], seed: int
) -> None:
    channels = 1 if colour == "gray" else 3
    card = image_input(colour=colour, layout=layout, scale=scale, mean=mean[:channels], std=std[:channels])
    shape = (8, 12) if colour == "gray" else (8, 12, 3)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    out = np.full(card.shape, np.nan, np.float32)
    prepare(pixels, Preparation.of(card), out)
    assert np.allclose(out, plain(pixels, card), rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("layout", ["chw", "hwc"])
@pytest.mark.parametrize("colour", ["rgb", "bgr", "gray"])
def test_a_model_of_bytes_gets_the_pixels_as_they_are(colour: str, layout: str) -> None:
    card = image_input("UINT8", colour=colour, layout=layout, fit="letterbox")
    pixels = np.random.default_rng(4).integers(0, 256, (8, 6) if colour == "gray" else (8, 6, 3), np.uint8)
    out = np.full(card.shape, 7, np.uint8)
    prepare(pixels, Preparation.of(card), out)
    grey = np.full((8, 3, *pixels.shape[2:]), LETTERBOX_VALUE, np.uint8)
    assert np.array_equal(out, plain(np.concatenate((grey, pixels, grey), axis=1), card))


def test_stretch_averages_the_area() -> None:
    card = image_input(layout="hwc")
    pixels = np.repeat(np.repeat(np.arange(96, dtype=np.uint8).reshape(8, 12), 4, 0), 4, 1)
    out = np.zeros(card.shape, np.float32)
    prepare(np.dstack([pixels] * 3), Preparation.of(card), out)
    assert np.array_equal(out[:, :, 0], np.arange(96).reshape(8, 12))


def test_letterbox_keeps_the_aspect_and_fills_the_rest() -> None:
    card = image_input(fit="letterbox", layout="hwc")
    out = np.zeros(card.shape, np.float32)
    prepare(np.full((16, 16, 3), 200, np.uint8), Preparation.of(card), out)
    assert (out[:, 2:10] == 200).all()
    assert (out[:, :2] == LETTERBOX_VALUE).all()
    assert (out[:, 10:] == LETTERBOX_VALUE).all()


@given(width=st.integers(1, 5000), height=st.integers(1, 5000), letterbox=st.booleans())
def test_a_reduced_decode_never_goes_below_what_is_needed(width: int, height: int, *, letterbox: bool) -> None:
    preparation = Preparation.of(image_input(fit="letterbox" if letterbox else "stretch"))
    factor = preparation.reduction(width, height)
    fitted = preparation.fitted(width, height)
    assert factor in {1, 2, 4, 8}
    assert factor == 1 or (width // factor >= fitted[0] and height // factor >= fitted[1])
    assert fitted[0] <= 12
    assert fitted[1] <= 8


def test_linear_interpolation_is_never_reduced() -> None:
    assert Preparation.of(image_input(interpolation="linear")).reduction(1200, 800) == 1
    assert Preparation.of(image_input(interpolation="area")).reduction(1200, 800) == 8


def test_half_precision() -> None:
    card = image_input("FP16", scale=1 / 255)
    out = np.zeros(card.shape, np.float16)
    prepare(np.full((8, 12, 3), 255, np.uint8), Preparation.of(card), out)
    assert (out == 1).all()


def test_a_card_of_tensors_has_no_preparation(make_card: Callable[..., Card]) -> None:
    card = make_card(input={"name": "x", "kind": "tensor", "datatype": "FP32", "shape": [3]})
    with pytest.raises(ValueError, match="kind tensor"):
        Preparation.of(card.input)


def test_a_large_picture_is_averaged_as_a_small_one() -> None:
    card = image_input(layout="hwc", colour="bgr")
    small = np.random.default_rng(8).integers(0, 256, (8, 12, 3), np.uint8)
    large = np.repeat(np.repeat(small, 101, 0), 103, 1)[:-5, :-7]  # no whole factor
    out = np.zeros(card.shape, np.float32)
    prepare(large, Preparation.of(card), out)
    assert np.abs(out - cv2.resize(large, (12, 8), interpolation=cv2.INTER_AREA)).max() <= 1


@pytest.mark.parametrize("fit", ["stretch", "letterbox"])
def test_a_gray_picture_gives_each_colour_the_same(fit: str) -> None:
    card = image_input(fit=fit, mean=(1, 2, 3), std=(1, 2, 4))
    gray = np.random.default_rng(9).integers(0, 256, (30, 40), np.uint8)
    once, thrice = (np.zeros(card.shape, np.float32) for _ in range(2))
    assert prepare(gray, Preparation.of(card), once) == prepare(np.dstack([gray] * 3), Preparation.of(card), thrice)
    assert np.array_equal(once, thrice)
