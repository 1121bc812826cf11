"""Whom this machine trusts to sign models: a folder of PEM files, public keys and certificates of authorities.

Whoever may write there decides what runs here. So the folder, its files and the folders above it belong to root, or to
the user that this process runs as (who could as well leave the verification out), and nobody else may write them. What
is anything else is refused by name; nothing is passed over.
"""

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from lineside.packages.errors import PackageRefused

CURVES = ("secp256r1", "secp384r1", "secp521r1")
_MAX_FILES, _MAX_BYTES = 64, 1024 * 1024
_OTHERS = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True)
class TrustedKey:
    """A public key: its file, and the SHA-256 of its PEM, by which a signature names it."""

    path: Path
    hint: str


@dataclass(frozen=True)
class Authority:
    """A certificate that others are held against, and its file."""

    path: Path
    certificate: x509.Certificate


@dataclass(frozen=True)
class Roots:
    """What the folder holds."""

    folder: Path
    keys: tuple[TrustedKey, ...]
    authorities: tuple[Authority, ...]


def read_roots(folder: Path) -> Roots:
    """Read the folder; raises PackageRefused that names the file which may not be trusted."""
    _check_folders(folder)
    keys: list[TrustedKey] = []
    authorities: list[Authority] = []
    paths = sorted(folder.iterdir())
    if len(paths) > _MAX_FILES:
        raise PackageRefused("roots-wrong", f"{folder} has {len(paths)} files; at most {_MAX_FILES} are read")
    for path in paths:
        text = _read(path)
        if b"PRIVATE KEY" in text:
            raise PackageRefused(
                "roots-wrong", f"{path} is a private key", remedy="Put the public one there, and this one out of reach"
            )
        if b"BEGIN CERTIFICATE" in text:
            authorities += _authorities(path, text)
        else:
            keys.append(_key(path, text))
    if not keys and not authorities:
        raise PackageRefused(
            "roots-empty", f"{folder} is empty: nobody is trusted", remedy="Put the signer's public key there, as PEM"
        )
    return Roots(folder, tuple(keys), tuple(authorities))


def hint_of(key: ec.EllipticCurvePublicKey) -> str:
    """Return by what a signature names its key."""
    return hashlib.sha256(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def _key(path: Path, text: bytes) -> TrustedKey:
    try:
        key = load_pem_public_key(text)
    except ValueError:
        raise PackageRefused(
            "roots-wrong",
            f"{path} is neither a public key nor a certificate in PEM",
            remedy="Only those may be in the folder",
        ) from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in CURVES:
        raise PackageRefused("roots-wrong", f"{path} is no key of the curves {', '.join(CURVES)}")
    return TrustedKey(path, hint_of(key))


def _authorities(path: Path, text: bytes) -> Iterator[Authority]:
    try:
        for certificate in x509.load_pem_x509_certificates(text):
            yield Authority(path, certificate)
    except ValueError as error:
        raise PackageRefused("roots-wrong", f"{path} has a certificate that cannot be read: {error}") from None


def _read(path: Path) -> bytes:
    if path.is_dir():
        raise PackageRefused(
            "roots-wrong", f"{path} is a folder", remedy="Put the files of keys and certificates there"
        )
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        why = "it is a link" if path.is_symlink() else error.strerror
        raise PackageRefused(
            "roots-unsafe", f"{path} cannot be trusted: {why}", remedy="Put a plain file there"
        ) from None
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise PackageRefused(
                "roots-wrong", f"{path} is not a file", remedy="Only keys and certificates may be in the folder"
            )
        _check(path, found)
        text = file.read(_MAX_BYTES + 1)
    if len(text) > _MAX_BYTES:
        raise PackageRefused("roots-wrong", f"{path} has more than {_MAX_BYTES} bytes")
    return text


def _check_folders(folder: Path) -> None:
    """Check the folder and those above it; one of /tmp's kind, where nobody may move what is another's, is passed."""
    try:
        given = os.lstat(folder)
        real = Path(os.path.realpath(folder))
        above = [(path, os.lstat(path)) for path in real.parents]
    except OSError as error:
        raise PackageRefused(
            "roots-wrong", f"the folder of trusted keys {folder} cannot be read: {error.strerror}"
        ) from None
    if not stat.S_ISDIR(given.st_mode):
        raise PackageRefused(
            "roots-unsafe", f"{folder} is not a folder itself", remedy="Name the folder, not a link to it"
        )
    _check(folder, given)
    for path, found in above:
        _check(path, found, others=0 if found.st_mode & stat.S_ISVTX else _OTHERS)


def _check(path: Path, found: os.stat_result, others: int = _OTHERS) -> None:
    if found.st_uid not in {0, os.geteuid()}:
        raise PackageRefused(
            "roots-unsafe",
            f"{path} belongs to user {found.st_uid}, who could trust anybody",
            remedy=f"sudo chown root: {path}",
        )
    if found.st_mode & others:
        raise PackageRefused(
            "roots-unsafe",
            f"{path} may be written by others than its owner (mode {stat.S_IMODE(found.st_mode):o})",
            remedy=f"sudo chmod go-w {path}",
        )
