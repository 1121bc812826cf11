"""A signature's file as it is read: a Sigstore bundle, of which nothing is true before the library has verified it.

What is asked here the library does not ask, or not in words for people: which key is named, whether the certificates
are valid today (it judges them as of the day from which the signer's is), whether they may sign code at all, and
whether it is one file that was signed, by its SHA-256.
"""

import base64
import binascii
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from lineside.documents import read_json
from lineside.packages.errors import PackageRefused
from lineside.packages.roots import CURVES

MAX_BYTES = 1024 * 1024
_MAX_CHAIN = 8
_PREDICATE = "https://model_signing/signature/v1.0"


@dataclass(frozen=True)
class Signature:
    """The file's bytes, the SHA-256 that it claims to be of, and who claims it: a key by its hint, or certificates.

    The signer's own certificate is the first.
    """

    text: bytes
    sha256: str
    hint: str | None
    chain: tuple[x509.Certificate, ...]


def bundle_of(archive: Path) -> Path:
    """Return where a package's signature lies: beside it, with .sig behind its name."""
    return archive.with_name(f"{archive.name}.sig")


def read_signature(path: Path) -> Signature:
    """Read a signature's file; raises PackageRefused where it is not there, or none."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise PackageRefused(
            "signature-missing",
            f"the package is not signed: there is no {path}",
            remedy="Sign it by `lineside model sign`, and bring the .sig with it",
        ) from None
    except OSError as error:
        raise PackageRefused("signature-missing", f"signature {path} cannot be read: {error.strerror}") from None
    with os.fdopen(handle, "rb") as file:
        is_file = stat.S_ISREG(os.fstat(handle).st_mode)
        return parse_signature(file.read(MAX_BYTES + 1) if is_file else b"")


def parse_signature(text: bytes) -> Signature:
    """Read a signature; raises PackageRefused where it is none."""
    if not text or len(text) > MAX_BYTES:
        raise malformed(f"it is no file of 1 to {MAX_BYTES} bytes")
    try:
        return _parsed(text)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, binascii.Error) as error:
        raise malformed(str(error)) from None


def malformed(why: str) -> PackageRefused:
    """Return the refusal of what is no signature as `lineside model sign` and model-signing make it."""
    return PackageRefused(
        "signature-malformed",
        f"the signature is none that is understood here: {why:.200}",
        remedy="Sign the package by `lineside model sign`, or `python -m model_signing sign key` (or certificate)",
    )


def check_certificates(chain: Iterable[x509.Certificate], now: datetime) -> None:
    """Refuse a chain of which one is not valid now, or whose first may not sign code; raises PackageRefused."""
    certificates = list(chain)
    for certificate in certificates:
        check_time(certificate, now)
    check_use(certificates[0])


def check_time(certificate: x509.Certificate, now: datetime) -> None:
    """Refuse a certificate that is not valid now; raises PackageRefused."""
    name = certificate.subject.rfc4514_string()
    if now > certificate.not_valid_after_utc:
        raise PackageRefused(
            "certificate-expired",
            f"the certificate of {name} has expired on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC",
            remedy="Sign the package again by one that is valid; the package itself stays as it is",
        )
    if now < certificate.not_valid_before_utc:
        raise PackageRefused(
            "certificate-not-yet-valid",
            f"the certificate of {name} is valid from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC, "
            f"and this machine's clock says {now:%Y-%m-%d %H:%M} UTC",
            remedy="Set the clock, or wait",
        )


def check_use(certificate: x509.Certificate) -> None:
    """Refuse a certificate that is for something else than signing code; raises PackageRefused.

    An authority of a plant gives certificates to brokers and PLCs too: those must not sign models.
    """
    name = certificate.subject.rfc4514_string()
    remedy = "Let the authority give one with key usage digitalSignature and extended key usage codeSigning"
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in CURVES:
        raise PackageRefused(
            "certificate-unsuitable",
            f"the certificate of {name} has no key of the curves {', '.join(CURVES)}",
            remedy=remedy,
        )
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature
    except x509.ExtensionNotFound:
        usage = False
    try:
        extended = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        usage = usage and x509.oid.ExtendedKeyUsageOID.CODE_SIGNING in extended
    except x509.ExtensionNotFound:
        pass
    if not usage:
        raise PackageRefused(
            "certificate-unsuitable", f"the certificate of {name} is not for signing code", remedy=remedy
        )


def _parsed(text: bytes) -> Signature:
    bundle = read_json(text)
    material = bundle["verificationMaterial"]
    envelope = bundle["dsseEnvelope"]
    if len(envelope["signatures"]) != 1:
        raise ValueError("it has not one signature")
    sha256 = _signed_file(read_json(base64.b64decode(envelope["payload"], validate=True)))
    if "x509CertificateChain" in material:
        encoded = material["x509CertificateChain"]["certificates"]
        if not 1 <= len(encoded) <= _MAX_CHAIN:
            raise ValueError(f"it has {len(encoded)} certificates; 1 to {_MAX_CHAIN} are read")
        chain = tuple(
            x509.load_der_x509_certificate(base64.b64decode(each["rawBytes"], validate=True)) for each in encoded
        )
        return Signature(text, sha256, None, chain)
    if "publicKey" not in material:
        raise ValueError("it is neither by a key nor by a certificate")
    hint = material["publicKey"].get("hint")
    if not isinstance(hint, str) or not hint:
        raise ValueError("it does not say by which key, as versions of model-signing before 1.1 made it")
    return Signature(text, sha256, hint, ())


def _signed_file(statement: Any) -> str:
    """Return the SHA-256 of the one file that a statement is about."""
    if statement["predicateType"] != _PREDICATE:
        raise ValueError(f"it is a statement of type {statement['predicateType']!r:.80}")
    predicate = statement["predicate"]
    how, resources = predicate["serialization"], predicate["resources"]
    if how["method"] != "files" or how["hash_type"] != "sha256":
        raise ValueError("it is not of the whole file's SHA-256")
    if len(resources) != 1 or resources[0]["name"] != "." or resources[0]["algorithm"] != "sha256":
        raise ValueError("it is of a folder's files, and not of the one archive")
    return str(resources[0]["digest"])
