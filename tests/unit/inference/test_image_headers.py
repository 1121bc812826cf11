import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineside_inference.errors import ImageTooLarge, ImageTruncated, ImageUndecodable
from lineside_inference.imaging.image_headers import Header, check_whole, read_header

SUFFIXES = (".jpg", ".png", ".bmp")


def encoded(suffix: str, *, width: int = 40, height: int = 30) -> bytes:
    pixels = np.random.default_rng(7).integers(0, 256, (height, width, 3), np.uint8)
    return cv2.imencode(suffix, pixels)[1].tobytes()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_reads_what_opencv_wrote(suffix: str) -> None:
    data = encoded(suffix)
    header = read_header(data)
    assert (header.width, header.height) == (40, 30)
    check_whole(data, header)


@pytest.mark.parametrize("flags", [[cv2.IMWRITE_JPEG_PROGRESSIVE, 1], [cv2.IMWRITE_JPEG_RST_INTERVAL, 1]])
def test_reads_progressive_and_restarting_jpegs(flags: list[int]) -> None:
    pixels = np.random.default_rng(7).integers(0, 256, (30, 40, 3), np.uint8)
    data = cv2.imencode(".jpg", pixels, flags)[1].tobytes()
    header = read_header(data)
    check_whole(data, header)
    assert header == Header("jpeg", 40, 30)


def test_a_camera_may_pad_behind_the_end() -> None:
    data = encoded(".jpg") + bytes(100)
    check_whole(data, read_header(data))


@given(st.sampled_from(SUFFIXES), st.floats(0, 1, exclude_max=True))
def test_every_cut_is_noticed(suffix: str, share: float) -> None:
    data = encoded(suffix)
    cut = data[: int(len(data) * share)]
    with pytest.raises((ImageTruncated, ImageUndecodable)):
        check_whole(cut, read_header(cut))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_cut_in_the_picture_is_named_truncated(suffix: str, share: float) -> None:
    data = encoded(suffix, width=200, height=150)
    cut = data[: int(len(data) * share)]
    with pytest.raises(ImageTruncated, match=r"ends|end marker|needs"):
        check_whole(cut, read_header(cut))


@given(st.binary(max_size=200))
def test_noise_is_an_error_of_ours(noise: bytes) -> None:
    for start in (b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM"):
        try:
            header = read_header(start + noise)
            check_whole(start + noise, header)
        except (ImageTruncated, ImageUndecodable, ImageTooLarge):
            pass
        else:
            assert header.width > 0
            assert header.height > 0


def test_a_flipped_bit_in_a_png_is_noticed() -> None:
    data = bytearray(encoded(".png"))
    data[len(data) // 2] ^= 1
    with pytest.raises(ImageUndecodable, match="checksum"):
        check_whole(bytes(data), read_header(bytes(data)))


def test_not_an_image_shows_how_it_begins() -> None:
    with pytest.raises(ImageUndecodable, match="3c 68 74 6d"):
        read_header(b"<html>503</html>")


def test_damage_inside_a_jpeg_is_noticed() -> None:
    data = encoded(".jpg", width=200, height=150)
    middle = len(data) // 2
    with pytest.raises(ImageUndecodable, match="marker FF 3C"):
        check_whole(data[:middle] + b"\xff\x3c" + data[middle + 2 :], read_header(data))


def test_a_cut_jpeg_with_an_end_put_behind_it_has_lost_its_scans() -> None:
    pixels = np.random.default_rng(7).integers(0, 256, (30, 40, 3), np.uint8)
    data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    header_cut = data[: data.rindex(b"\xff\xda") + 3]
    with pytest.raises((ImageTruncated, ImageUndecodable)):
        check_whole(header_cut, read_header(header_cut))


def test_no_bytes() -> None:
    with pytest.raises(ImageUndecodable, match="0 bytes"):
        read_header(b"")


def test_no_pixels() -> None:
    body = b"IHDR" + struct.pack(">IIBBBBB", 0, 5, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    with pytest.raises(ImageUndecodable, match="0 x 5"):
        read_header(data)


def test_a_compressed_bmp_is_refused() -> None:
    data = bytearray(encoded(".bmp"))
    data[30:34] = struct.pack("<I", 1)
    with pytest.raises(ImageUndecodable, match="compression 1"):
        read_header(bytes(data))
