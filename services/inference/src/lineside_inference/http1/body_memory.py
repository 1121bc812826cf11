"""The memory that a response's body is received into: the caller's, or our own."""

from lineside_inference.http1.errors import ResponseTooLarge

_MAX_AHEAD = 1 << 20
"""Bytes set aside for a body that is only announced; beyond that its memory grows as it comes."""


class BodyMemory:
    """At most `max_bytes`, in the memory given or in a bytearray; `size` is how many bytes are filled."""

    def __init__(self, max_bytes: int, into: memoryview | None = None, length: int | None = None) -> None:
        self._max_bytes = max_bytes if into is None else min(max_bytes, len(into))
        if length is not None and length > self._max_bytes:
            raise self._too_large()
        self._given = into
        self._own = bytearray() if into is not None or length is None else bytearray(min(length, _MAX_AHEAD))
        self.size = 0

    @property
    def content(self) -> bytearray | memoryview:
        """The complete body, not copied."""
        return self._own if self._given is None else self._given[: self.size]

    def add(self, piece: bytes | memoryview) -> None:
        """Copy the next bytes of the body; raises ResponseTooLarge."""
        end = self.size + len(piece)
        if end > self._max_bytes:
            raise self._too_large()
        if self._given is not None:
            self._given[self.size : end] = piece
        else:
            self._own[self.size : end] = piece
        self.size = end

    def room(self, left: int) -> memoryview:
        """Return where the next bytes, at most `left`, may be received; who does so adds their count to `size`."""
        if self._given is not None:
            return self._given[self.size : self.size + left]
        if self.size == len(self._own):  # a new one: a bytearray that the event loop receives into cannot be resized
            grown = bytearray(min(self.size + left, 2 * self.size))
            grown[: self.size] = self._own
            self._own = grown
        return memoryview(self._own)[self.size :]

    def _too_large(self) -> ResponseTooLarge:
        return ResponseTooLarge(f"it sends more than {self._max_bytes} bytes")
