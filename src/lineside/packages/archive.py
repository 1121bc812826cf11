"""A package's archive, written so that the same files make the same bytes on every machine.

Members are stored, not squeezed: floating-point weights hardly shrink (the bench's models by 7 %), what a compressor
makes depends on its build (zlib and zlib-ng differ), and unpacking is then as fast as the disk. Every gunzip reads it.
"""

import struct
import tarfile
import zlib
from typing import BinaryIO

_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
"""RFC 1952: deflate, no flags, no time, no hint, operating system unknown."""
_BLOCK = 65535
"""Bytes of a stored block: RFC 1951, 3.2.4."""
_TAR_BLOCK = 512


class ArchiveWriter:
    """A tar in a gzip, to an open file; `close` ends it."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._rest = b""
        self._crc, self._size = 0, 0
        out.write(_HEADER)

    def begin(self, path: str, size: int) -> None:
        """Begin a member: exactly so many bytes of it have to be written next."""
        info = tarfile.TarInfo(path)
        info.size = size
        info.mode = 0o644
        self.write(info.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict"))

    def end(self, size: int) -> None:
        """End a member of so many bytes."""
        self.write(bytes(-size % _TAR_BLOCK))

    def write(self, data: bytes) -> None:
        """Write bytes of a member."""
        self._crc = zlib.crc32(data, self._crc)
        self._size += len(data)
        data = self._rest + data if self._rest else data
        whole = len(data) - len(data) % _BLOCK
        for start in range(0, whole, _BLOCK):
            self._store(data[start : start + _BLOCK])
        self._rest = data[whole:]

    def close(self) -> None:
        """End the archive; the file stays open."""
        self.write(bytes(2 * _TAR_BLOCK))
        self.write(bytes(-self._size % tarfile.RECORDSIZE))
        self._store(self._rest, is_last=True)
        self._out.write(struct.pack("<II", self._crc, self._size & 0xFFFFFFFF))

    def _store(self, block: bytes, *, is_last: bool = False) -> None:
        self._out.write(struct.pack("<BHH", is_last, len(block), len(block) ^ 0xFFFF))
        self._out.write(block)
