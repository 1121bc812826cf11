"""From 16-bit values to 8 bits, by the number of significant bits, which is never guessed.

A camera of 12 bits writes 0 to 4095 into 16, and its file seldom says so. Taken by the high byte, as decoders do, it
is nearly black, and a defect is not seen.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lineside_inference.errors import ImageBitDepth
from lineside_inference.imaging.formats.header import Header

_FULL = 65_535
_ROWS = 64
"""Rows worked on at once, where the arithmetic needs several times the room of the image."""
_SETTINGS = (
    "Say how many bits are significant: significant_bits of the camera (inference.cameras) or of input.image in the "
    "model's card; 16 where the values fill all 16 bits"
)


def to_8_bits(
    pixels: NDArray[Any], header: Header, *, camera: int | None = None, card: int | None = None
) -> NDArray[np.uint8]:
    """Return the pixels with 255 for the largest value.

    The largest value is what the camera's settings say, which the file must allow; else what the file says; else what
    the card says. Raises ImageBitDepth where nobody says it, two say different things, or a pixel is larger.
    """
    if header.bits == 8 and header.peak is None:  # noqa: PLR2004 - bits of a byte
        return pixels
    largest = int(pixels.max())
    return _scaled(pixels, _peak(pixels, largest, header, camera, card))


def of_bits(values: NDArray[np.uint16], bits: int, name: str) -> NDArray[np.uint8]:
    """Return the eight highest of so many bits, for values of which that is known; raises ImageBitDepth for more."""
    largest = int(values.max())
    if largest > _most(bits):
        raise ImageBitDepth(
            f"the image of {name} has the value {largest}, and its {bits} significant bits end at {_most(bits)}",
            remedy="See whether its format, its size or significant_bits is another",
        )
    return _scaled(values, _most(bits))


def check_said(header: Header, *, camera: int | None, card: int | None) -> None:
    """Check, before anything is decoded, that somebody says which bits are significant; raises ImageBitDepth."""
    is_said = any(one is not None for one in (header.peak, header.significant, camera, card))
    if header.bits > 8 and not is_said:  # noqa: PLR2004 - bits of a byte
        raise ImageBitDepth(
            f"the {header.name} has {header.bits} bits a value, and nothing says how many of them are significant",
            remedy=_SETTINGS,
        )


def shown(pixels: NDArray[Any], header: Header) -> NDArray[np.uint8]:
    """Return the pixels for people to look at: 255 for the next power of two above the largest that is there."""
    if header.bits == 8 and header.peak is None:  # noqa: PLR2004 - bits of a byte
        return pixels
    largest = int(pixels.max())
    peak = _most(max(8, largest.bit_length())) if header.peak is None else max(header.peak, largest)
    return _scaled(pixels, peak)


def _peak(pixels: NDArray[Any], largest: int, header: Header, camera: int | None, card: int | None) -> int:
    allowed = _by_file(pixels, largest, header)
    if camera is not None and header.bits > 8:  # noqa: PLR2004 - an image of 8 bits is not the camera's deep one
        peak = _most(camera)
        if allowed and peak not in allowed:
            raise ImageBitDepth(
                f"the {header.name} says that its values end at {allowed[0]}, the camera's significant_bits "
                f"({camera}) at {peak}",
                remedy="Correct the camera's significant_bits, or remove it",
            )
    elif len(allowed) == 1:
        peak = allowed[0]
    elif card is not None and (not allowed or _most(card) in allowed):
        peak = _most(card)
    elif allowed:
        raise ImageBitDepth(
            f"the {header.name} says {header.significant} significant bits, and its values may be the low or the high "
            "ones of 16",
            remedy=_SETTINGS,
        )
    else:
        check_said(header, camera=camera, card=card)
        peak = _FULL
    if largest > peak:
        raise ImageBitDepth(
            f"the {header.name} has the value {largest}, and its values were said to end at {peak}", remedy=_SETTINGS
        )
    return peak


def _by_file(pixels: NDArray[Any], largest: int, header: Header) -> list[int]:
    """Return the largest values that the file's own statement allows; none where it makes none.

    The PNG standard wants values spread over all 16 bits, sBIT saying how many there were; cameras write them as they
    are and say the same. What is spread has low bits that follow from the high ones.
    """
    if header.peak is not None:
        return [header.peak]
    if header.significant is None:
        return []
    own = _most(header.significant)
    allowed = [own] if largest <= own else []
    if own != _FULL and _is_spread(pixels, header.significant):
        allowed.append(_FULL)
    if not allowed:
        raise ImageBitDepth(
            f"the {header.name} says {header.significant} significant bits and has the value {largest}, spread over no "
            "16 bits either",
            remedy="See what writes it",
        )
    return allowed[:1] if largest == 0 else allowed


def _is_spread(pixels: NDArray[Any], significant: int) -> bool:
    return _has_zeros_below(pixels, significant) or all(
        _is_scaled(pixels[at : at + _ROWS], significant) for at in range(0, len(pixels), _ROWS)
    )


def _has_zeros_below(pixels: NDArray[Any], significant: int) -> bool:
    return not (int(np.bitwise_or.reduce(pixels, axis=None)) & _most(16 - significant))


def _is_scaled(pixels: NDArray[Any], significant: int) -> bool:
    top = (pixels >> (16 - significant)).astype(np.uint32)
    scaled = (top * _FULL + _most(significant) // 2) // _most(significant)
    return int(np.abs(scaled.astype(np.int32) - pixels).max()) <= 1


def _most(bits: int) -> int:
    return (1 << bits) - 1


def _scaled(pixels: NDArray[Any], peak: int) -> NDArray[np.uint8]:
    if peak & (peak + 1) == 0 and peak >= 255:  # noqa: PLR2004 - 2^n - 1: the eight highest bits, as decoders do it
        return (pixels >> (peak.bit_length() - 8)).astype(np.uint8)
    out = np.empty(pixels.shape, np.uint8)
    for at in range(0, len(pixels), _ROWS):
        _table(peak).take(pixels[at : at + _ROWS], mode="clip", out=out[at : at + _ROWS])
    return out


@lru_cache(maxsize=4)
def _table(peak: int) -> NDArray[np.uint8]:
    return ((np.arange(peak + 1, dtype=np.uint32) * 255 + peak // 2) // peak).astype(np.uint8)
