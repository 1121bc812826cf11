"""The bridge's own certificate: made at the first start, renewed before it ends; the old one is used meanwhile.

A certificate `own/certs/<name>.der` belongs to the key `own/private/<name>.pem`. `<name>.next.der` is a renewed one
that the PLC has not accepted yet, `<name>.old.der` one that was replaced; the newest of the others is in use. Where a
plant's own authority issued it, the plant must renew it.
"""

import contextlib
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lineside_opcua_bridge.security.certificates import (
    application_uris,
    der,
    hosts,
    is_self_signed,
    parse,
    thumbprint,
)
from lineside_opcua_bridge.security.errors import PkiUnusable
from lineside_opcua_bridge.security.store import PRIVATE, CertificateStore

log = structlog.get_logger("lineside.opcua_bridge.security")

VALID = timedelta(days=5 * 365)
_BACKDATED = timedelta(hours=24)
"""So that a PLC whose clock or time zone is behind accepts it at once."""

_NEXT = ".next"
_OLD = ".old"
_COMMON_NAME_CHARACTERS = 64


@dataclass(frozen=True)
class Identity:
    """An own certificate with its key."""

    certificate: x509.Certificate
    key: rsa.RSAPrivateKey
    path: Path

    @property
    def thumbprint(self) -> str:
        """The thumbprint by which OPC UA tools show it."""
        return thumbprint(self.certificate)

    @property
    def is_next(self) -> bool:
        """Whether the PLC has not accepted it yet."""
        return self.path.stem.endswith(_NEXT)

    def days(self, now: datetime) -> float:
        """Return the days to its end."""
        return (self.certificate.not_valid_after_utc - now) / timedelta(days=1)


@dataclass(frozen=True)
class CertificateSpec:
    """What the own certificate must contain; without `hosts` the names of the one before, else this machine's name."""

    application_uri: str
    hosts: tuple[str, ...] = ()
    renew_days: int = 60


