"""A package is signed: a file beside it, which OpenSSF's own tool verifies too.

sign(Path("detector-3.tar.gz"), key=Path("plant.key"))                                  # detector-3.tar.gz.sig
sign(Path("detector-3.tar.gz"), key=..., certificate=Path("plant.pem"), chain=[...])    # by a certificate
"""

import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from lineside.durable_files import replace_file, sync
from lineside.packages.errors import PackageRefused
from lineside.packages.library import load
from lineside.packages.roots import CURVES
from lineside.packages.signature import bundle_of, check_certificates
from lineside.packages.unpacking import read_manifest

_SECRET = stat.S_IRWXG | stat.S_IRWXO


def make_key(private: Path, *, password: str | None = None) -> Path:
    """Make a key pair of the curve P-256: `private`, for its owner only, and `<private>.pub`, which is returned.

    Raises PackageRefused where one of the files is there already.
    """
    public = private.with_name(f"{private.name}.pub")
    for path in (private, public):
        if os.path.lexists(path):
            raise PackageRefused(
                "key-wrong", f"{path} is there already", remedy="Name another file: no key is replaced"
            )
    key = ec.generate_private_key(ec.SECP256R1())
    encryption = BestAvailableEncryption(password.encode()) if password else NoEncryption()
    try:
        private.parent.mkdir(parents=True, exist_ok=True)
        replace_file(private, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption), mode=0o600)
        replace_file(public, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), mode=0o644)
    except OSError as error:
        raise PackageRefused("not-written", f"{private} cannot be written: {error.strerror}") from None
    return public


def sign(
    archive: Path,
    *,
    key: Path,
    certificate: Path | None = None,
    chain: Sequence[Path] = (),
    password: str | None = None,
) -> Path:
    """Sign a package by a private key, or by it and its certificate; return the signature's file.

    `chain` are the certificates between the signer's and the root that devices trust. Raises PackageRefused.
    """
    read_manifest(archive)  # nothing else is signed
    _check_key(key, password)
    config = load("signing").Config()
    try:
        if certificate is None:
            # The library hands it on as it is, and cryptography takes bytes.
            config.use_elliptic_key_signer(private_key=key, password=password.encode() if password else None)
        else:
            _check_chain(certificate, chain, password)
            # It fails without a chain (findings/model-signing-needs-a-chain.sh): the signer's own, again.
            config.use_certificate_signer(
                private_key=key, signing_certificate=certificate, certificate_chain=chain or [certificate]
            )
    except (ValueError, TypeError) as error:
        raise PackageRefused("key-wrong", f"{certificate or key} cannot sign: {error}") from None
    bundle = bundle_of(archive)
    draft = bundle.with_name(f".{bundle.name}.{os.getpid()}.part")
    try:
        config.sign(archive, draft)
        draft.chmod(0o644)
        sync(draft)
        draft.replace(bundle)
    except OSError as error:
        raise PackageRefused("not-written", f"{bundle} cannot be written: {error.strerror}") from None
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
    return bundle


def _check_key(path: Path, password: str | None) -> None:
    try:
        mode, text = path.stat().st_mode, path.read_bytes()
    except OSError as error:
        raise PackageRefused("key-wrong", f"private key {path} cannot be read: {error.strerror}") from None
    if mode & _SECRET:
        raise PackageRefused(
            "key-wrong",
            f"private key {path} is open to others than its owner (mode {stat.S_IMODE(mode):o})",
            remedy=f"chmod 600 {path}",
        )
    try:
        key = load_pem_private_key(text, password.encode() if password else None)
    except TypeError:
        why = "has a password" if password is None else "has no password"
        raise PackageRefused("key-wrong", f"private key {path} {why}", remedy="See --password-file") from None
    except ValueError:
        raise PackageRefused(
            "key-wrong",
            f"{path} is no private key in PEM, or its password is another",
            remedy="`lineside model key` makes one",
        ) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in CURVES:
        raise PackageRefused("key-wrong", f"private key {path} is of none of the curves {', '.join(CURVES)}")


def _check_chain(certificate: Path, chain: Sequence[Path], password: str | None) -> None:
    """Refuse what no device would take."""
    if password is not None:
        raise PackageRefused(
            "key-wrong",
            "model-signing reads no password for a certificate's key",
            remedy="Decrypt it into a file for this once: openssl pkey -in KEY -out PLAIN",
        )
    found: list[x509.Certificate] = []
    for path in (certificate, *chain):
        try:
            found += x509.load_pem_x509_certificates(path.read_bytes())
        except OSError as error:
            raise PackageRefused("key-wrong", f"certificate {path} cannot be read: {error.strerror}") from None
        except ValueError:
            raise PackageRefused("key-wrong", f"{path} is no certificate in PEM") from None
    check_certificates(found, datetime.now(UTC))
