"""Reads the user's secrets from their files at each attempt: a changed password needs no restart."""

from pathlib import Path

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key

from lineside.secret_files import SecretFileError, read_password
from lineside_opcua_bridge.security.certificates import parse
from lineside_opcua_bridge.security.errors import SecretUnusable
from lineside_opcua_bridge.settings.access import CertificateUser, PasswordUser

log = structlog.get_logger("lineside.opcua_bridge.security")

_LONGEST_PASSWORD = 128
"""In UTF-8 bytes: with the server's nonce it must fit into one RSA block of 2048 bits."""

_LARGEST_FILE = 1 << 16


def password_of(user: PasswordUser) -> str:
    """Return the password: the first line of its file; raises SecretUnusable."""
    path = user.password_file
    try:
        password = read_password(path)
    except SecretFileError as error:
        raise SecretUnusable(error.what, remedy=f"{error.remedy}; opcua_bridge.user.password_file names it") from None
    if path.stat().st_mode & 0o004:
        log.warning("the password's file can be read by every user of this machine", file=str(path))
    if len(password.encode()) > _LONGEST_PASSWORD:
        raise SecretUnusable(f"the password in {path} is longer than {_LONGEST_PASSWORD} bytes", remedy="shorten it")
    return password


def certificate_of(user: CertificateUser) -> tuple[x509.Certificate, rsa.RSAPrivateKey]:
    """Return the user's certificate and key; raises SecretUnusable."""
    try:
        certificate = parse(_read(user.certificate_file, "opcua_bridge.user.certificate_file"))[0]
    except ValueError as error:
        raise SecretUnusable(
            f"{user.certificate_file} is no certificate: {error}", remedy="give a PEM or DER file"
        ) from None
    path = user.private_key_file
    data = _read(path, "opcua_bridge.user.private_key_file")
    mode = path.stat().st_mode & 0o777
    if mode & 0o007:
        raise SecretUnusable(f"the user's key {path} is open to others (mode {mode:03o})", remedy=f"chmod 600 {path}")
    load = load_pem_private_key if b"-----BEGIN" in data else load_der_private_key
    try:
        key = load(data, password=None)
    except (ValueError, TypeError):
        raise SecretUnusable(f"{path} is no private key without a password", remedy="give a PEM or DER file") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise SecretUnusable(f"the key {path} is not RSA", remedy="have the user's certificate made with RSA")
    if key.public_key() != certificate.public_key():
        raise SecretUnusable(
            f"the key {path} does not belong to {user.certificate_file}", remedy="give the certificate's own key"
        )
    return certificate, key


def _read(path: Path, setting: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST_FILE)
    except OSError as error:
        raise SecretUnusable(
            f"{path} cannot be read: {error.strerror}", remedy=f"put it there, or set {setting}"
        ) from None
