"""The frames in a multipart stream (multipart/x-mixed-replace), as cameras really send it.

RFC 2046, section 5.1, and what cameras make of it: a boundary that is announced with its two hyphens, in single quotes,
in another case, or not at all, or is another one than was announced; parts with and without Content-Length; a
Content-Length that is wrong; no line end before the boundary. So the stream itself says what its boundary is: its
first line. A frame is given away as soon as it is all there, not only when the next boundary comes: at a camera of 10
frames a second that is 100 ms sooner.
"""

import re

from lineside_inference.errors import CameraFailed, ImageTruncated, ImageUndecodable
from lineside_inference.imaging.formats.jpeg import Walk

MAX_HEADER_BYTES = 16 * 1024
_JPEG_END = b"\xff\xd9"
_LENGTH = re.compile(rb"(?im)^content-length:[ \t]*([0-9]{1,12})[ \t]*\r?$")
_BLANK = re.compile(rb"\r?\n\r?\n")
_FIRST = re.compile(rb"(?:\A|\n)(--[^\r\n]{1,200}|[^\r\n:]{1,200}(?=\r?\n[Cc]ontent-))\r?\n")
"""A line of its own that begins with two hyphens, or stands before a part's header."""
_SOI = b"\xff\xd8"
_OVERLAP = 256
"""How far a search goes back where more bytes came: a boundary may be cut in two by the chunks."""


def boundary_of(content_type: str) -> bytes | None:
    """Return the boundary that a Content-Type declares, less its hyphens, or None where it declares none.

    Raises CameraFailed where the type is not multipart.
    """
    kind, _, rest = content_type.partition(";")
    if not kind.strip().lower().startswith("multipart/"):
        raise CameraFailed(
            f"it sends {content_type or 'no content type'!r:.80}, not multipart",
            remedy="Name the address of its MJPEG stream, or use kind snapshot",
        )
    found = re.search(r'(?i)boundary\s*=\s*(?:"([^"]+)"|([^;\s]+))', rest)
    name = (found.group(1) or found.group(2)) if found else ""
    if len(name) > 1 and name[0] == name[-1] == "'":
        name = name[1:-1]
    return name.encode("latin-1", "replace").removeprefix(b"--") or None


