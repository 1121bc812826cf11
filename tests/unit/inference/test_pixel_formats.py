"""Raw buffers of cameras, against slow conversions written from the standards' words."""

import random
from typing import get_args

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineside_inference.errors import ImageBitDepth, ImageTooLarge, ImageTruncated, ImageUndecodable, RequestError
from lineside_inference.imaging.pixel_formats.convert import to_pixels, to_values
from lineside_inference.imaging.pixel_formats.layout import Layout, is_raw
from lineside_inference.imaging.pixel_formats.table import FORMATS, MOSAICS, find
from lineside_inference.settings.pixel_formats import PixelFormatName

MOST = 1_000_000
PACKED = ("Mono10p", "Mono12p", "Mono10Packed", "Mono12Packed")
COLOURS = {"R": 2, "G": 1, "B": 0}
"""Where a colour stands in a pixel of BGR."""
SECOND_ROW = {"RG": "GB", "GR": "BG", "GB": "RG", "BG": "GR"}


def pack(name: str, values: list[int]) -> bytes:
    """Pack a row's values as the format's definition says it, bit by bit."""
    if name.endswith("Packed"):  # GigE Vision 1.x: the high eight bits of each around their low ones
        low = 4 if name.startswith("Mono12") else 2
        out = b""
        for first, second in zip(values[::2], values[1::2], strict=True):
            lows = first & (1 << low) - 1 | (second & (1 << low) - 1) << 4
            out += bytes([first >> low, lows, second >> low])
        return out
    bits = int(name.rstrip("p")[-2:])
    stream = [value >> bit & 1 for value in values for bit in range(bits)]  # PFNC: the lowest bit first, no gaps
    octets = [stream[at : at + 8] for at in range(0, len(stream), 8)]
    return bytes(sum(bit << at for at, bit in enumerate(octet)) for octet in octets)


def buffer_of(name: str, values: np.ndarray, padding: int = 0) -> bytes:
    """A buffer of gray or mosaic values in a format, each row with so many bytes behind it."""
    form = find(name)
    gray = "Mono" + name[7:] if form.colour in MOSAICS else name
    kinds = {"bytes": "u1", "words": "<u2"}
    rows = [
        row.astype(kinds[form.packing]).tobytes() if form.packing in kinds else pack(gray, [int(one) for one in row])
        for row in values
    ]
    return b"".join(row + b"\xa5" * padding for row in rows)


def random_values(bits: int, height: int, width: int) -> np.ndarray:
    values = np.random.default_rng(bits).integers(0, 1 << bits, (height, width)).astype(np.uint16)
    values[0, :2] = 0, (1 << bits) - 1
    return values


def demosaiced(values: np.ndarray, pattern: str) -> np.ndarray:
    """The missing colours of inner pixels by the mean of the nearest that have them, in float."""
    height, width = values.shape
    letters = pattern + SECOND_ROW[pattern]
    out = np.zeros((height, width, 3))
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            for letter, channel in COLOURS.items():
                near = [
                    (abs(dy) + abs(dx), int(values[y + dy, x + dx]))
                    for dy in (-1, 0, 1)
                    for dx in (-1, 0, 1)
                    if letters[(y + dy) % 2 * 2 + (x + dx) % 2] == letter
                ]
                least = min(distance for distance, _ in near)
                closest = [value for distance, value in near if distance == least]
                out[y, x, channel] = sum(closest) / len(closest)
    return out


def test_the_settings_know_every_format() -> None:
    assert tuple(each.name for each in FORMATS) == get_args(PixelFormatName)
    assert len({each.code for each in FORMATS}) == len(FORMATS)
    for each in FORMATS:
        assert find(each.code) is find(each.name) is find(each.name.lower()) is each


