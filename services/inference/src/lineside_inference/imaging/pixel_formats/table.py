"""The pixel formats by name and code: GenICam's Pixel Format Naming Convention, and GigE Vision 1.x' two packed ones.

A code says in its bits 16 to 23 how many bits of the buffer a pixel takes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from lineside_inference.errors import ImageUndecodable
from lineside_inference.settings.pixel_formats import PixelFormatName

Packing = Literal["bytes", "words", "10p", "12p", "10Packed", "12Packed"]
"""How values lie: one in a byte, one in the low bits of a little-endian word, or without gaps."""
Colour = Literal["mono", "RG", "GR", "GB", "BG", "rgb", "bgr", "yuyv", "uyvy"]
"""What the values are; two capital letters are the first two pixels of the first row of a Bayer mosaic."""
MOSAICS = frozenset({"RG", "GR", "GB", "BG"})
_GROUPS: Mapping[Packing, int] = {"bytes": 1, "words": 1, "10p": 4, "12p": 2, "10Packed": 2, "12Packed": 2}
"""Pixels that share bytes."""


@dataclass(frozen=True)
class PixelFormat:
    """One format; `bits` are those of a value that count."""

    name: PixelFormatName
    code: int
    bits: int
    packing: Packing
    colour: Colour

    @property
    def width_step(self) -> int:
        """Return the number of pixels of which a row's width must be a multiple."""
        return max(_GROUPS[self.packing], 1 if self.colour in {"mono", "rgb", "bgr"} else 2)

    @property
    def height_step(self) -> int:
        """Return the number of rows of which the height must be a multiple."""
        return 2 if self.colour in MOSAICS else 1

    @property
    def least(self) -> int:
        """Return the least width and height: a mosaic's colours come from the neighbours on all sides."""
        return 4 if self.colour in MOSAICS else 1

    def row_bytes(self, width: int) -> int:
        """Return how many bytes a row of so many pixels takes, without padding."""
        return width * (self.code >> 16 & 0xFF) // 8


FORMATS: tuple[PixelFormat, ...] = (
    PixelFormat("Mono8", 0x01080001, 8, "bytes", "mono"),
    PixelFormat("Mono10", 0x01100003, 10, "words", "mono"),
    PixelFormat("Mono10p", 0x010A0046, 10, "10p", "mono"),
    PixelFormat("Mono10Packed", 0x010C0004, 10, "10Packed", "mono"),
    PixelFormat("Mono12", 0x01100005, 12, "words", "mono"),
    PixelFormat("Mono12p", 0x010C0047, 12, "12p", "mono"),
    PixelFormat("Mono12Packed", 0x010C0006, 12, "12Packed", "mono"),
    PixelFormat("Mono16", 0x01100007, 16, "words", "mono"),
    PixelFormat("BayerRG8", 0x01080009, 8, "bytes", "RG"),
    PixelFormat("BayerGR8", 0x01080008, 8, "bytes", "GR"),
    PixelFormat("BayerGB8", 0x0108000A, 8, "bytes", "GB"),
    PixelFormat("BayerBG8", 0x0108000B, 8, "bytes", "BG"),
    PixelFormat("BayerRG10", 0x0110000D, 10, "words", "RG"),
    PixelFormat("BayerGR10", 0x0110000C, 10, "words", "GR"),
    PixelFormat("BayerGB10", 0x0110000E, 10, "words", "GB"),
    PixelFormat("BayerBG10", 0x0110000F, 10, "words", "BG"),
    PixelFormat("BayerRG10p", 0x010A0058, 10, "10p", "RG"),
    PixelFormat("BayerGR10p", 0x010A0056, 10, "10p", "GR"),
    PixelFormat("BayerGB10p", 0x010A0054, 10, "10p", "GB"),
    PixelFormat("BayerBG10p", 0x010A0052, 10, "10p", "BG"),
    PixelFormat("BayerRG12", 0x01100011, 12, "words", "RG"),
    PixelFormat("BayerGR12", 0x01100010, 12, "words", "GR"),
    PixelFormat("BayerGB12", 0x01100012, 12, "words", "GB"),
    PixelFormat("BayerBG12", 0x01100013, 12, "words", "BG"),
    PixelFormat("BayerRG12p", 0x010C0059, 12, "12p", "RG"),
    PixelFormat("BayerGR12p", 0x010C0057, 12, "12p", "GR"),
    PixelFormat("BayerGB12p", 0x010C0055, 12, "12p", "GB"),
    PixelFormat("BayerBG12p", 0x010C0053, 12, "12p", "BG"),
    PixelFormat("RGB8", 0x02180014, 8, "bytes", "rgb"),
    PixelFormat("BGR8", 0x02180015, 8, "bytes", "bgr"),
    PixelFormat("YUV422_8", 0x02100032, 8, "bytes", "yuyv"),
    PixelFormat("YUV422_8_UYVY", 0x0210001F, 8, "bytes", "uyvy"),
)
_BY_NAME = {each.name.lower(): each for each in FORMATS}
_BY_CODE = {each.code: each for each in FORMATS}
NAMES = ", ".join(each.name for each in FORMATS)


def find(given: str | int) -> PixelFormat:
    """Return a format by its name, in any case, or by its code; raises ImageUndecodable for any other."""
    found = _BY_CODE.get(given) if isinstance(given, int) else _BY_NAME.get(given.lower())
    if found is None:
        shown = f"0x{given:08X}" if isinstance(given, int) else f"{given!r:.60}"
        raise ImageUndecodable(f"the pixel format {shown} is not known", remedy=f"Let the camera give one of {NAMES}")
    return found