class OwnCertificates:
    """The own certificates in a store."""

    def __init__(self, store: CertificateStore, spec: CertificateSpec) -> None:
        self._store = store
        self._spec = spec

    def identities(self, now: datetime) -> list[Identity]:
        """Return the identities to connect with, the best first: a renewed one before the one in use.

        Makes and renews what is due. Raises PkiUnusable.
        """
        self._store.prepare()
        with self._store.locked():
            found = self._present()
            current = next((one for one in found if not one.is_next), None)
            if current is None or self._spec.application_uri not in application_uris(current.certificate):
                return [self._replaced(current, found, now)]
            waiting = [one for one in found if one.is_next]
            reason = self._renewal(current, now)
            if reason and not any(self._renewal(one, now) is None for one in waiting):
                waiting = self._renewed(current, waiting, reason, now)
            usable = [] if current.days(now) <= 0 and waiting else [current]
            return [*waiting[:1], *usable]

    def in_use(self) -> list[Identity]:
        """Return the identity that the bridge connects with; nothing is made or renewed.

        For commands: a key made by another user could not be read by the bridge. Raises PkiUnusable.
        """
        found = self._present()
        if not found:
            raise PkiUnusable(
                f"the bridge has no certificate yet in {self._store.root}",
                remedy="start the bridge once, or call `lineside opcua trust own` as its user: they make one, which "
                "the PLC must then trust. To look into a PLC without security: --insecure",
            )
        return [one for one in found if not one.is_next][:1] or found[:1]

    def accepted(self, identity: Identity) -> None:
        """Use a renewed certificate from now on: the PLC has accepted it."""
        if not identity.is_next:
            return
        with self._store.locked():
            before = [one for one in self._present() if not one.is_next]
            self._store.move(identity.path, identity.path.with_name(identity.path.name.replace(f"{_NEXT}.", ".")))
            for old in before:
                self._retire(old)
        log.info("the PLC has accepted the renewed certificate of the bridge", thumbprint=identity.thumbprint)

    def present(self) -> list[Identity]:
        """Return the identities that exist, newest first; nothing is made."""
        return self._present()

    def _present(self) -> list[Identity]:
        paths = self._store.files(self._store.root / "own" / "certs")
        found = [self._load(path) for path in paths if not path.stem.endswith(_OLD)]
        return sorted(found, key=lambda one: one.certificate.not_valid_before_utc, reverse=True)

    def _load(self, path: Path) -> Identity:
        try:
            certificate = parse(self._store.read(path))[0]
        except ValueError as error:
            raise PkiUnusable(f"the own certificate {path} is damaged: {error}", remedy=_RESTORE) from None
        key_path = self._store.root / PRIVATE / f"{path.stem.removesuffix(_NEXT).removesuffix(_OLD)}.pem"
        key = load_key(self._store, key_path, open_to=0o077)
        if key.public_key() != certificate.public_key():
            raise PkiUnusable(f"the key {key_path} does not belong to the certificate {path}", remedy=_RESTORE)
        return Identity(certificate, key, path)

    def _renewal(self, current: Identity, now: datetime) -> str | None:
        """Return why a certificate is to be renewed, if it is."""
        missing = {host.lower() for host in self._spec.hosts} - set(hosts(current.certificate))
        if current.days(now) <= self._spec.renew_days:
            return f"it ends in {max(0.0, current.days(now)):.0f} days"
        if missing:
            return f"security.hosts names {', '.join(sorted(missing))}"
        return None

    def _renewed(self, current: Identity, waiting: Sequence[Identity], reason: str, now: datetime) -> list[Identity]:
        if not is_self_signed(current.certificate):
            log.warning("the bridge's own certificate must be renewed by who issued it", reason=reason)
            return []
        for old in waiting:
            self._retire(old)
        fresh = self._make(now, suffix=_NEXT, among=current.certificate)
        log.warning(
            "the bridge's own certificate is renewed; the old one stays in use until the PLC trusts the new one",
            reason=reason,
            file=str(fresh.path),
            thumbprint=fresh.thumbprint,
            remedy="trust it in the PLC; `lineside opcua trust own` shows and exports it",
        )
        return [fresh]

    def _replaced(self, current: Identity | None, found: Sequence[Identity], now: datetime) -> Identity:
        """Make the first certificate, or another one where the application URI has changed."""
        if current and not is_self_signed(current.certificate):
            raise PkiUnusable(
                f"the own certificate {current.path} is made for {', '.join(application_uris(current.certificate))}, "
                f"not for {self._spec.application_uri}",
                remedy="set opcua_bridge.security.application_uri to its URI, or have it issued anew",
            )
        fresh = self._retired(now) or self._make(now, suffix="", among=None)
        for old in found:
            self._retire(old)
        log.warning(
            "the bridge has made itself a certificate, or taken up an old one",
            application_uri=self._spec.application_uri,
            file=str(fresh.path),
            thumbprint=fresh.thumbprint,
            remedy="trust it in the PLC; `lineside opcua trust own` shows and exports it",
        )
        return fresh

    def _retired(self, now: datetime) -> Identity | None:
        """Use a replaced one again, where the settings have its application URI again: the PLC knows it."""
        for path in self._store.files(self._store.root / "own" / "certs"):
            if not path.stem.endswith(_OLD):
                continue
            with contextlib.suppress(PkiUnusable):  # a replaced one may be damaged: another is made
                old = self._load(path)
                fits = self._spec.application_uri in application_uris(old.certificate)
                if fits and self._renewal(old, now) is None:
                    target = path.with_name(f"{path.stem.removesuffix(_OLD)}{path.suffix}")
                    self._store.move(path, target)
                    return Identity(old.certificate, old.key, target)
        return None

    def _retire(self, identity: Identity) -> None:
        stem = identity.path.stem.removesuffix(_NEXT)
        self._store.move(identity.path, identity.path.with_name(f"{stem}{_OLD}{identity.path.suffix}"))

    def _make(self, now: datetime, *, suffix: str, among: x509.Certificate | None) -> Identity:
        names = self._spec.hosts or tuple(hosts(among) if among else ()) or (socket.gethostname(),)
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        certificate = application_certificate(key, self._spec.application_uri, names, now)
        name = f"opcua-bridge-{thumbprint(certificate)[:8]}"
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        key_path = self._store.root / PRIVATE / f"{name}.pem"
        path = self._store.root / "own" / "certs" / f"{name}{suffix}.der"
        self._store.write(key_path, pem, mode=0o600)
        try:
            self._store.write(path, der(certificate))
        except PkiUnusable:  # the next attempt makes another key: this one would be left over
            with contextlib.suppress(OSError):
                key_path.unlink()
            raise
        return Identity(certificate, key, path)


_RESTORE = (
    "restore both from a copy, or move own/certs and own/private away: the bridge then makes a new certificate, "
    "which the PLC must be made to trust"
)


def load_key(store: CertificateStore, path: Path, *, open_to: int) -> rsa.RSAPrivateKey:
    """Return a private key in PEM; raises PkiUnusable, also where it is open to others (`open_to`: mode bits)."""
    data = store.read(path)
    mode = path.stat().st_mode & 0o777
    if mode & open_to:
        raise PkiUnusable(
            f"the private key {path} is open to others (mode {mode:03o})",
            remedy=f"chmod 600 {path}; if somebody may have read it, make another",
        )
    try:
        key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError) as error:
        raise PkiUnusable(f"the private key {path} is damaged: {str(error).splitlines()[0]}", remedy=_RESTORE) from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise PkiUnusable(f"the private key {path} is not RSA", remedy="OPC UA's policies here need RSA of 2048 bits")
    return key


def application_certificate(
    key: rsa.RSAPrivateKey, application_uri: str, names: Sequence[str], now: datetime
) -> x509.Certificate:
    """Return a self-signed certificate of an OPC UA client application, as OPC 10000-6, 6.2.2 asks."""
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, "Lineside opcua-bridge"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Lineside"),
            x509.NameAttribute(NameOID.DOMAIN_COMPONENT, names[0][:_COMMON_NAME_CHARACTERS]),
        ]
    )
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + VALID)
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.UniformResourceIdentifier(application_uri), *(_general_name(host) for host in names)]
            ),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,
                content_commitment=True,
                key_encipherment=True,
                data_encipherment=True,
                key_agreement=False,
                key_cert_sign=True,  # required of self-signed certificates by OPC 10000-6
                crl_sign=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(identifier, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)