@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("name", [each.name for each in FORMATS if each.colour == "mono"])
def test_every_gray_format(name: str, padding: int) -> None:
    form = find(name)
    values = random_values(form.bits, 6, 16)
    layout = Layout.of(name, 16, 6, stride=form.row_bytes(16) + padding)
    data = buffer_of(name, values, padding)
    assert np.array_equal(to_values(data, layout, max_pixels=MOST), values)
    found = to_pixels(data, layout, max_pixels=MOST)
    assert found.dtype == np.uint8
    assert np.array_equal(found, values >> (form.bits - 8))
    last_row_unpadded = data[: len(data) - padding]
    assert np.array_equal(to_pixels(last_row_unpadded, layout, max_pixels=MOST), found)


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize("name", [each.name for each in FORMATS if each.colour in MOSAICS])
def test_every_mosaic(name: str, padding: int) -> None:
    form = find(name)
    values = random_values(form.bits, 8, 12)
    layout = Layout.of(name, 12, 8, stride=form.row_bytes(12) + padding)
    data = buffer_of(name, values, padding)
    inner = np.s_[1:-1, 1:-1]
    wanted = demosaiced(values, form.colour)[inner]
    assert np.abs(to_values(data, layout, max_pixels=MOST)[inner] - wanted).max() <= 1
    high = demosaiced(values >> (form.bits - 8), form.colour)[inner]
    found = to_pixels(data, layout, max_pixels=MOST)
    assert found.dtype == np.uint8
    assert np.abs(found[inner] - high).max() <= 1


