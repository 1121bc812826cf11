"""Where a client's models may lie: below allowed roots, links followed and judged by where they lead."""

import errno
import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from lineside_inference.errors import PackageNotFound, PackagePathRefused, PackageUnusable

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_NO_SUCH = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP}


class Roots:
    """The folders below which models may lie, and reading below them; a relative path counts from `work_root`."""

    def __init__(self, roots: Iterable[Path], work_root: Path | None = None) -> None:
        self._roots = [Path(os.path.realpath(root)) for root in roots]
        self._work_root = work_root

    def resolve(self, url: str) -> Path:
        """Return the real path of a file or folder that is there.

        Raises PackagePathRefused, PackageNotFound or PackageUnusable.
        """
        if not url or "\0" in url:
            raise PackagePathRefused(
                f"url {url!r:.200} is not a path", remedy="Name the model's folder on this machine"
            )
        if _SCHEME.match(url):
            raise PackagePathRefused(
                f"url {url!r:.200} is not a path on this machine",
                remedy="Download the model first, and name the folder where it lies",
            )
        if not Path(url).is_absolute() and self._work_root is None:
            raise PackagePathRefused(f"url {url!r:.200} is relative, and there is no work root", remedy="Name it whole")
        real = Path(os.path.realpath((self._work_root or Path("/")) / url))
        self._demand_inside(real, url)
        try:
            real.stat()
        except OSError as error:
            raise _failed(url, error) from None
        return real

    def open(self, path: Path) -> BinaryIO:
        """Open a file to read; raises PackagePathRefused, PackageNotFound or PackageUnusable.

        What was opened counts, not what the path meant before: a folder may have become a link meanwhile.
        """
        real = Path(os.path.realpath(path))
        self._demand_inside(real, str(path))
        try:
            descriptor = os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            raise _failed(str(path), error) from None
        try:
            self._demand_inside(Path(os.path.realpath(f"/proc/self/fd/{descriptor}")), str(path))
            _demand_file(descriptor, path)
            return os.fdopen(descriptor, "rb")
        except BaseException:
            os.close(descriptor)
            raise

    def _demand_inside(self, real: Path, url: str) -> None:
        if not any(real.is_relative_to(root) for root in self._roots):
            allowed = ", ".join(map(str, self._roots))
            raise PackagePathRefused(
                f"url {url!r:.300} is not below a folder from which models may be loaded",
                remedy=f"Put the model below one of: {allowed}; links count by where they lead"
                if allowed
                else "No such folder is set: edge_manager.model_roots is empty",
            )


def _demand_file(descriptor: int, path: Path) -> None:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise PackageUnusable(f"{str(path)!r:.300} is not a file", remedy="A model is made of files")


def entries(folder: Path, most: int = 4096) -> dict[str, bool]:
    """Return the names in a folder, and whether each is a folder; raises PackageNotFound or PackageUnusable."""
    found: dict[str, bool] = {}
    try:
        with os.scandir(folder) as scan:
            for entry in scan:
                found[entry.name] = entry.is_dir()
                if len(found) > most:
                    raise PackageUnusable(
                        f"folder {str(folder)!r:.300} has more than {most} entries",
                        remedy="Name the model's own folder",
                    )
    except OSError as error:
        raise _failed(str(folder), error) from None
    return dict(sorted(found.items()))


def _failed(path: str, error: OSError) -> PackageNotFound | PackageUnusable:
    if error.errno in _NO_SUCH:
        return PackageNotFound(f"there is nothing at {path!r:.300}: {error.strerror}")
    remedy = f"Let user {os.geteuid()}, as which this service runs, read it" if error.errno == errno.EACCES else ""
    return PackageUnusable(f"{path!r:.300} cannot be read: {error.strerror}", remedy=remedy)
