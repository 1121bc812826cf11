"""Reads X.509 certificates: thumbprint, application URI, hosts, whether it is an authority."""

import contextlib
from collections.abc import Iterator
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

E = TypeVar("E", bound=x509.ExtensionType)

_WRONG = (UnsupportedAlgorithm, x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)
_PEM = b"-----BEGIN"
_SEQUENCE = 0x30
_LONG_FORM = 0x80


def parse(data: bytes) -> list[x509.Certificate]:
    """Return the certificates of a file or message, PEM or DER, the leaf first; raises ValueError.

    OPC UA sends a chain as DER certificates one after the other.
    """
    with _damage():
        if _PEM in data[:4096]:
            found = x509.load_pem_x509_certificates(data)
        else:
            found = [x509.load_der_x509_certificate(part) for part in _split(data)]
        for certificate in found:
            _ = (certificate.subject, certificate.issuer, certificate.extensions, certificate.public_key())
            _ = (certificate.not_valid_before_utc, certificate.not_valid_after_utc)
            _ = certificate.signature_hash_algorithm
    if not found:
        raise ValueError("no certificate")
    return found


def parse_crl(data: bytes) -> x509.CertificateRevocationList:
    """Return a revocation list, PEM or DER; raises ValueError."""
    with _damage():
        crl = x509.load_pem_x509_crl(data) if _PEM in data[:4096] else x509.load_der_x509_crl(data)
        _ = (crl.issuer, crl.next_update_utc, [each.serial_number for each in crl])
    return crl


def der(certificate: x509.Certificate) -> bytes:
    """Return the certificate as DER."""
    return certificate.public_bytes(Encoding.DER)


def thumbprint(certificate: x509.Certificate) -> str:
    """Return the SHA-1 of the DER as hexadecimal digits, by which OPC UA tools show a certificate."""
    return certificate.fingerprint(hashes.SHA1()).hex().upper()  # noqa: S303 - a name only; nothing is verified by it


def sha256(certificate: x509.Certificate) -> str:
    """Return the SHA-256 of the DER as hexadecimal digits, for comparisons that must not be forged."""
    return certificate.fingerprint(hashes.SHA256()).hex().upper()


def subject(certificate: x509.Certificate) -> str:
    """Return the subject as text, for instance `CN=press-7,O=Plant`; the serial number where it has none."""
    return certificate.subject.rfc4514_string() or f"serial {certificate.serial_number:x}"


def common_name(certificate: x509.Certificate) -> str:
    """Return the common name, or nothing."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""


def application_uris(certificate: x509.Certificate) -> list[str]:
    """Return the application URIs that it was made for; OPC UA has exactly one in an application's certificate."""
    names = _alternative_names(certificate)
    return names.get_values_for_type(x509.UniformResourceIdentifier) if names else []


def hosts(certificate: x509.Certificate) -> list[str]:
    """Return the host names and addresses that it was made for, in lower case."""
    names = _alternative_names(certificate)
    if names is None:
        return []
    found = [name.lower() for name in names.get_values_for_type(x509.DNSName)]
    return found + [str(address) for address in names.get_values_for_type(x509.IPAddress)]


def is_self_signed(certificate: x509.Certificate) -> bool:
    """Whether it is signed with its own key."""
    return certificate.subject == certificate.issuer and is_issued_by(certificate, certificate)


def is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether the issuer's name and signature are right."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether it may sign other certificates.

    The certificate of an application may not, although many are made with `CA: true` because they are self-signed:
    trusting a PLC does not mean trusting what that PLC signs.
    """
    constraints = extension(certificate, x509.BasicConstraints)
    usage = extension(certificate, x509.KeyUsage)
    return (
        constraints is not None
        and constraints.ca
        and (usage is None or usage.key_cert_sign)
        and not application_uris(certificate)
    )


def extension(certificate: x509.Certificate, kind: type[E]) -> E | None:
    """Return an extension's value, or None where the certificate has none of the kind."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _alternative_names(certificate: x509.Certificate) -> x509.SubjectAlternativeName | None:
    return extension(certificate, x509.SubjectAlternativeName)


@contextlib.contextmanager
def _damage() -> Iterator[None]:
    """Raise ValueError for every kind of damage, which the library finds only when a field is read."""
    try:
        yield
    except _WRONG as error:
        raise ValueError(str(error)) from None


def _split(data: bytes) -> Iterator[bytes]:
    """Yield each of several concatenated DER values."""
    while data:
        if data[0] != _SEQUENCE or len(data) < 2:  # noqa: PLR2004 - tag and length
            raise ValueError("neither PEM nor DER")
        head = 2
        length = data[1]
        if length >= _LONG_FORM:
            head += length - _LONG_FORM
            length = int.from_bytes(data[2:head])
        if not 0 < length <= len(data) - head:
            raise ValueError("the DER is cut off")
        yield data[: head + length]
        data = data[head + length :]
