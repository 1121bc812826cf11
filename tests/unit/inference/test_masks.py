from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest

from lineside.contract import CameraSource, Context, Finding, InlineSource, Request, Result
from lineside_inference.errors import ImageTooLarge, ImageTruncated, ImageUndecodable
from lineside_inference.imaging.decode import decode_all
from lineside_inference.imaging.encode import encode
from lineside_inference.imaging.masks import black_out_input, masked_file, masks_of
from lineside_inference.imaging.overlay import draw
from lineside_inference.imaging.prepare import prepare
from lineside_inference.models.card import CardInput, ImagePreparation
from lineside_inference.models.preparation import Preparation
from lineside_inference.settings.capture import CaptureSettings
from tests.support import image_files as files

MOST = 1_000_000
LEFT_HALF = (0.0, 0.0, 0.5, 1.0)


def noise(height: int = 48, width: int = 64, channels: int = 3, dtype: Any = np.uint8) -> np.ndarray:
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(3).integers(100, 256, shape, dtype)


def test_masks_are_those_of_the_camera_and_of_the_station() -> None:
    masks = {"cam": (LEFT_HALF,), "press": ((0.1, 0.1, 0.2, 0.2),)}
    camera, inline = CameraSource(camera="cam"), InlineSource(content_type="image/png", data=b"")
    at_press = Context(station="press")
    assert masks_of(Request.new(model="m", source=camera), masks) == (LEFT_HALF,)
    assert masks_of(Request.new(model="m", source=inline, context=at_press), masks) == masks["press"]
    assert masks_of(Request.new(model="m", source=camera, context=at_press), masks) == (LEFT_HALF, *masks["press"])
    assert masks_of(Request.new(model="m", source=camera, context=Context(station="cam")), masks) == (LEFT_HALF,)
    assert masks_of(Request.new(model="m", source=inline), masks) == ()


