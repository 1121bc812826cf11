"""The frames in a multipart stream (multipart/x-mixed-replace), as cameras really send it.

RFC 2046, section 5.1, and what cameras make of it: a boundary that is declared with its two hyphens, or not at all;
parts with and without Content-Length; a Content-Length that is wrong. A frame is given away as soon as it is all
there, not only when the next boundary comes: at a camera of 10 frames a second that is 100 ms sooner.
"""

import re

from lineside_inference.errors import CameraFailed, ImageTruncated, ImageUndecodable
from lineside_inference.headers import check_whole, read_header

MOST_HEADER_BYTES = 16 * 1024
_JPEG_END = b"\xff\xd9"
_LENGTH = re.compile(rb"(?im)^content-length:[ \t]*([0-9]{1,12})[ \t]*\r?$")
_BLANK = re.compile(rb"\r?\n\r?\n")
_FIRST = re.compile(rb"--([^\r\n]{1,200})\r?\n")


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
    return name.encode("latin-1", "replace").removeprefix(b"--") or None


class Parts:
    """Cuts a stream into its parts' bodies; holds at most one part and its header."""

    def __init__(self, boundary: bytes | None, *, most_bytes: int) -> None:
        self._delimiter = b"--" + boundary if boundary else None
        self._most_bytes = most_bytes
        self._buffer = bytearray()
        self._body_at: int | None = None  # where the present part's body begins; None outside of a body
        self._length: int | None = None
        self._searched = 0

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
        if self._delimiter is None:
            first = _FIRST.search(self._buffer)
            if first is None:
                self._bound(MOST_HEADER_BYTES, "no boundary")
                return False
            self._delimiter = b"--" + first.group(1).rstrip()
        at = self._buffer.find(self._delimiter)
        if at < 0:
            self._bound(self._most_bytes, f"no boundary {self._delimiter.decode('latin-1')!r:.80}")
            return False
        del self._buffer[:at]
        blank = _BLANK.search(self._buffer, len(self._delimiter), MOST_HEADER_BYTES)
        if blank is None:
            self._bound(MOST_HEADER_BYTES, "a part's header without an end")
            return False
        length = _LENGTH.search(self._buffer, 0, blank.end())
        self._length = int(length.group(1)) if length else None
        self._body_at = self._searched = blank.end()
        return True

    def _end(self) -> bytes | None:
        """Return the present part's body where it is all there, and go on behind it."""
        assert self._body_at is not None  # noqa: S101 - feed() calls it inside a body only
        assert self._delimiter is not None  # noqa: S101 - a body has begun with one
        end = self._declared_end()
        is_exact = end is not None
        if end is None:
            # A delimiter may be cut in two by the chunks: look again at its length's worth of bytes.
            at = self._buffer.find(self._delimiter, max(self._body_at, self._searched - len(self._delimiter)))
            end = at if at >= 0 else self._whole_end()
        if end is None:
            self._searched = len(self._buffer)
            if len(self._buffer) - self._body_at > self._most_bytes:
                raise CameraFailed(
                    f"it sends a frame of more than {self._most_bytes} bytes",
                    remedy="Lower its resolution, or raise inference.limits.body_bytes",
                )
            return None
        body = bytes(memoryview(self._buffer)[self._body_at : end])
        del self._buffer[:end]
        self._body_at = None
        return body if is_exact else _less_line_end(body)

    def _declared_end(self) -> int | None:
        """Return where the body ends by its Content-Length, if what stands there bears it out."""
        if self._length is None or self._body_at is None or self._length > self._most_bytes:
            return None
        end = self._body_at + self._length
        if len(self._buffer) < end:
            return None
        if self._buffer[end - 2 : end] == _JPEG_END:
            return end
        after = bytes(self._buffer[end : end + 2 + len(self._delimiter or b"")]).lstrip(b"\r\n")
        return end if after and after.startswith(self._delimiter or b"") else None

    def _whole_end(self) -> int | None:
        """Return the buffer's end where a part without a length is a whole JPEG up to it."""
        if self._length is not None or self._body_at is None or not self._buffer.endswith(_JPEG_END):
            return None
        body = bytes(memoryview(self._buffer)[self._body_at :])
        try:
            check_whole(body, read_header(body))
        except (ImageTruncated, ImageUndecodable):
            return None
        return len(self._buffer)

    def _bound(self, most: int, what: str) -> None:
        if len(self._buffer) > most:
            raise CameraFailed(f"{what} in {len(self._buffer)} bytes of its stream", remedy="See what it sends")


def _less_line_end(body: bytes) -> bytes:
    """Return a body less what stands between it and the boundary: a line's end, and hyphens too many before it."""
    if body.startswith(b"\xff\xd8") and (end := body.rfind(_JPEG_END)) > 0:
        return body[: end + len(_JPEG_END)]
    return body.removesuffix(b"\n").removesuffix(b"\r")