class Parts:
    """Cuts a stream into its parts' bodies; holds at most one part and its header."""

    def __init__(self, boundary: bytes | None, *, max_bytes: int) -> None:
        self._announced = boundary
        self._announced_line = _line_of(boundary) if boundary else None
        self._delimiter: bytes | None = None  # the line as the stream has it
        self._line: re.Pattern[bytes] | None = None  # to find one without hyphens, which a frame may have in it too
        self._max_bytes = max_bytes
        self._buffer = bytearray()
        self._body_at: int | None = None  # where the present part's body begins; None outside of a body
        self._length: int | None = None
        self._walk: Walk | None = None  # of a part that is a JPEG
        self._searched = 0

    @property
    def waits_for(self) -> str:
        """What is missing to the next frame, for people."""
        if self._delimiter is None:
            announced = f" '--{self._announced.decode('latin-1')!s:.80}'" if self._announced else ""
            begins = f", which begins with {bytes(self._buffer[:16]).hex(' ')}" if self._buffer else ""
            return f"no boundary{announced} in {len(self._buffer)} bytes of its stream{begins}"
        if self._body_at is None:
            return f"no boundary {self._delimiter.decode('latin-1')!r:.80} in {len(self._buffer)} bytes"
        return f"{len(self._buffer) - self._body_at} bytes of a frame came, and not its end"

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take the next bytes of the stream and return the bodies that ended with them.

        Raises CameraFailed where a part, or what stands between two, is larger than the bound.
        """
        self._buffer += chunk
        found: list[bytes] = []
        while True:
            if self._body_at is None and not self._begin():
                break
            body = self._end()
            if body is None:
                break
            if body:
                found.append(body)
        return found

    def _begin(self) -> bool:
        """Find the next boundary and the end of its header; drop all before it."""
        if self._delimiter is None and not self._learn():
            self._bound(self._max_bytes if self._announced else MAX_HEADER_BYTES, self.waits_for)
            return False
        at = self._find(max(0, self._searched - _OVERLAP))
        if at < 0 or self._delimiter is None:
            self._searched = len(self._buffer)
            self._bound(self._max_bytes, self.waits_for)
            return False
        del self._buffer[:at]
        self._searched = 0
        blank = _BLANK.search(self._buffer, len(self._delimiter), MAX_HEADER_BYTES)
        if blank is None:
            self._bound(MAX_HEADER_BYTES, f"a part's header without an end in {MAX_HEADER_BYTES} bytes")
            return False
        length = _LENGTH.search(self._buffer, 0, blank.end())
        self._length = int(length.group(1)) if length else None
        self._body_at = self._searched = blank.end()
        self._walk = Walk(blank.end())
        return True

    def _learn(self) -> bool:
        """Take the stream's boundary line: what was announced, in any case and with any hyphens, else the first one."""
        start = max(0, self._searched - _OVERLAP)
        found = self._announced_line.search(self._buffer, start) if self._announced_line is not None else None
        found = found or _FIRST.search(self._buffer, 0, MAX_HEADER_BYTES)
        if found is None:
            self._searched = len(self._buffer)
            return False
        self._delimiter, self._searched = found.group(1).rstrip(), found.start(1)
        if not self._delimiter.startswith(b"--"):
            own_line = (
                rb"(?:\A|(?<=\n)|(?<=\xff\xd9))" + re.escape(self._delimiter) + rb"[ \t]*\r?\n(?=[Cc]ontent-|\r?\n)"
            )
            self._line = re.compile(own_line)
        return True

    def _find(self, start: int) -> int:
        """Return where the boundary stands at or behind `start`; -1 where it does not."""
        if self._line is not None:
            found = self._line.search(self._buffer, start)
            return found.start() if found else -1
        return self._buffer.find(self._delimiter or b"", start)

    def _end(self) -> bytes | None:
        """Return the present part's body where it is all there, and go on behind it."""
        assert self._body_at is not None  # noqa: S101 - feed() calls it inside a body only
        assert self._delimiter is not None  # noqa: S101 - a body has begun with one
        end = self._declared_end()
        is_exact = end is not None
        if end is None:
            # A delimiter may be cut in two by the chunks: look again at its length's worth of bytes.
            at = self._find(max(self._body_at, self._searched - _OVERLAP))
            end = at if at >= 0 else self._whole_end()
        if end is None:
            self._searched = len(self._buffer)
            if len(self._buffer) - self._body_at > self._max_bytes:
                raise CameraFailed(
                    f"it sends a frame of more than {self._max_bytes} bytes",
                    remedy="Lower its resolution, or raise inference.limits.body_bytes",
                )
            return None
        body = bytes(memoryview(self._buffer)[self._body_at : end])
        del self._buffer[:end]
        self._body_at, self._searched = None, 0
        return body if is_exact else _less_line_end(body)

    def _declared_end(self) -> int | None:
        """Return where the body ends by its Content-Length, if what stands there bears it out."""
        if self._length is None or self._body_at is None or self._length > self._max_bytes:
            return None
        end = self._body_at + self._length
        if len(self._buffer) < end:
            return None
        if self._buffer[end - 2 : end] == _JPEG_END:
            return end
        after = bytes(self._buffer[end : end + 2 + len(self._delimiter or b"")]).lstrip(b"\r\n")
        return end if after and after.startswith(self._delimiter or b"") else None

    def _whole_end(self) -> int | None:
        """Return the buffer's end where a part without a length is a whole JPEG up to it.

        The walk over its markers goes on where it stopped: each byte is looked at once, however the bytes arrive.
        """
        if self._length is not None or self._walk is None or not self._buffer.endswith(_JPEG_END):
            return None
        if not self._buffer.startswith(_SOI, self._body_at):
            return None
        try:
            self._walk.to_end(self._buffer)
        except (ImageTruncated, ImageUndecodable):
            self._walk = None
            return None
        return len(self._buffer) if self._walk.end == len(self._buffer) else None

    def _bound(self, most: int, what: str) -> None:
        if len(self._buffer) > most:
            raise CameraFailed(what, remedy="See what it sends")


def _line_of(boundary: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"(?i)(?:\A|[\r\n])(-*" + re.escape(boundary.strip(b"-")[:200]) + rb")[ \t]*\r?\n")


def _less_line_end(body: bytes) -> bytes:
    """Return a body less what stands between it and the boundary: a line's end, and hyphens too many before it."""
    if body.startswith(b"\xff\xd8") and (end := body.rfind(_JPEG_END)) > 0:
        return body[: end + len(_JPEG_END)]
    return body.removesuffix(b"\n").removesuffix(b"\r")
