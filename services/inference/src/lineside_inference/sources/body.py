"""Where the body of an HTTP/1 answer ends: by its length, its chunks (RFC 9112, section 7.1), or with the connection.

The sizes of chunks are read as browsers read them: a bare LF, blanks, no line end behind the data. llhttp, even at its
most lenient, takes a line feed that is the first byte of a picture's chunk for the end of its size.
"""

import re

MAX_BESIDE = 64 * 1024
"""Bytes of sizes, extensions and trailers in a row, without any content between them."""
_SIZE = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?\Z", re.DOTALL)


class Body:
    """Takes what follows the head, and gives back what is content; `length` None without chunks: all that comes."""

    def __init__(self, *, is_chunked: bool, length: int | None) -> None:
        self.is_done = length == 0 and not is_chunked
        self._is_chunked = is_chunked
        self._left = length
        self._line = bytearray()  # what came of a line between the chunks
        self._beside = 0
        self._is_behind_data = False
        self._is_trailing = False

    def feed(self, data: bytes) -> list[bytes]:
        """Return the content in the next bytes; raises ValueError where the chunks are none, or never go on."""
        if self._is_chunked:
            return self._unchunk(data)
        if self._left is None:
            return [data]
        piece = data[: self._left]
        self._left -= len(piece)
        self.is_done = not self._left
        return [piece]

    def _unchunk(self, data: bytes) -> list[bytes]:
        found: list[bytes] = []
        at = 0
        while at < len(data) and not self.is_done:
            if self._left:
                piece = data[at : at + self._left]
                found.append(piece)
                self._left -= len(piece)
                self._beside = 0
                at += len(piece)
                continue
            end = data.find(b"\n", at)
            part = data[at:] if end < 0 else data[at:end]
            self._beside += len(part) + 1
            if self._beside > MAX_BESIDE:
                raise ValueError(f"it sends more than {MAX_BESIDE} bytes beside its body")
            self._line += part
            if end < 0:
                break
            at = end + 1
            self._pass_line(bytes(self._line).removesuffix(b"\r"))
            self._line.clear()
        return found

    def _pass_line(self, line: bytes) -> None:
        if self._is_trailing:
            self.is_done = not line
        elif self._is_behind_data and not line:
            self._is_behind_data = False
        else:
            size = _SIZE.match(line)
            if size is None:
                raise ValueError(f"the size of a chunk is {line[:40]!r}")
            self._left = int(size[1], 16)
            self._is_trailing = not self._left
            self._is_behind_data = True
