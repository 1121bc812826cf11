"""The memory that a response's body is received into."""

from lineside_inference.http1.errors import ResponseTooLarge

_MAX_AHEAD = 1 << 20
"""Bytes set aside for a body that is only announced; beyond that its memory grows as it comes."""


class BodyMemory:
    """At most `max_bytes`, in a bytearray; `size` is how many bytes of it are filled."""

    def __init__(self, max_bytes: int, length: int | None = None) -> None:
        self._max_bytes = max_bytes
        if length is not None and length > max_bytes:
            raise self._too_large()
        self.content = bytearray(min(length or 0, _MAX_AHEAD))
        """The body once it is complete."""
        self.size = 0

    def add(self, piece: bytes | memoryview) -> None:
        """Copy the next bytes of the body; raises ResponseTooLarge."""
        end = self.size + len(piece)
        if end > self._max_bytes:
            raise self._too_large()
        self.content[self.size : end] = piece
        self.size = end

    def room(self, left: int) -> memoryview:
        """Return where the next bytes, at most `left`, may be received; who does so adds their count to `size`."""
        if self.size == len(self.content):  # a new one: a bytearray that the event loop receives into cannot be resized
            grown = bytearray(min(self.size + left, 2 * self.size))
            grown[: self.size] = self.content
            self.content = grown
        return memoryview(self.content)[self.size :]

    def _too_large(self) -> ResponseTooLarge:
        return ResponseTooLarge(f"it sends more than {self._max_bytes} bytes")
