"""What somebody says of a raw buffer: format, width, height and stride, checked before anything is allocated."""

from dataclasses import dataclass
from typing import Self

from lineside_inference.errors import ImageTooLarge, ImageTruncated, ImageUndecodable
from lineside_inference.imaging.pixel_formats.table import PixelFormat, find

MEDIA_TYPE = "application/x-pfnc"
_EXAMPLE = (
    f"Write it as {MEDIA_TYPE}; format=BayerRG8; width=2448; height=2048, with stride=<bytes> where rows are padded"
)
_NUMBERS = ("width", "height", "stride")
_MOST_DIGITS = 9


@dataclass(frozen=True)
class Layout:
    """How a raw image lies in its buffer: `stride` bytes from one row to the next; made by `of`."""

    format: PixelFormat
    width: int
    height: int
    stride: int

    @classmethod
    def of(cls, pixel_format: str | int, width: int, height: int, *, stride: int | None = None) -> Self:
        """Return the layout of a format by name or code; raises ImageUndecodable for a size that it cannot have.

        Where no stride is given, a row begins where the one before it ends.
        """
        found = find(pixel_format)
        sides = (("width", width, found.width_step), ("height", height, found.height_step))
        for name, value, step in sides:
            if value < found.least or value % step:
                wanted = f"a multiple of {step}, " if step > 1 else ""
                raise ImageUndecodable(
                    f"an image of {width} x {height} pixels cannot be {found.name}",
                    remedy=f"Its {name} must be {wanted}at least {found.least}",
                )
        least = found.row_bytes(width)
        if stride is not None and stride < least:
            raise ImageUndecodable(
                f"the stride is {stride} bytes, and a row of {width} pixels of {found.name} takes {least}",
                remedy=f"Give at least {least}, or no stride where rows are not padded",
            )
        return cls(found, width, height, least if stride is None else stride)

    @classmethod
    def of_content_type(cls, content_type: str) -> Self:
        """Return the layout that `application/x-pfnc; format=...; width=...; height=...` says.

        Raises ImageUndecodable where a parameter is missing, unknown, given twice or no number.
        """
        _kind, *parameters = content_type.split(";")
        given: dict[str, str] = {}
        for parameter in parameters:
            name, equals, value = (part.strip() for part in parameter.partition("="))
            name = name.lower()
            if name not in {"format", *_NUMBERS} or not equals or name in given:
                why = "is given twice" if name in given else "is not understood"
                raise ImageUndecodable(
                    f"parameter {parameter.strip()!r:.60} of the content type {why}", remedy=_EXAMPLE
                )
            given[name] = value.strip('"')
        missing = [name for name in ("format", "width", "height") if name not in given]
        if missing:
            raise ImageUndecodable(f"the content type has no {' and no '.join(missing)}", remedy=_EXAMPLE)
        numbers = {name: _number(name, given[name]) for name in _NUMBERS if name in given}
        return cls.of(given["format"], numbers["width"], numbers["height"], stride=numbers.get("stride"))

    @property
    def size(self) -> int:
        """Return how many bytes the buffer has."""
        return self.stride * self.height

    def decoding_bytes(self) -> int:
        """Return about how much memory its conversion takes at most, the buffer not counted."""
        return self.width * self.height * (6 if self.format.packing == "bytes" else 9)

    def check_size(self, size: int) -> None:
        """Check that a buffer has as many bytes as it should; the padding of the last row may be missing.

        Raises ImageTruncated where it is shorter, ImageUndecodable where it is longer.
        """
        unpadded = self.size - self.stride + self.format.row_bytes(self.width)
        if size in {self.size, unpadded}:
            return
        what = f"{self.width} x {self.height} pixels of {self.format.name}"
        padded = f" in rows of {self.stride} bytes" if unpadded != self.size else ""
        said = f"{what}{padded} are {self.size} bytes, and there are {size}"
        if size < unpadded:
            raise ImageTruncated(said, remedy="See whether a part is missing, or the size or the format is another")
        raise ImageUndecodable(said, remedy="See whether the size, the format or the stride is another")

    def check_pixels(self, max_pixels: int) -> None:
        """Check that it has no more pixels than allowed; raises ImageTooLarge."""
        if self.width * self.height > max_pixels:
            raise ImageTooLarge(
                f"the image is {self.width} x {self.height} pixels",
                remedy=f"At most {max_pixels} pixels are allowed (inference.limits.pixels)",
            )


def is_raw(content_type: str) -> bool:
    """Return whether a content type is that of a raw buffer, whatever its parameters are."""
    return content_type.partition(";")[0].strip().lower() == MEDIA_TYPE


def _number(name: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) <= _MOST_DIGITS):
        raise ImageUndecodable(f"the content type's {name} is {value!r:.40}, which is no number", remedy=_EXAMPLE)
    return int(value)
