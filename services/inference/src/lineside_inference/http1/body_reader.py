"""Where the body of an HTTP/1 response ends: by its length, its chunks (RFC 9112, section 7.1), or with the connection.

Chunk sizes are read as browsers read them: a bare LF ends the line, blanks may surround the number, the line end behind
the data may be absent. llhttp, even at its most lenient, takes a line feed that is the first byte of a chunk's data for
the end of the chunk's size line.
"""

import re

MAX_FRAMING_BYTES = 64 * 1024
"""Bytes of chunk sizes, extensions and trailers in a row, without any content between them."""
_SIZE = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?\Z", re.DOTALL)


class BodyReader:
    """Takes what follows the head and returns what is content.

    `left` is how many bytes of the body, or of the present chunk, are still to come; None where the body lasts until
    the connection is closed. `has_excess` is set where bytes followed the end of the body.
    """

    def __init__(self, *, is_chunked: bool, length: int | None) -> None:
        self.is_done = length == 0 and not is_chunked
        self.has_excess = False
        self.left = length
        self._is_chunked = is_chunked
        self._line = bytearray()  # an unfinished line between the chunks
        self._framing_bytes = 0
        self._is_behind_data = False
        self._is_trailing = False

    def feed(self, data: bytes | memoryview) -> list[bytes | memoryview]:
        """Return the content in the next bytes; raises ValueError for malformed chunks and unbounded framing."""
        if self._is_chunked:
            return self._unchunk(bytes(data))
        if self.left is None:
            return [data]
        piece = data[: self.left]
        self.has_excess = len(data) > self.left
        self.took(len(piece))
        return [piece]

    def took(self, count: int) -> None:
        """Count bytes of a body of known length that were received without `feed`."""
        assert self.left is not None  # noqa: S101 - only such a body is received past this reader
        self.left -= count
        self.is_done = not self.left

    def _unchunk(self, data: bytes) -> list[bytes | memoryview]:
        found: list[bytes | memoryview] = []
        at = 0
        while at < len(data) and not self.is_done:
            if self.left:
                piece = data[at : at + self.left]
                found.append(piece)
                self.left -= len(piece)
                self._framing_bytes = 0
                at += len(piece)
                continue
            end = data.find(b"\n", at)
            part = data[at:] if end < 0 else data[at:end]
            self._framing_bytes += len(part) + 1
            if self._framing_bytes > MAX_FRAMING_BYTES:
                raise ValueError(f"it sends more than {MAX_FRAMING_BYTES} bytes beside its body")
            self._line += part
            if end < 0:
                at = len(data)
                break
            at = end + 1
            self._end_line(bytes(self._line).removesuffix(b"\r"))
            self._line.clear()
        self.has_excess = at < len(data)
        return found

    def _end_line(self, line: bytes) -> None:
        if self._is_trailing:
            self.is_done = not line
        elif self._is_behind_data and not line:
            self._is_behind_data = False
        else:
            size = _SIZE.match(line)
            if size is None:
                raise ValueError(f"the size of a chunk is {line[:40]!r}")
            self.left = int(size[1], 16)
            self._is_trailing = not self.left
            self._is_behind_data = True
