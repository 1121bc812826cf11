"""A package is verified, and unpacked in the same reading: what was hashed is what was unpacked.

    verified = verify(archive, None, Path("/etc/lineside/roots"))
    verified, manifest = install(archive, None, Path("/etc/lineside/roots"), Path("/models/.staging/detector"))

The signature comes first, by OpenSSF's library; only then is the archive read, once. Raises PackageRefused; there is
nothing then where it should have been unpacked.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding

from lineside.packages.errors import PackageRefused
from lineside.packages.hashing import Sha256
from lineside.packages.library import load
from lineside.packages.manifest import Manifest
from lineside.packages.reading import ArchiveReader, Limits, open_archive
from lineside.packages.roots import Roots, read_roots
from lineside.packages.signature import Signature, bundle_of, check_certificates, check_time, malformed, read_signature
from lineside.packages.unpacking import DEFAULT_LIMITS, placed, unpack_stream


@dataclass(frozen=True)
class Verified:
    """Who signed a package: the key's file, or the certificate's subject; `root` is the file by which it is trusted.

    `sha256` is the archive's.
    """

    signer: str
    sha256: str
    root: Path


def verify(archive: Path, bundle: Path | None, roots: Path, *, now: datetime | None = None) -> Verified:
    """Verify a package against its signature and the trusted keys, without unpacking it; raises PackageRefused.

    `bundle` is the signature's file, by default `<archive>.sig`.
    """
    with open_archive(archive) as file:
        trusted, signature = read_roots(roots), read_signature(bundle or bundle_of(archive))

        def digest() -> str:
            with Sha256() as hashing:
                ArchiveReader(file, DEFAULT_LIMITS, hashing).read_to_the_end()
                return hashing.hexdigest()

        return _verified(signature, trusted, now or datetime.now(UTC), digest)


def install(
    archive: Path,
    bundle: Path | None,
    roots: Path,
    into: Path,
    limits: Limits = DEFAULT_LIMITS,
    *,
    now: datetime | None = None,
) -> tuple[Verified, Manifest]:
    """Verify a package and unpack it into a folder that is not there yet; raises PackageRefused."""
    trusted = read_roots(roots)
    signature = read_signature(bundle or bundle_of(archive))
    with open_archive(archive) as file, placed(into) as staged:
        return install_stream(file, signature, trusted, staged, limits, now=now)


def install_stream(
    archive: BinaryIO,
    signature: Signature,
    roots: Roots,
    into: Path,
    limits: Limits = DEFAULT_LIMITS,
    *,
    now: datetime | None = None,
) -> tuple[Verified, Manifest]:
    """Verify a package that comes as a stream, and unpack it into an empty folder, which counts when this returns.

    Raises PackageRefused, or OSError where the disk does not take it.
    """
    manifests: list[Manifest] = []
    refusals: list[PackageRefused] = []

    def unpacked() -> str:
        with Sha256() as hashing:
            reader = ArchiveReader(archive, limits, hashing)
            try:
                manifests.append(unpack_stream(reader, into, limits))
            except PackageRefused as refused:
                refusals.append(refused)  # of another content than was signed, that is what is said
            reader.read_to_the_end()
            return hashing.hexdigest()

    verified = _verified(signature, roots, now or datetime.now(UTC), unpacked)
    if refusals:
        raise refusals[0]
    return verified, manifests[0]


def _verified(signature: Signature, roots: Roots, now: datetime, digest: Callable[[], str]) -> Verified:
    """Verify a signature, then take the digest of what it is for, and compare; raises PackageRefused."""
    config = load("verifying").Config()
    signer, root = _trusted(signature, roots, now, config)
    content = _Content(digest)
    config.set_hashing_config(content)
    with _in_memory(signature.text) as read:  # by its name it may be another one by now
        try:
            config.verify(Path("package"), read)
        except InvalidSignature:
            raise PackageRefused(
                "signature-wrong",
                f"the signature was not made by {signer}, or was changed",
                remedy="Bring it here again, or sign the package again",
            ) from None
        except PackageRefused:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            if content.sha256 not in {None, signature.sha256}:
                raise PackageRefused(
                    "content-changed",
                    f"the package is not what {signer} signed: its SHA-256 is {content.sha256}, "
                    f"and {signature.sha256} was signed",
                    remedy="Bring the package here again, with its own signature",
                ) from None
            raise malformed(str(error)) from None
        except Exception as error:
            if type(error).__name__ != "X509StoreContextError":  # pyOpenSSL's, which is loaded with the library only
                raise
            raise PackageRefused(
                "signer-unknown",
                f"the certificate of {signer} comes from no authority in {roots.folder}: {error}",
                remedy="Trust its authority there, or let the package be signed by somebody who is trusted",
            ) from None
    if content.sha256 is None:  # the library did not ask for it
        raise malformed("nothing was compared with it")
    return Verified(signer, content.sha256, root)


def _trusted(signature: Signature, roots: Roots, now: datetime, config: Any) -> tuple[str, Path]:
    """Give the library the one key that a signature names, or the authorities; return the signer and the root."""
    if signature.hint is not None:
        key = next((each for each in roots.keys if each.hint == signature.hint), None)
        if key is None:
            raise PackageRefused(
                "signer-unknown",
                f"the package is signed by a key that is not in {roots.folder} (SHA-256 {signature.hint[:16]}...)",
                remedy="Put its public key there, or let the package be signed by somebody who is trusted",
            )
        config.use_elliptic_key_verifier(public_key=key.path)
        return f"key {key.path.name}", key.path
    check_certificates(signature.chain, now)
    signer = signature.chain[0].subject.rfc4514_string()
    valid, expired = [], None
    for each in roots.authorities:
        try:
            check_time(each.certificate, now)
            valid.append(each)
        except PackageRefused as refused:
            expired = refused
    if not valid:
        raise expired or PackageRefused(
            "signer-unknown",
            f"the package is signed by a certificate ({signer}), and {roots.folder} holds no authority's",
            remedy="Put the certificate of its authority there",
        )
    pem = b"".join(each.certificate.public_bytes(Encoding.PEM) for each in valid)
    with _in_memory(pem) as file:
        config.use_certificate_verifier(certificate_chain=[file])
    issuer = signature.chain[-1].issuer
    root = next((each.path for each in valid if each.certificate.subject == issuer), valid[0].path)
    return signer, root


@contextmanager
def _in_memory(text: bytes) -> Iterator[Path]:
    """Give bytes a path, by which the library reads them, without a disk: a container's may be read-only."""
    handle = os.memfd_create("lineside", os.MFD_CLOEXEC)
    try:
        os.write(handle, text)
        yield Path(f"/proc/self/fd/{handle}")
    finally:
        os.close(handle)


class _Content:
    """What model-signing asks for the hashes of a model, once it has verified the signature: one file's, by us."""

    def __init__(self, digest: Callable[[], str]) -> None:
        self._digest = digest
        self.sha256: str | None = None

    def hash(self, _model_path: object, **_options: object) -> Any:
        """Return the library's own manifest of the archive."""
        self.sha256 = self._digest()
        manifest, hashing = load("manifest"), load("_hashing.hashing")
        item = manifest.FileManifestItem(
            path=PurePosixPath("."), digest=hashing.Digest("sha256", bytes.fromhex(self.sha256))
        )
        return manifest.Manifest("package", [item], manifest.SerializationType.from_args(_BY_FILE))

    def add_ignored_paths(self, *, model_path: object, paths: object) -> None:
        """Take note of paths that a signed folder leaves out: of one file nothing is."""


_BY_FILE = {"method": "files", "hash_type": "sha256", "allow_symlinks": False}