@pytest.mark.parametrize("suffix", ["png", "bmp", "jpg"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_masked_file_is_black_inside_and_itself_outside(suffix: str, channels: int) -> None:
    data = encode(noise(channels=channels), suffix)
    masked, kind = masked_file(data, [(0.25, 0.5, 0.75, 1.0)], max_pixels=MOST)
    assert kind == suffix
    before, after = decode_all(data, max_pixels=MOST), decode_all(masked, max_pixels=MOST)
    assert after.shape == before.shape
    inside = np.zeros(before.shape[:2], bool)
    inside[24:, 16:48] = True
    if suffix == "jpg":  # 8 x 8 blocks; the mask lies on their borders
        assert after[inside].max() < 32  # colour is stored coarser, and smeared over the border
        assert np.abs(after[~inside].astype(int) - before[~inside]).max() < 60
    else:
        assert after[inside].max() == 0
        assert np.array_equal(after[~inside], before[~inside])


def test_every_pixel_that_a_mask_touches_is_black() -> None:
    masked, _ = masked_file(encode(noise(10, 10), "png"), [(0.15, 0.15, 0.55, 0.31)], max_pixels=MOST)
    black = (decode_all(masked, max_pixels=MOST) == 0).all(axis=2)
    assert black[1:4, 1:6].all()
    assert black.sum() == 3 * 5


def test_deep_and_transparent_pictures_stay_what_they_are() -> None:
    for pixels in (noise(dtype=np.uint16), noise(channels=4)):
        masked, _ = masked_file(encode(pixels, "png"), [LEFT_HALF], max_pixels=MOST)
        after = decode_all(masked, max_pixels=MOST)
        assert after.dtype == pixels.dtype
        assert after[:, :32, :3].max() == 0
        assert np.array_equal(after[:, 32:], pixels[:, 32:])
        assert after.shape[2] < 4 or np.array_equal(after[..., 3], pixels[..., 3])


TEN_BITS = (0x3FF00000, 0x000FFC00, 0x3FF)


@pytest.mark.parametrize(
    "make",
    [
        files.tiff,
        lambda pixels: files.tiff(pixels, packed=True),
        lambda pixels: files.tiff(pixels.astype(np.uint16) << 4),
        lambda pixels: files.pgm(pixels, 255),
        lambda pixels: files.pgm(pixels, 4095),
        lambda pixels: files.bmp(pixels, TEN_BITS),
        lambda pixels: encode(pixels, "webp"),
    ],
)
def test_every_kind_of_picture_is_masked(make: Callable[[np.ndarray], bytes]) -> None:
    data = make(files.part(64, 48))
    masked, suffix = masked_file(data, [LEFT_HALF], max_pixels=MOST)
    before, after = decode_all(data, max_pixels=MOST), decode_all(masked, max_pixels=MOST)
    assert after.dtype == before.dtype
    assert not after[:, :32].any()
    assert np.array_equal(after[:, 32:], before[:, 32:])
    assert suffix in {"png", "bmp"}
    assert decode_all(data, max_pixels=MOST, is_bgr=True).shape == (48, 64, 3)


def test_what_cannot_be_masked_is_refused() -> None:
    jpeg = encode(noise(), "jpg")
    with pytest.raises(ImageTruncated):
        masked_file(jpeg[:-200], [LEFT_HALF], max_pixels=MOST)
    with pytest.raises(ImageUndecodable):
        masked_file(b"<html>", [LEFT_HALF], max_pixels=MOST)
    with pytest.raises(ImageTooLarge):
        masked_file(jpeg, [LEFT_HALF], max_pixels=100)


@pytest.mark.parametrize("layout", ["chw", "hwc"])
@pytest.mark.parametrize("fit", ["stretch", "letterbox"])
@pytest.mark.parametrize("interpolation", ["area", "linear"])
@pytest.mark.parametrize("datatype", ["FP32", "FP16"])
def test_nothing_of_a_masked_region_is_left_in_the_input(
    layout: str, fit: str, interpolation: str, datatype: str
) -> None:
    image = ImagePreparation.model_validate(
        {"width": 30, "height": 22, "layout": layout, "fit": fit, "interpolation": interpolation}
        | {"scale": 1 / 255, "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4]}
    )
    card = CardInput.model_validate(
        {"name": "x", "kind": "image", "datatype": datatype, "shape": image.shape, "image": image.model_dump()}
    )
    preparation, mask = Preparation.of(card), (0.31, 0.17, 0.62, 0.77)
    made = []
    for secret in (0, 255):  # two pictures that differ inside the mask only
        pixels = noise(97, 131)
        pixels[17:74, 41:81] = secret
        tensor = np.zeros(card.shape, {"FP32": np.float32, "FP16": np.float16}[datatype])
        geometry = prepare(pixels, preparation, tensor)
        black_out_input(tensor, preparation, geometry, [mask])
        made.append(tensor)
    assert np.array_equal(*made)
    planes = made[0] if layout == "chw" else made[0].transpose(2, 0, 1)
    black = np.isclose(planes, preparation.offset.reshape(3, 1, 1), rtol=1e-3).all(axis=0)
    assert 0.1 < black.mean() < 0.6  # the region, and not the whole of it


def test_a_mask_over_the_edge_and_one_of_all() -> None:
    card = CardInput.model_validate(
        {"name": "x", "kind": "image", "datatype": "FP32", "shape": [3, 8, 12], "image": {"width": 12, "height": 8}}
    )
    preparation = Preparation.of(card)
    tensor = np.zeros(card.shape, np.float32)
    geometry = prepare(noise(), preparation, tensor)
    black_out_input(tensor, preparation, geometry, [(0, 0, 1, 1)])
    assert tensor.max() == 0


def test_the_overlay_shows_what_was_found() -> None:
    pixels = np.full((480, 640, 3), 128, np.uint8)
    findings = (
        Finding(label="scratch", confidence=0.93, box=(100.0, 100.0, 300.0, 200.0)),
        Finding(label="screw", confidence=0.9, box=(400.0, 300.0, 700.0, 500.0)),  # over the edge
        Finding(label="good", confidence=0.5),
    )
    judged = Result(id="r", request_id="q", status="ok", verdict="fail", reason="Kratzer für 0.93", findings=findings)
    drawn = cv2.imdecode(np.frombuffer(draw(pixels, judged, ["scratch"]), np.uint8), cv2.IMREAD_COLOR)
    assert drawn.shape == (480, 640, 3)
    blue, _green, red = (int(value) for value in drawn[150, 100])
    assert red > blue + 80  # a defect's box is red
    _blue, green, red = (int(value) for value in drawn[400, 400])
    assert green > red + 60  # another's is green
    assert abs(int(drawn[150, 200, 0]) - 128) < 12  # inside the box is the picture
    assert drawn[2, 2, 2] > 180  # the verdict stands on a red bar


def test_a_tiny_picture_can_be_drawn_on() -> None:
    judged = Result(id="r", request_id="q", status="ok", verdict="unknown", reason="x" * 300)
    assert draw(np.zeros((1, 1, 3), np.uint8), judged, []).startswith(b"\xff\xd8")


@pytest.mark.parametrize("rectangle", [[0.5, 0, 0.5, 1], [0, 0.6, 1, 0.4], [0, 0, 1.5, 1], [-0.1, 0, 1, 1], [0, 0, 1]])
def test_a_mask_without_an_inside_is_refused(rectangle: list[float]) -> None:
    with pytest.raises(ValueError, match="masks"):
        CaptureSettings.model_validate({"masks": {"cam": [rectangle]}})
