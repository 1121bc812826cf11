"""The folder of certificates, in the layout of OPC UA tools; read anew at each attempt to connect.

    own/certs  own/private            the bridge's own certificate and its key
    trusted/certs  trusted/crl        PLCs and authorities that are trusted, and their revocation lists
    issuers/certs  issuers/crl        authorities that only complete a chain
    rejected/certs                    the newest certificates that were rejected, for a person to check

A file is written whole or not at all. A damaged trusted certificate is logged and ignored. A damaged revocation list is
an error: without it a revoked certificate could be accepted.
"""

import contextlib
import errno
import fcntl
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog
from cryptography import x509

from lineside.durable_files import replace_file, sync
from lineside_opcua_bridge.security.certificates import common_name, der, parse, parse_crl, thumbprint
from lineside_opcua_bridge.security.errors import PkiUnusable
from lineside_opcua_bridge.security.validation import TrustList

log = structlog.get_logger("lineside.opcua_bridge.security")

REJECTED_KEPT = 20
"""How many rejected certificates are kept."""

FOLDERS = ("own/certs", "trusted/certs", "trusted/crl", "issuers/certs", "issuers/crl", "rejected/certs")
PRIVATE = "own/private"

CERTIFICATES = frozenset({".der", ".pem", ".crt", ".cer"})
"""Suffixes of files that hold certificates."""
_LISTS = frozenset({".crl", ".der", ".pem"})
_LARGEST = 1 << 20
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@dataclass(frozen=True)
class StoredCertificate:
    """A certificate and the file that holds it."""

    path: Path
    certificate: x509.Certificate

    @property
    def thumbprint(self) -> str:
        """The thumbprint by which OPC UA tools show it."""
        return thumbprint(self.certificate)


class CertificateStore:
    """The certificates in one folder; every method raises PkiUnusable where a file cannot be read or written."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def prepare(self) -> None:
        """Make the folders; that of private keys is for the owner alone."""
        for name in FOLDERS:
            with self._disk("made", self.root / name):
                (self.root / name).mkdir(parents=True, exist_ok=True)
        private = self.root / PRIVATE
        with self._disk("made", private):
            private.mkdir(mode=0o700, exist_ok=True)
            if private.stat().st_mode & 0o077 and private.stat().st_uid == os.geteuid():
                private.chmod(0o700)

    def trust_list(self) -> TrustList:
        """Return the certificates and revocation lists that validation goes by."""
        return TrustList(
            trusted=[held.certificate for held in self.held("trusted")],
            issuers=[held.certificate for held in self.held("issuers")],
            crls=[crl for group in ("trusted", "issuers") for crl in self._crls(self.root / group / "crl")],
        )

    def held(self, group: str) -> list[StoredCertificate]:
        """Return the certificates of a group (own, trusted, issuers, rejected), by file name."""
        found = []
        for path in self.files(self.root / group / "certs", CERTIFICATES):
            try:
                found += [StoredCertificate(path, certificate) for certificate in parse(self.read(path))]
            except ValueError as error:
                log.warning("a certificate cannot be read and counts for nothing", file=str(path), error=str(error))
        return found

    def reject(self, certificate: x509.Certificate) -> Path:
        """Keep a rejected certificate, and the newest of the others; return its file."""
        path = self._put("rejected", certificate)
        kept = self.files(self.root / "rejected" / "certs", CERTIFICATES)
        with self._disk("removed", path.parent):
            for old in sorted(kept, key=lambda file: file.stat().st_mtime_ns)[:-REJECTED_KEPT]:
                if old != path:
                    old.unlink(missing_ok=True)
        return path

    def add(self, group: str, certificate: x509.Certificate) -> Path:
        """Add a certificate to trusted or issuers, and remove it from rejected; return its file."""
        path = self._put(group, certificate)
        for held in self.held("rejected"):
            if held.certificate == certificate:
                with self._disk("removed", held.path):
                    held.path.unlink(missing_ok=True)
        return path

    def remove(self, held: StoredCertificate) -> None:
        """Stop trusting a certificate; it is kept among the rejected, so that it can be added again."""
        self.reject(held.certificate)
        with self._disk("removed", held.path):
            held.path.unlink(missing_ok=True)

    def read(self, path: Path) -> bytes:
        """Return a file's content; raises PkiUnusable beyond 1 MiB, which no certificate, key or list has."""
        with self._disk("read", path), path.open("rb") as file:
            data = file.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise PkiUnusable(f"{path} is larger than {_LARGEST} bytes", remedy="remove it: it is no certificate")
        return data

    def write(self, path: Path, data: bytes, *, mode: int = 0o644) -> None:
        """Write a file, whole or not at all, also if the power fails."""
        draft = path.with_name(f".{path.name}.{os.getpid()}.part")
        with self._disk("written", path):
            replace_file(path, data, mode=mode, draft=draft)
            sync(path.parent)

    def move(self, path: Path, target: Path) -> None:
        """Rename a file, durably."""
        with self._disk("renamed", path):
            path.replace(target)
            sync(path.parent)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from changing the own certificate at the same time."""
        path = self.root / PRIVATE / ".lock"
        with self._disk("locked", path):
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            self._clear_up()
            yield
        finally:
            os.close(file)

    def _clear_up(self) -> None:
        """Remove the drafts of a process that was killed while it wrote; the caller holds the lock."""
        for folder in (self.root / "own" / "certs", self.root / PRIVATE):
            with self._disk("removed", folder):
                for left in folder.glob(".*.part"):
                    left.unlink(missing_ok=True)

    def _put(self, group: str, certificate: x509.Certificate) -> Path:
        name = re.sub(r"[^A-Za-z0-9.-]+", "-", common_name(certificate)).strip("-.")[:40] or "certificate"
        path = self.root / group / "certs" / f"{name}_{thumbprint(certificate)}.der"
        for held in self.held(group):
            if held.certificate == certificate:
                return held.path
        self.write(path, der(certificate))
        return path

    def _crls(self, folder: Path) -> Iterator[x509.CertificateRevocationList]:
        for path in self.files(folder, _LISTS):
            try:
                yield parse_crl(self.read(path))
            except ValueError as error:
                raise PkiUnusable(
                    f"{path} is no revocation list: {error}",
                    remedy="replace it by a whole one: without it a revoked certificate could be accepted",
                ) from None

    def files(self, folder: Path, kinds: frozenset[str] = CERTIFICATES) -> list[Path]:
        """Return the files of a kind in a folder, by name; none where there is no such folder."""
        with self._disk("read", folder):
            if not folder.is_dir():
                return []
            return sorted(
                path for path in folder.iterdir() if path.suffix.lower() in kinds and not path.name.startswith(".")
            )

    @contextlib.contextmanager
    def _disk(self, doing: str, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            do = "make room on the disk of" if error.errno in _NO_ROOM else f"let user {os.geteuid()} read and write"
            raise PkiUnusable(
                f"{path} cannot be {doing}: {error.strerror}",
                remedy=f"{do} {self.root}, or choose another folder by opcua_bridge.security.pki_dir",
            ) from None
