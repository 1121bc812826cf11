"""A package's archive as a stream: unpacked by small pieces, hashed on the way, and held against its bounds.

Nothing of it is believed: only plain files are read, every length is bounded before memory or disk is given for it, and
bytes behind the end are refused. tarfile would read an extended header of any size into memory, so that its parser of
single headers is used and the walk is here.
"""

import os
import stat
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from lineside.packages.errors import PackageRefused
from lineside.packages.hashing import Sha256

_IN = 256 * 1024
_OUT = 1024 * 1024
_TAR_BLOCK = 512
_NOTHING = bytes(_TAR_BLOCK)
_FREE_OF_RATIO = 1024 * 1024
"""So much may come out of any archive, however small it is."""
_KINDS = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
    tarfile.DIRTYPE: "a folder's own entry",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
    tarfile.XHDTYPE: "an extended header",
    tarfile.XGLTYPE: "an extended header",
    tarfile.GNUTYPE_LONGNAME: "an extended header",
    tarfile.GNUTYPE_LONGLINK: "an extended header",
}


@dataclass(frozen=True)
class Limits:
    """What a package may have at most: files, bytes of them all, bytes for each byte of the archive.

    `reserve` bytes of the disk are left for all else.
    """

    files: int = 1000
    bytes: int = 16 * 1024**3
    ratio: int = 100
    reserve: int = 64 * 1024 * 1024


@dataclass(frozen=True)
class Member:
    """A file of the archive: its name as it stands there, and its bytes."""

    path: str
    size: int


class ArchiveReader:
    """An open archive, read once from its beginning; raises PackageRefused for what is wrong with it.

    `hashing` is fed with the archive's bytes as they are read.
    """

    def __init__(self, file: BinaryIO, limits: Limits, hashing: Sha256 | None = None) -> None:
        self._file = file
        self._limits = limits
        self._inflate = zlib.decompressobj(wbits=31)
        self._hashing = hashing
        self._taken, self._given = 0, 0
        self._ready = memoryview(b"")

    def members(self) -> Iterator[Member]:
        """Yield each file; its bytes have to be read, by `content`, before the next."""
        count = 0
        while (block := self._exactly(_TAR_BLOCK)) != _NOTHING:
            member = _member(block)
            count += 1
            if count > self._limits.files + 1:
                raise PackageRefused("archive-too-large", f"the archive has more than {self._limits.files} files")
            yield member
            if any(self._exactly(-member.size % _TAR_BLOCK)):
                raise PackageRefused("archive-damaged", f"there are bytes behind {member.path!r}, where none belong")
        self._end()

    def content(self, member: Member) -> Iterator[memoryview]:
        """Yield a file's bytes."""
        left = member.size
        while left:
            piece = self._some(left)
            left -= len(piece)
            yield piece

    def read_to_the_end(self) -> None:
        """Read what was not unpacked, for the archive's hash."""
        while self._take():
            pass

    def _end(self) -> None:
        rest = 0
        while not self._inflate.eof or self._ready:
            piece = self._ready or self._more()
            self._ready = memoryview(b"")
            rest += len(piece)
            if any(piece) or rest > tarfile.RECORDSIZE:
                raise PackageRefused("archive-damaged", "there are bytes behind the archive's end")
        if self._inflate.unused_data or self._take():
            raise PackageRefused("archive-damaged", "there are bytes behind the archive's end")

    def _exactly(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            found += self._some(size - len(found))
        return found

    def _some(self, most: int) -> memoryview:
        """Return at least one byte, at most so many."""
        while not self._ready:
            self._ready = self._more()
        piece, self._ready = self._ready[:most], self._ready[most:]
        return piece

    def _more(self) -> memoryview:
        if self._inflate.eof:
            raise PackageRefused("archive-damaged", "the archive ends in the middle of a file", remedy=_AGAIN)
        data = self._inflate.unconsumed_tail or self._take()
        try:
            found = self._inflate.decompress(data, _OUT)
        except zlib.error as error:
            raise PackageRefused(
                "archive-damaged", f"the archive is no gzip, or a damaged one: {error}", remedy=_AGAIN
            ) from None
        if not data and not found and not self._inflate.eof:
            raise PackageRefused("archive-damaged", "the archive ends too early", remedy=_AGAIN)
        self._given += len(found)
        if self._given > _FREE_OF_RATIO + self._taken * self._limits.ratio:
            raise PackageRefused(
                "archive-too-large",
                f"{self._taken} bytes of the archive would become more than {self._limits.ratio} times as many",
                remedy="Pack the model by `lineside model pack`, which does not squeeze",
            )
        return memoryview(found)

    def _take(self) -> bytes:
        try:
            data = self._file.read(_IN)
        except OSError as error:
            raise PackageRefused("archive-damaged", f"the archive cannot be read: {error.strerror}") from None
        if self._hashing is not None:
            self._hashing.update(data)
        self._taken += len(data)
        return data


_AGAIN = "Copy it here again"


def _member(block: bytes) -> Member:
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    except (tarfile.HeaderError, UnicodeDecodeError) as error:
        raise PackageRefused(
            "archive-damaged", f"the archive is no tar, or a damaged one: {error}", remedy=_AGAIN
        ) from None
    if info.type not in {tarfile.REGTYPE, tarfile.AREGTYPE}:
        kind = _KINDS.get(info.type, f"of a kind {info.type!r}")
        raise PackageRefused(
            "archive-unsafe",
            f"{info.name[:80]!r} is {kind}: a package holds plain files only",
            remedy="Pack the model by `lineside model pack`",
        )
    if info.size < 0:
        raise PackageRefused("archive-damaged", f"{info.name[:80]!r} has {info.size} bytes")
    return Member(info.name, info.size)


def open_archive(path: os.PathLike[str]) -> BinaryIO:
    """Open an archive; raises PackageRefused where it is no file that can be read."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise PackageRefused(
            "archive-missing", f"package {os.fspath(path)!r} cannot be read: {error.strerror}"
        ) from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise PackageRefused("archive-missing", f"package {os.fspath(path)!r} is not a file")
    return os.fdopen(handle, "rb", buffering=0)
