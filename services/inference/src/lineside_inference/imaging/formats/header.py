"""What an image's header says."""

from dataclasses import dataclass
from typing import Literal

Format = Literal["jpeg", "png", "bmp", "tiff", "pgm", "webp"]

NAMES = "JPEG, PNG, BMP, TIFF, WebP or binary PGM (P5, P6)"
ALLOWED = f"Give a {NAMES}"


@dataclass(frozen=True)
class Header:
    """Format, size in pixels, bits of one stored value (8 or 16), and what the file says of them.

    `peak` is the largest value that the file allows (a PGM's maxval), `significant` the number of significant bits of
    a PNG's sBIT chunk; each None where the file says nothing, or nothing that means more than the stored bits.
    """

    format: Format
    width: int
    height: int
    bits: int = 8
    peak: int | None = None
    significant: int | None = None

    @property
    def name(self) -> str:
        """The format's name as people write it."""
        return "WebP" if self.format == "webp" else self.format.upper()
