"""More than 8 bits a value: by the bits that are significant, or not at all."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lineside_inference.errors import ImageBitDepth, ImageTruncated, ImageUndecodable
from lineside_inference.imaging.decode import decode, view
from lineside_inference.imaging.image_headers import read_header
from lineside_inference.models.card import Card
from lineside_inference.models.preparation import Preparation
from tests.support import image_files as files

MOST = 1_000_000


def preparation(make_card: Callable[..., Card], *, colour: str = "gray", bits: int | None = None) -> Preparation:
    channels = 1 if colour == "gray" else 3
    image = {"width": 12, "height": 8, "colour": colour, "significant_bits": bits}
    given = {"name": "i", "kind": "image", "datatype": "FP32", "shape": [channels, 8, 12], "image": image}
    return Preparation.of(make_card(input=given).input)


def read(data: bytes, prepared: Preparation, camera: int | None = None) -> np.ndarray:
    return decode(data, prepared, max_pixels=MOST, significant_bits=camera)


def sbit(*bits: int) -> bytes:
    return files.chunk(b"sBIT", bytes(bits))


@pytest.mark.parametrize("make", [files.png, files.tiff, lambda values: files.pgm(values, 65_535)])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_the_camera_or_the_card_says_how_many_bits_are_significant(
    make_card: Callable[..., Card], make: Callable[[Any], bytes], bits: int
) -> None:
    values = files.deep(bits)
    wanted = (values >> (bits - 8)).astype(np.uint8)
    assert np.array_equal(read(make(values), preparation(make_card), bits), wanted)
    assert np.array_equal(read(make(values), preparation(make_card, bits=bits)), wanted)
    other = 16 if bits < 16 else 12
    assert np.array_equal(read(make(values), preparation(make_card, bits=other), bits), wanted)  # the camera's counts
    in_colour = read(make(values), preparation(make_card, colour="rgb"), bits)
    assert np.array_equal(in_colour, np.dstack([wanted] * 3))


@pytest.mark.parametrize("make", [files.png, files.tiff, lambda values: files.pgm(values, 65_535)])
@pytest.mark.parametrize("bits", [10, 12, 16])
def test_16_bits_of_which_nothing_is_said_are_refused(
    make_card: Callable[..., Card], make: Callable[[Any], bytes], bits: int
) -> None:
    with pytest.raises(ImageBitDepth, match="nothing says how many") as caught:
        read(make(files.deep(bits)), preparation(make_card))
    assert caught.value.code == "image-bit-depth"
    assert "significant_bits" in caught.value.remedy
    colour = np.dstack([files.deep(bits)] * 3)
    with pytest.raises(ImageBitDepth):
        read(make(colour), preparation(make_card, colour="rgb"))


def test_what_nobody_explains_is_not_decoded_first(make_card: Callable[..., Card]) -> None:
    """A few bytes that would be 72 MB of pixels: refused by the header."""
    data = files.png(np.zeros((1, 1), np.uint16))
    huge = data[:16] + (6000).to_bytes(4, "big") * 2 + data[24:]
    with pytest.raises(ImageBitDepth):
        decode(huge, preparation(make_card), max_pixels=36_000_000)


def test_a_value_above_what_was_said_is_refused(make_card: Callable[..., Card]) -> None:
    with pytest.raises(ImageBitDepth, match=r"value 4095.*end at 1023"):
        read(files.png(files.deep(12)), preparation(make_card), 10)


def test_sbit_of_values_as_the_camera_has_them(make_card: Callable[..., Card]) -> None:
    values = files.deep(12)
    data = files.png(values, sbit(12))
    assert np.array_equal(read(data, preparation(make_card)), values >> 4)
    assert np.array_equal(read(data, preparation(make_card), 12), values >> 4)
    assert np.array_equal(read(data, preparation(make_card, bits=16)), values >> 4)  # the file knows better
    with pytest.raises(ImageBitDepth, match=r"end at 4095, the camera's significant_bits \(10\) at 1023"):
        read(data, preparation(make_card), 10)
    colour = np.dstack([values, values, values])
    found = read(files.png(colour, sbit(12, 12, 12)), preparation(make_card, colour="bgr"))
    assert np.array_equal(found, (colour >> 4).astype(np.uint8))


@pytest.mark.parametrize("spread", [lambda v: v << 4, lambda v: v << 4 | v >> 8, lambda v: (v * 65_535 + 2047) // 4095])
def test_sbit_of_values_spread_over_16_bits_as_the_standard_wants_it(
    make_card: Callable[..., Card], spread: Callable[[Any], Any]
) -> None:
    values = files.deep(12)
    data = files.png(spread(values.astype(np.uint32)).astype(np.uint16), sbit(12))
    assert np.abs(read(data, preparation(make_card)).astype(int) - (values >> 4)).max() <= 1
    assert read(data, preparation(make_card), 16).max() == 255


def test_sbit_that_fits_neither_way_or_both_is_refused(make_card: Callable[..., Card]) -> None:
    values = files.deep(16) | 1
    with pytest.raises(ImageBitDepth, match="12 significant bits and has the value"):
        read(files.png(values, sbit(12)), preparation(make_card))
    both = files.deep(8) << 4
    with pytest.raises(ImageBitDepth, match="the low or the high"):
        read(files.png(both, sbit(12)), preparation(make_card))
    assert np.array_equal(read(files.png(both, sbit(12)), preparation(make_card), 12), both >> 4)
    assert not read(files.png(both * 0, sbit(12)), preparation(make_card)).any()
    with pytest.raises(ImageBitDepth, match="nothing says"):
        read(files.png(np.dstack([files.deep(12)] * 3), sbit(12, 10, 12)), preparation(make_card, colour="rgb"))


@pytest.mark.parametrize("peak", [1, 100, 254, 255, 1000, 1023, 4095, 65_534])
def test_a_pgm_says_its_largest_value(make_card: Callable[..., Card], peak: int) -> None:
    values = np.random.default_rng(2).integers(0, peak + 1, (30, 40)).astype(np.uint16)
    values[0, :2] = 0, peak
    for data in (files.pgm(values, peak), files.pgm(values, peak, comment=b"# by a camera\n#\n")):
        found = read(data, preparation(make_card)).astype(int)
        assert np.abs(found - values.astype(float) * 255 / peak).max() <= 1
        assert (found[0, 0], found[0, 1]) == (0, 255)
    colour = np.dstack([values, values // 2, values * 0])
    found = read(files.pgm(colour, peak), preparation(make_card, colour="bgr"))
    assert found[..., 0].max() == 255
    assert not found[..., 2].any()


def test_a_pgm_above_its_own_largest_value_is_refused(make_card: Callable[..., Card]) -> None:
    with pytest.raises(ImageBitDepth, match=r"value 4095.*end at 1000"):
        read(files.pgm(files.deep(12), 1000), preparation(make_card))


def test_a_pgm_that_is_cut_or_none(make_card: Callable[..., Card]) -> None:
    data = files.pgm(files.deep(8).astype(np.uint8), 255)
    for size in (3, 9, len(data) // 2, len(data) - 1):
        with pytest.raises(ImageTruncated):
            read(data[:size], preparation(make_card))
    for wrong in (b"P5\n4 4\n0\n" + bytes(5000), b"P5\n4 4\n70000\n" + bytes(5000), b"P5 x" + bytes(5000)):
        with pytest.raises(ImageUndecodable):
            read(wrong, preparation(make_card))
    with pytest.raises(ImageUndecodable, match="no known image"):
        read(b"P2\n2 2\n255\n1 2 3 4\n", preparation(make_card))


def test_pictures_of_8_bits_are_read_as_before(make_card: Callable[..., Card]) -> None:
    pixels = files.part()
    for data in (files.png(pixels), files.png(pixels, sbit(5, 5, 5)), files.pgm(pixels, 255), files.tiff(pixels)):
        assert np.array_equal(read(data, preparation(make_card, colour="bgr", bits=12), 10), pixels)


def test_a_picture_of_12_bits_can_be_looked_at_though_nothing_says_so() -> None:
    shown = view(files.png(files.deep(12)), max_pixels=MOST)
    assert (shown.dtype, shown.max()) == (np.uint8, 255)


EIGHT = (0x00FF0000, 0x0000FF00, 0x000000FF)


@pytest.mark.parametrize("header", [40, 56, 108, 124])
@pytest.mark.parametrize(
    "masks",
    [
        EIGHT,
        EIGHT[::-1],
        (0xFF000000, 0x00FF0000, 0x0000FF00),
        (0x3FF00000, 0x000FFC00, 0x3FF),
        (0x3FF, 0xFFC00, 0x3FF00000),
    ],
    ids=["usual", "swapped", "shifted", "ten", "ten swapped"],
)
@pytest.mark.parametrize("top_down", [False, True])
def test_a_bmp_with_masks(
    make_card: Callable[..., Card], header: int, masks: tuple[int, ...], *, top_down: bool
) -> None:
    pixels = files.part()
    data = files.bmp(pixels, masks, header=header, top_down=top_down)
    assert np.array_equal(read(data, preparation(make_card, colour="bgr")), pixels)


@pytest.mark.parametrize(
    "masks", [(0xF800, 0x07E0, 0x001F), (0x7C00, 0x03E0, 0x001F), (0x001F, 0x07E0, 0xF800), (0xF00, 0xF0, 0xF)]
)
def test_a_bmp_of_16_bits(make_card: Callable[..., Card], masks: tuple[int, ...]) -> None:
    pixels = files.part(95, 64)
    found = read(files.bmp(pixels, masks, bits=16), preparation(make_card, colour="bgr"))
    assert np.abs(found.astype(int) - pixels).max() <= 10


@pytest.mark.parametrize("masks", [(0, 0xFF00, 0xFF), (0xFF0000, 0xFF00, 0xFF00), (0xF0F000, 0xF00, 0xFF), EIGHT])
def test_masks_that_are_none_are_refused(masks: tuple[int, ...]) -> None:
    data = bytearray(files.bmp(files.part(4, 4), EIGHT))
    data[54:66] = np.array(masks, "<u4").tobytes()
    data[28] = 16 if masks == EIGHT else 32
    with pytest.raises(ImageUndecodable, match="the masks"):
        read_header(bytes(data))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("strips", [1, 3, 64])
def test_tiff(make_card: Callable[..., Card], order: str, strips: int, *, packed: bool) -> None:
    pixels, values = files.part(), files.deep(12)
    data = files.tiff(pixels, order=order, strips=strips, packed=packed)
    assert np.array_equal(read(data, preparation(make_card, colour="bgr")), pixels)
    data = files.tiff(values, order=order, strips=strips, packed=packed)
    assert np.array_equal(read(data, preparation(make_card), 12), values >> 4)
    for size in range(0, len(data), 501):
        with pytest.raises((ImageTruncated, ImageUndecodable)):
            read(data[:size], preparation(make_card), 12)


def test_a_tiff_with_white_at_zero(make_card: Callable[..., Card]) -> None:
    pixels = files.part()[:, :, 0].copy()
    assert np.array_equal(read(files.tiff(pixels, t262=0), preparation(make_card)), 255 - pixels)


@pytest.mark.parametrize("at", [0.3, 0.6, 0.9])
def test_a_tiff_whose_strip_is_damaged(make_card: Callable[..., Card], at: float) -> None:
    data = bytearray(files.tiff(files.part(), packed=True))
    middle = int(len(data) * at)
    data[middle : middle + 50] = bytes(50)
    with pytest.raises(ImageTruncated):
        read(bytes(data), preparation(make_card, colour="bgr"))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"t259": 5}, "compression 5"),
        ({"t258": 12}, "12 bits"),
        ({"t262": 3}, "photometric interpretation 3"),
        ({"t284": 2}, "planes 2"),
        ({"t339": 3}, "of format"),
        ({"t322": 16}, "in tiles"),
        ({"t278": 5}, "strips of 5 rows"),
        ({"t256": 0}, "0 x 64"),
    ],
)
def test_a_tiff_that_is_not_read_says_why(changed: dict[str, int], said: str) -> None:
    with pytest.raises(ImageUndecodable, match=said):
        read_header(files.tiff(files.part()[:, :, 0].copy(), **changed))


def test_a_tiff_of_more_than_one_page_is_refused() -> None:
    data = bytearray(files.tiff(files.part()))
    end = 8 + 2 + 12 * int.from_bytes(data[8:10], "little")
    data[end] = 8
    with pytest.raises(ImageUndecodable, match="more than one page"):
        read_header(bytes(data))


def test_the_strips_of_a_tiff_are_no_bomb(make_card: Callable[..., Card]) -> None:
    data = files.tiff(files.part()[:, :, 0].copy(), strips=64, packed=True)
    count, at = 64, 8 + 2
    tags = {int.from_bytes(data[e : e + 2], "little"): e for e in range(at, at + 12 * data[8], 12)}
    sizes = int.from_bytes(data[tags[279] + 8 : tags[279] + 12], "little")
    every = data[:sizes] + (len(data) - 1000).to_bytes(4, "little") * count + data[sizes + 4 * count :]
    with pytest.raises(ImageTruncated, match="strips need more than"):
        read(every, preparation(make_card))
