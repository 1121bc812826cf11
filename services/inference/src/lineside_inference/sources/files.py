"""An image file below an allowed root; a path that leads out of the roots, also by a link, is refused."""

import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from lineside_inference.errors import FileFailed, ImageTooLarge, NoSuchFile, PathOutsideRoot


class Files:
    """The allowed roots, and reading below them."""

    def __init__(self, roots: Iterable[Path], *, max_bytes: int) -> None:
        self._roots = [Path(os.path.realpath(root)) for root in roots]
        self._max_bytes = max_bytes

    def read(self, path: str) -> bytes:
        """Return the bytes of a file; blocking, so call it in a thread.

        A relative path is looked for below each root in turn, an absolute one must lie below one of them.
        Raises PathOutsideRoot, NoSuchFile, ImageTooLarge or FileFailed.
        """
        if "\0" in path:
            raise NoSuchFile(f"there is no file {path!r:.200}")
        candidates = [found for root in self._roots if (found := _below(root, path)) is not None]
        if not candidates:
            raise PathOutsideRoot(
                f"file {path!r:.200} is not below an allowed root",
                remedy="Allow its folder in inference.file_roots" if self._roots else "inference.file_roots is empty",
            )
        for candidate in candidates:
            try:
                descriptor = os.open(candidate, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise _failed(path, error) from None
            try:
                return self._content(descriptor, path)
            except OSError as error:
                raise _failed(path, error) from None
            finally:
                os.close(descriptor)
        raise NoSuchFile(f"there is no file {path!r:.200}", remedy="The path counts from inference.file_roots")

    def _content(self, descriptor: int, path: str) -> bytes:
        # What was opened counts, not what the path meant before: a folder may have become a link meanwhile.
        opened = Path(os.path.realpath(f"/proc/self/fd/{descriptor}"))
        if not any(opened.is_relative_to(root) for root in self._roots):
            raise PathOutsideRoot(f"file {path!r:.200} leads out of the allowed roots")
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise NoSuchFile(f"{path!r:.200} is not a file", remedy="Name an image file")
        if found.st_size > self._max_bytes:
            raise ImageTooLarge(
                f"file {path!r:.200} has {found.st_size} bytes",
                remedy=f"At most {self._max_bytes} are allowed (inference.limits.body_bytes)",
            )
        with os.fdopen(os.dup(descriptor), "rb") as stream:
            return stream.read(self._max_bytes)


def _below(root: Path, path: str) -> str | None:
    """Return the real path, links followed, where it lies below the root."""
    real = Path(os.path.realpath(root / path))
    return str(real) if real.is_relative_to(root) and real != root else None


def _failed(path: str, error: OSError) -> NoSuchFile | FileFailed:
    if error.errno in {errno.ENAMETOOLONG, errno.ELOOP}:
        return NoSuchFile(f"there is no file {path!r:.200}: {error.strerror}")
    return FileFailed(f"file {path!r:.200} cannot be read: {error.strerror}")
