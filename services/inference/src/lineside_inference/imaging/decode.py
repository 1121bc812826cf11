"""From the bytes of an image to pixels, with the header checked before anything is allocated.

EXIF orientation is ignored, but by `decode_turned`: a camera on a line is fixed, and a rotated image would differ from
those that the model was trained on.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lineside_inference.errors import ImageTooLarge, ImageTruncated, RequestError
from lineside_inference.imaging.formats import bmp, depth, jpeg, pgm, tiff
from lineside_inference.imaging.formats.header import Header
from lineside_inference.imaging.formats.orientation import orientation, turned
from lineside_inference.imaging.image_headers import check_whole, read_header
from lineside_inference.imaging.pixel_formats.convert import Buffer, to_pixels
from lineside_inference.imaging.pixel_formats.layout import Layout
from lineside_inference.models.preparation import Preparation

Pixels = NDArray[np.uint8]

# Images are decoded in a pool of one thread a core; threads of OpenCV's own would compete for the same cores.
cv2.setNumThreads(1)
# OpenCV's messages are not printed: they are raised as errors of ours.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


_DECODING_BYTES = {8: 6, 16: 15}
"""Bytes a pixel while an image is decoded, at most, by the bits of a stored value.

8: the image and what it is made of, as a progressive JPEG of coefficients. 16: three channels twice, and as 8 bits.
"""


def decoding_bytes(data: bytes, *, max_pixels: int) -> int:
    """Return about how much memory decoding takes at most; 0 where `decode` will refuse it by its header."""
    try:
        header = read_header(data)
    except RequestError:
        return 0
    pixels = header.width * header.height
    return pixels * _DECODING_BYTES[header.bits] if pixels <= max_pixels else 0


def decode(data: bytes, preparation: Preparation, *, max_pixels: int, significant_bits: int | None = None) -> Pixels:
    """Return the image, height x width x 3 (BGR) or height x width for a gray preparation, uint8.

    A JPEG at least twice as large as the preparation needs is decoded at 1/2, 1/4 or 1/8, which costs a fraction;
    the area interpolation takes the rest. `significant_bits` are those that the camera's settings say of 16. Raises
    ImageTruncated, ImageUndecodable, ImageBitDepth or ImageTooLarge.
    """
    header = _open_header(data, max_pixels)
    depth.check_said(header, camera=significant_bits, card=preparation.significant_bits)
    check_whole(data, header)
    if header.format == "jpeg":
        factor = preparation.reduction(header.width, header.height)
        return jpeg.pixels(data, header, is_gray=preparation.is_gray, factor=factor)
    values = _stored(data, header, is_gray=preparation.is_gray)
    pixels = depth.to_8_bits(values, header, camera=significant_bits, card=preparation.significant_bits)
    return _of_channels(pixels, is_gray=preparation.is_gray)


def decode_turned(data: bytes, preparation: Preparation, *, max_pixels: int) -> Pixels | None:
    """Return a JPEG in its full size, turned as its EXIF says, or None where it is not to be turned.

    Raises what `decode` does.
    """
    by = orientation(data)
    if by == 1:
        return None
    header = _open_header(data, max_pixels)
    check_whole(data, header)
    return turned(jpeg.pixels(data, header, is_gray=preparation.is_gray), by)


def develop(
    data: Buffer, layout: Layout, preparation: Preparation, *, max_pixels: int, significant_bits: int | None = None
) -> Pixels:
    """Return the pixels of a raw buffer, as its format has them: gray, or height x width x 3 (BGR), uint8.

    `significant_bits` are those of the camera's settings; the card's count for Mono16, which has no number of its own.
    Raises ImageTooLarge, ImageTruncated, ImageUndecodable or ImageBitDepth.
    """
    said = preparation.significant_bits if significant_bits is None and layout.format.name == "Mono16" else None
    return to_pixels(data, layout, max_pixels=max_pixels, significant_bits=significant_bits or said)


def view(data: bytes, *, max_pixels: int, least_width: int | None = None) -> Pixels:
    """Return an image for people to look at, height x width x 3 (BGR): of a damaged JPEG what can be decoded.

    A JPEG is decoded at the smallest scale that is still `least_width` pixels wide. Raises what `decode` does.
    """
    header = _open_header(data, max_pixels)
    if header.format == "jpeg":
        factor = next((step for step in (8, 4, 2) if least_width and header.width >= least_width * step), 1)
        return jpeg.pixels(data, header, is_gray=False, factor=factor, is_strict=False)
    check_whole(data, header)
    return _of_channels(depth.shown(_stored(data, header, is_gray=False), header), is_gray=False)


def decode_all(data: bytes, *, max_pixels: int, is_bgr: bool = False) -> NDArray[Any]:
    """Return an image's pixels for evidence, as they are in its file, or as 8-bit BGR where `is_bgr` is wanted.

    Of a damaged JPEG what can be decoded: its evidence shows the damage. Raises ImageTruncated, ImageUndecodable or
    ImageTooLarge.
    """
    header = _open_header(data, max_pixels)
    check_whole(data, header)
    if is_bgr:
        return view(data, max_pixels=max_pixels)
    own = _without_opencv(data, header)
    return _by_opencv(data, header, cv2.IMREAD_UNCHANGED) if own is None else own.copy()


def _open_header(data: bytes, max_pixels: int) -> Header:
    """Return the header of an image that may be so large; raises ImageTooLarge."""
    header = read_header(data)
    _bound(header.width, header.height, max_pixels)
    return header


def _stored(data: bytes, header: Header, *, is_gray: bool) -> NDArray[Any]:
    """Return the values as the file has them, uint8 or uint16: height x width, or height x width x 3 (BGR).

    What OpenCV decodes comes as gray or BGR, as wanted. Not for a JPEG.
    """
    own = _without_opencv(data, header)
    if own is not None:
        return own
    colour = cv2.IMREAD_GRAYSCALE if is_gray else cv2.IMREAD_COLOR
    return _by_opencv(data, header, colour | cv2.IMREAD_ANYDEPTH)


def _without_opencv(data: bytes, header: Header) -> NDArray[Any] | None:
    """Return the values of an image that is read here, as its file has them, or None where OpenCV decodes it."""
    if header.format == "tiff":
        return tiff.pixels(data, header)
    if header.format == "pgm":
        return pgm.pixels(data, header)
    return bmp.pixels(data, header) if header.format == "bmp" else None


def _by_opencv(data: bytes, header: Header, flags: int) -> NDArray[Any]:
    """Return what OpenCV decodes; raises ImageTruncated where it does not."""
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise ImageTruncated(f"the {header.name} cannot be decoded: {error.err}") from None
    if pixels is None or pixels.shape[:2] != (header.height, header.width):
        raise ImageTruncated(
            f"the {header.name} cannot be decoded: a part of its image is missing or damaged",
            remedy="See what writes it, and how it comes here",
        )
    return pixels


def accept(pixels: Pixels, preparation: Preparation, *, max_pixels: int) -> Pixels:
    """Return an image that came decoded, BGR or gray, for a preparation; raises ImageTooLarge.

    A gray one stays gray: `prepare` gives its values to each channel once they are few.
    """
    height, width = pixels.shape[:2]
    _bound(width, height, max_pixels)
    return _of_channels(pixels, is_gray=True) if preparation.is_gray else pixels


def _bound(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise ImageTooLarge(
            f"the image is {width} x {height} pixels",
            remedy=f"At most {max_pixels} pixels are allowed (inference.limits.pixels)",
        )


def _of_channels(pixels: Pixels, *, is_gray: bool) -> Pixels:
    """Return the pixels as height x width for gray, else height x width x 3 (BGR)."""
    if is_gray == (pixels.ndim == 2):  # noqa: PLR2004 - height x width
        return pixels
    change = cv2.COLOR_BGR2GRAY if is_gray else cv2.COLOR_GRAY2BGR
    return cv2.cvtColor(pixels, change)  # type: ignore[return-value]  # uint8 in, uint8 out