@pytest.mark.parametrize("bgr", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 100, 20)])
@pytest.mark.parametrize("name", [each.name for each in FORMATS if each.colour in MOSAICS])
def test_a_picture_of_one_colour_has_that_colour(name: str, bgr: tuple[int, int, int]) -> None:
    """The pattern's letters are those of the first row: read by the second, as OpenCV's names are, red is blue."""
    form = find(name)
    letters = form.colour + SECOND_ROW[form.colour]
    values = np.zeros((8, 12), np.uint16)
    for index, letter in enumerate(letters):
        values[index // 2 :: 2, index % 2 :: 2] = bgr[COLOURS[letter]] << (form.bits - 8)
    found = to_pixels(buffer_of(name, values), Layout.of(name, 12, 8), max_pixels=MOST)
    assert (found == np.array(bgr)).all()


@pytest.mark.parametrize("name", ["RGB8", "BGR8"])
def test_colours_of_8_bits(name: str) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    stored = picture if name == "BGR8" else picture[:, :, ::-1]
    data = b"".join(row.tobytes() + b"\0\0" for row in stored)
    assert np.array_equal(to_pixels(data, Layout.of(name, 7, 5, stride=23), max_pixels=MOST), picture)


@pytest.mark.parametrize(("name", "order"), [("YUV422_8", "yuyv"), ("YUV422_8_UYVY", "uyvy")])
def test_yuv_of_the_full_range(name: str, order: str) -> None:
    """Two pixels share U and V; black is Y 0 and white Y 255, not 16 and 235."""
    values = np.random.default_rng(2).integers(0, 256, (6, 16)).astype(np.uint8)
    values[0, :8] = (0, 128, 0, 128, 255, 128, 255, 128) if order == "yuyv" else (128, 0, 128, 0, 128, 255, 128, 255)
    found = to_pixels(values.tobytes(), Layout.of(name, 8, 6), max_pixels=MOST)
    assert found[0, :2].max() == 0
    assert found[0, 2:4].min() == 255
    lumas = [at for at, letter in enumerate(order) if letter == "y"]
    for y in range(6):
        for x in range(8):
            group = values[y, x // 2 * 4 : x // 2 * 4 + 4].astype(float)
            luma, u, v = group[lumas[x % 2]], group[order.index("u")] - 128, group[order.index("v")] - 128
            wanted = np.clip([luma + 1.772 * u, luma - 0.344 * u - 0.714 * v, luma + 1.402 * v], 0, 255)
            assert np.abs(found[y, x] - wanted).max() <= 1.5


@given(st.sampled_from(PACKED), st.integers(1, 8), st.integers(1, 5), st.integers(0, 7), st.data())
def test_what_was_packed_is_unpacked(name: str, groups: int, height: int, padding: int, data: st.DataObject) -> None:
    form = find(name)
    width = groups * form.width_step
    rows = data.draw(
        st.lists(
            st.lists(st.integers(0, (1 << form.bits) - 1), min_size=width, max_size=width),
            min_size=height,
            max_size=height,
        )
    )
    values = np.array(rows, np.uint16)
    layout = Layout.of(name, width, height, stride=form.row_bytes(width) + padding)
    packed = buffer_of(name, values, padding)
    assert np.array_equal(to_values(packed, layout, max_pixels=MOST), values)
    assert np.array_equal(to_pixels(packed, layout, max_pixels=MOST), values >> (form.bits - 8))


@given(
    st.sampled_from([each.name for each in FORMATS]),
    st.integers(-1, 40),
    st.integers(-1, 40),
    st.none() | st.integers(0, 200),
    st.integers(-3, 3),
    st.randoms(),
)
def test_whatever_is_said_of_whatever_is_an_image_or_an_error_of_ours(
    name: str, width: int, height: int, stride: int | None, more: int, chance: random.Random
) -> None:
    try:
        layout = Layout.of(name, width, height, stride=stride)
        size = max(0, layout.size + more)
        found = to_pixels(chance.randbytes(size), layout, max_pixels=1000)
    except RequestError:
        return
    assert width * height <= 1000
    assert found.shape in {(height, width), (height, width, 3)}
    assert found.dtype == np.uint8


@pytest.mark.parametrize("name", ["Mono8", "BGR8"])
def test_what_needs_no_conversion_is_not_copied(name: str) -> None:
    data = np.zeros(64 * 3, np.uint8)
    layout = Layout.of(name, 8, 8 if name == "BGR8" else 24)
    assert np.shares_memory(to_pixels(data, layout, max_pixels=MOST), data)
    words = np.zeros(64, np.uint16)
    assert np.shares_memory(to_values(memoryview(words), Layout.of("Mono12", 8, 8), max_pixels=MOST), words)


def test_any_buffer_will_do() -> None:
    layout = Layout.of("Mono12p", 8, 4)
    data = bytes(range(48))
    wanted = to_pixels(data, layout, max_pixels=MOST)
    for same in (bytearray(data), memoryview(data), np.frombuffer(data, np.uint8)):
        assert np.array_equal(to_pixels(same, layout, max_pixels=MOST), wanted)


def test_mono16_has_the_bits_that_somebody_says() -> None:
    values = random_values(12, 4, 8)
    layout = Layout.of("Mono16", 8, 4)
    data = values.astype("<u2").tobytes()
    assert np.array_equal(to_pixels(data, layout, max_pixels=MOST, significant_bits=12), values >> 4)
    assert np.array_equal(to_pixels(data, layout, max_pixels=MOST), values >> 8)
    with pytest.raises(ImageBitDepth, match=r"value 4095, and its 10 significant bits end at 1023"):
        to_pixels(data, layout, max_pixels=MOST, significant_bits=10)


def test_a_value_above_its_bits_is_refused() -> None:
    """For instance words with the higher byte first."""
    values = random_values(12, 4, 8)
    layout = Layout.of("Mono12", 8, 4)
    assert to_pixels(values.tobytes(), layout, max_pixels=MOST, significant_bits=12).max() == 255
    with pytest.raises(ImageBitDepth, match="the image of Mono12 has the value"):
        to_pixels(values.astype(">u2").tobytes(), layout, max_pixels=MOST)
    with pytest.raises(ImageBitDepth, match="Mono12 has 12 significant bits, and significant_bits says 10"):
        to_pixels(values.tobytes(), layout, max_pixels=MOST, significant_bits=10)


@pytest.mark.parametrize("given_format", ["Mono11", "", "BayerXY8", 0x01080099, -1])
def test_an_unknown_format_says_which_are_known(given_format: str | int) -> None:
    with pytest.raises(ImageUndecodable, match="is not known") as caught:
        Layout.of(given_format, 8, 8)
    assert "Mono12Packed" in caught.value.remedy


@pytest.mark.parametrize(
    ("name", "width", "height", "remedy"),
    [
        ("Mono8", 0, 8, "width must be at least 1"),
        ("Mono8", 8, -1, "height must be at least 1"),
        ("BayerRG8", 7, 8, "width must be a multiple of 2, at least 4"),
        ("BayerRG8", 8, 7, "height must be a multiple of 2, at least 4"),
        ("BayerRG8", 2, 2, "width must be a multiple of 2, at least 4"),
        ("YUV422_8", 7, 8, "width must be a multiple of 2, at least 1"),
        ("Mono12p", 7, 8, "width must be a multiple of 2, at least 1"),
        ("Mono12Packed", 7, 8, "width must be a multiple of 2, at least 1"),
        ("Mono10p", 6, 8, "width must be a multiple of 4, at least 1"),
        ("BayerGB10p", 8, 5, "height must be a multiple of 2, at least 4"),
    ],
)
def test_a_size_that_the_format_cannot_have(name: str, width: int, height: int, remedy: str) -> None:
    with pytest.raises(ImageUndecodable, match=f"{width} x {height} pixels cannot be {name}") as caught:
        Layout.of(name, width, height)
    assert remedy in caught.value.remedy


def test_a_stride_below_a_row() -> None:
    with pytest.raises(ImageUndecodable, match=r"stride is 11 bytes, and a row of 8 pixels of Mono12p takes 12"):
        Layout.of("Mono12p", 8, 4, stride=11)


def test_a_buffer_of_another_size() -> None:
    layout = Layout.of("Mono12p", 8, 4, stride=16)
    with pytest.raises(ImageTruncated, match=r"8 x 4 pixels of Mono12p in rows of 16 bytes are 64 bytes, .* 59"):
        to_pixels(bytes(59), layout, max_pixels=MOST)
    for size in (60, 64):
        to_pixels(bytes(size), layout, max_pixels=MOST)
    for size in (61, 65, 1000):
        with pytest.raises(ImageUndecodable, match=f"are 64 bytes, and there are {size}"):
            to_pixels(bytes(size), layout, max_pixels=MOST)
    with pytest.raises(ImageTruncated, match="are 48 bytes, and there are 0"):
        to_pixels(b"", Layout.of("Mono12p", 8, 4), max_pixels=MOST)


def test_the_pixels_are_bounded_before_the_buffer_is_looked_at() -> None:
    layout = Layout.of("BayerRG8", 100_000, 100_000)
    with pytest.raises(ImageTooLarge, match=r"100000 x 100000.*") as caught:
        to_pixels(b"", layout, max_pixels=MOST)
    assert "inference.limits.pixels" in caught.value.remedy


def test_a_content_type() -> None:
    assert Layout.of_content_type("application/x-pfnc; format=BayerRG8; width=8; height=4") == Layout.of(
        "BayerRG8", 8, 4
    )
    said = 'Application/X-PFNC;HEIGHT="4" ;width=8;format=mono12p; stride=16'
    assert is_raw(said)
    assert Layout.of_content_type(said) == Layout.of("Mono12p", 8, 4, stride=16)
    assert not is_raw("image/png")


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ("", "has no format and no width and no height"),
        ("; format=Mono8; width=8", "has no height"),
        ("; format=Mono8; width=8; height=8; height=9", "'height=9' of the content type is given twice"),
        ("; format=Mono8; width=8; height=8; offset=9", "'offset=9' of the content type is not understood"),
        ("; format=Mono8; width=8; height=8;", "'' of the content type is not understood"),
        ("; format=Mono8; width=8; height", "'height' of the content type is not understood"),
        ("; format=Mono8; width=-8; height=8", "width is '-8', which is no number"),
        ("; format=Mono8; width=8; height=\u0664", "height is '\u0664', which is no number"),
        ("; format=Mono8; width=8; height=9999999999", "which is no number"),
        ("; format=Mono9; width=8; height=8", "format 'Mono9' is not known"),
    ],
)
def test_a_content_type_that_does_not_say_it(parameters: str, said: str) -> None:
    with pytest.raises(ImageUndecodable, match=said):
        Layout.of_content_type("application/x-pfnc" + parameters)


def test_opencvs_own_names_would_swap_red_and_blue() -> None:
    """The trap that the tests above are about: what looks right by its name is not."""
    red = np.zeros((8, 8), np.uint8)
    red[::2, ::2] = 255
    assert to_pixels(red, Layout.of("BayerRG8", 8, 8), max_pixels=MOST)[4, 4].tolist() == [0, 0, 255]
    assert cv2.cvtColor(red, cv2.COLOR_BayerRG2BGR)[4, 4].tolist() == [255, 0, 0]
