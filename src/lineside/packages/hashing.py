"""SHA-256 on a thread of its own: half of what reading a package costs, which a second core does meanwhile."""

import hashlib
import queue
import threading
from typing import Self

_WAITING = 4
"""Pieces that may wait; each is a megabyte at most, so that memory stays bounded."""
_AT_ONCE = 64 * 1024
"""A smaller piece is hashed in less time than it is handed over."""


class Sha256:
    """A hash that is fed piece by piece; a piece must not change afterwards. `hexdigest` ends it."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._pieces: queue.Queue[bytes | memoryview | None] = queue.Queue(_WAITING)
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def update(self, piece: bytes | memoryview) -> None:
        """Take the next piece."""
        if self._thread is None:
            if len(piece) < _AT_ONCE:
                self._hash.update(piece)
                return
            self._thread = threading.Thread(target=self._run, name="sha256", daemon=True)
            self._thread.start()
        self._pieces.put(piece)

    def hexdigest(self) -> str:
        """Return the digest of all pieces."""
        self.close()
        return self._hash.hexdigest()

    def close(self) -> None:
        """End the thread, for one that is no longer needed."""
        if self._thread is not None:
            self._pieces.put(None)
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while (piece := self._pieces.get()) is not None:
            self._hash.update(piece)
