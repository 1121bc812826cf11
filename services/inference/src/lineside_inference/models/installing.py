"""A package becomes a model in the repository: verified by whom this machine trusts, put there whole or not at all.

With no roots named, packages are taken as folders are: from whoever can write where they come from. With roots, one
counts that is signed by somebody trusted; one without a signature only where its model's name is allowed. A signature
that is there and wrong is refused in any case.

Greengrass installs a component anew at each start. A certificate that has expired since does not take a model out that
was accepted while it was valid: the same content is taken, for what it would change is nothing.
"""

import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, cast

from lineside import packages
from lineside.packages import Limits, Manifest, PackageRefused, read_manifest
from lineside.packages.reading import ArchiveReader, open_archive
from lineside.packages.unpacking import unpack_stream
from lineside_inference.models import placing

_LIMITS = Limits()
_MAX_SIGNATURE = 1024 * 1024
_SIGNATURE = ".sig"


@dataclass(frozen=True)
class Trust:
    """Where the trusted keys and authorities are, None: nobody is asked; names of models that need no signature."""

    roots: Path | None = None
    allow_unsigned: frozenset[str] = frozenset()

    def demand(self, name: str, *, is_signed: bool) -> bool:
        """Return whether a signature is to be verified; raises PackageRefused where one is missing."""
        if self.roots is None:
            return False
        if not is_signed and name not in self.allow_unsigned:
            raise PackageRefused(
                "signature-missing",
                f"model {name!r} comes without a signature, and {self.roots} says who signs models here",
                remedy="Bring it as a package with its .sig, or allow this name without one",
            )
        return is_signed


@dataclass(frozen=True)
class Installed:
    """What was put into the repository, and in a sentence who signed it."""

    name: str
    version: str
    says: str


def install(
    repository: Path, archive: Path, trust: Trust, *, bundle: Path | None = None, model: str | None = None
) -> Installed:
    """Put a package's model into the repository, `<archive>.sig` its signature where `bundle` names none.

    Raises PackageRefused or StoreError; the repository is as it was then.
    """
    there = bundle or archive.with_name(f"{archive.name}{_SIGNATURE}")
    signature = _read(there) if bundle is not None or there.exists() else None
    try:
        name = model or read_manifest(archive).name
    except PackageRefused:
        if trust.roots is not None and signature is not None:
            packages.verify(archive, there, trust.roots)  # of another content than was signed, that is what is said
        raise
    with open_archive(archive) as file:
        return _installed(repository, name, file, signature, trust)


def install_streamed(repository: Path, name: str, stream: BinaryIO, trust: Trust) -> Installed:
    """Put the model of a tar stream there that holds the signature, where there is one, and then the package.

    Raises PackageRefused or StoreError; the repository is as it was then.
    """
    signature: bytes | None = None
    try:
        with tarfile.open(fileobj=stream, mode="r|") as outer:
            for member in outer:
                content = outer.extractfile(member)
                if content is None:
                    continue
                if member.name.endswith(_SIGNATURE):
                    signature = content.read(_MAX_SIGNATURE + 1)
                    continue
                return _installed(repository, name, cast("BinaryIO", content), signature, trust)
    except tarfile.TarError as error:
        raise PackageRefused("archive-damaged", f"the stream is no tar of a package: {error}") from None
    raise PackageRefused("archive-missing", "the stream holds no package")


def _installed(repository: Path, name: str, archive: BinaryIO, signature: bytes | None, trust: Trust) -> Installed:
    says = [f"model {name}: nobody is asked who signed it, for no roots are set"]

    def fill(staged: Path) -> Mapping[str, str]:
        if trust.demand(name, is_signed=signature is not None):
            manifest, says[0] = _verified(repository, name, archive, signature or b"", trust, staged)
        else:
            manifest = unpack_stream(ArchiveReader(archive, _LIMITS), staged, _LIMITS)
            if trust.roots is not None:
                says[0] = f"model {name}: it may come without a signature"
        _demand_name(manifest, name)
        return {file.path: file.sha256 for file in manifest.files}

    version = placing.put_by(repository, name, fill)
    return Installed(name, version, says[0])


def _verified(
    repository: Path, name: str, archive: BinaryIO, signature: bytes, trust: Trust, staged: Path
) -> tuple[Manifest, str]:
    from lineside.packages.roots import read_roots  # noqa: PLC0415 - cryptography, where something is signed
    from lineside.packages.signature import parse_signature  # noqa: PLC0415 - same
    from lineside.packages.verifying import install_stream  # noqa: PLC0415 - same

    roots, parsed = read_roots(cast("Path", trust.roots)), parse_signature(signature)

    def verified(now: datetime | None) -> tuple[Manifest, str]:
        found, manifest = install_stream(archive, parsed, roots, staged, _LIMITS, now=now)
        return manifest, f"model {name}: signed by {found.signer}, SHA-256 {found.sha256}"

    try:
        return verified(None)
    except PackageRefused as refused:  # before a byte of the archive was read
        if refused.reason != "certificate-expired" or not parsed.chain:
            raise
        manifest, says = verified(min(certificate.not_valid_after_utc for certificate in parsed.chain))
        if not placing.is_accepted(repository, name, manifest.version):
            raise
        return manifest, f"{says}; {refused.what}, and this version was accepted before"


def _demand_name(manifest: Manifest, name: str) -> None:
    if manifest.name != name:
        raise PackageRefused(
            "model-wrong",
            f"the package is of model {manifest.name!r}, and {name!r} was expected",
            remedy="Bring the right one",
        )


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_SIGNATURE + 1)
    except OSError as error:
        raise PackageRefused("signature-missing", f"signature {path} cannot be read: {error.strerror}") from None
