"""Validates a PLC's certificate by OPC 10000-4, 6.1.3. Pure.

Where the standard leaves the choice to the application:

- **Host name.** A certificate that is trusted itself was checked by a person: another host name is a warning. One that
  is trusted through an authority must name the host, because an authority signs for many.
- **Revocation.** A certificate on a list is refused. An authority without a list, or with an old one, is a warning:
  most plants have none, and a line must not stop because a list was not renewed.
- **Chain.** A certificate that is trusted itself needs no issuers.
- **Key usage.** An extension that the certificate does not have restricts nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from lineside_opcua_bridge.security.certificates import (
    application_uris,
    extension,
    hosts,
    is_authority,
    is_issued_by,
    is_self_signed,
    subject,
)

KEY_BITS = range(2048, 4097)
"""RSA key lengths that all three policies allow (OPC 10000-7)."""

_HASHES = frozenset({"sha256", "sha384", "sha512"})
_LONGEST_CHAIN = 10
_ENDS_SOON = timedelta(days=30)

_TRUST = "look at it by `lineside opcua trust show {0}`; if it is the PLC's, `lineside opcua trust add {0}`"


@dataclass(frozen=True)
class TrustList:
    """OPC UA's TrustList: trusted PLCs and authorities, issuers that complete chains, revocation lists."""

    trusted: Sequence[x509.Certificate] = ()
    issuers: Sequence[x509.Certificate] = ()
    crls: Sequence[x509.CertificateRevocationList] = ()


@dataclass(frozen=True)
class Objection:
    """Why a certificate is refused; `cause` is the status code's name, `{0}` in `remedy` its thumbprint."""

    cause: str
    what: str
    remedy: str


@dataclass(frozen=True)
class Validation:
    """The result: any objection refuses the certificate; warnings are only logged."""

    objections: tuple[Objection, ...]
    warnings: tuple[str, ...] = ()


def validate(
    sent: Sequence[x509.Certificate], trust_list: TrustList, *, application_uri: str | None, host: str, now: datetime
) -> Validation:
    """Return the result for a certificate and the issuers sent with it.

    `application_uri` and `host` are those of the server that sent it; without a URI none is compared.
    """
    leaf, *more = sent
    host = host.lower()
    pinned = leaf in trust_list.trusted
    chain = _chain(leaf, more, trust_list)
    objections = [*_policy(leaf), *_time(leaf, now), *_uri(leaf, application_uri), *_usage(leaf)]
    warnings: list[str] = []
    if not pinned:
        objections += _trust(chain, trust_list, now)
    objections += _revoked(chain, trust_list)
    if not pinned:
        warnings += _unknown_revocation(chain, trust_list, now)
    if host not in hosts(leaf):
        named = ", ".join(hosts(leaf)) or "no host at all"
        text = f"it is made for {named}, not for {host}"
        if pinned or not chain[1:]:
            warnings.append(text)
        else:
            objections.append(
                Objection(
                    "BadCertificateHostNameInvalid",
                    text,
                    "connect by a name in it, or trust this very certificate: `lineside opcua trust add {0}`",
                )
            )
    if now < leaf.not_valid_after_utc < now + _ENDS_SOON:
        warnings.append(f"it ends {_day(leaf.not_valid_after_utc)}: renew the PLC's certificate before")
    return Validation(tuple(objections), tuple(warnings))


def _chain(leaf: x509.Certificate, more: Sequence[x509.Certificate], trust_list: TrustList) -> list[x509.Certificate]:
    """Return the leaf and the authorities above it: from the trust list first, else as they were sent."""
    chain = [leaf]
    candidates = [*trust_list.trusted, *trust_list.issuers, *more]
    while len(chain) < _LONGEST_CHAIN and not is_self_signed(chain[-1]):
        issuer = next(
            (one for one in candidates if one not in chain and is_authority(one) and is_issued_by(chain[-1], one)), None
        )
        if issuer is None:
            break
        chain.append(issuer)
    return chain


def _trust(chain: Sequence[x509.Certificate], trust_list: TrustList, now: datetime) -> Iterator[Objection]:
    authorities = chain[1:]
    if not any(one in trust_list.trusted for one in authorities):
        yield Objection("BadCertificateUntrusted", "nobody has said that it is trusted", _TRUST)
        return
    if not is_self_signed(chain[-1]):
        yield Objection(
            "BadCertificateChainIncomplete",
            f"the issuer of {subject(chain[-1])} is not known",
            f"put the certificate of {chain[-1].issuer.rfc4514_string()} into issuers/certs: "
            "`lineside opcua trust add --issuer FILE`",
        )
    for place, authority in enumerate(authorities):
        if not authority.not_valid_before_utc <= now <= authority.not_valid_after_utc:
            yield Objection(
                "BadCertificateIssuerTimeInvalid",
                f"its authority {subject(authority)} is valid from {_day(authority.not_valid_before_utc)} "
                f"to {_day(authority.not_valid_after_utc)} only",
                f"renew the authority, or set this machine's clock, which says {_day(now)}",
            )
        constraints = extension(authority, x509.BasicConstraints)
        if constraints and constraints.path_length is not None and place > constraints.path_length:
            yield Objection(
                "BadCertificateInvalid",
                f"its authority {subject(authority)} may not stand {place} steps above it",
                "have the PLC's certificate issued by an authority that may issue it",
            )
        yield from _policy(authority, whose=f"its authority {subject(authority)}")


def _policy(certificate: x509.Certificate, whose: str = "it") -> Iterator[Objection]:
    key = certificate.public_key()
    remedy = "renew it with RSA of 2048 to 4096 bits and SHA-256"
    if not isinstance(key, rsa.RSAPublicKey):
        yield Objection("BadCertificatePolicyCheckFailed", f"{whose} has a key that is not RSA", remedy)
    elif key.key_size not in KEY_BITS:
        yield Objection(
            "BadCertificatePolicyCheckFailed", f"{whose} has a key of {key.key_size} bits, not 2048 to 4096", remedy
        )
    algorithm = certificate.signature_hash_algorithm
    if algorithm is None or algorithm.name not in _HASHES:
        name = algorithm.name if algorithm else "an unknown algorithm"
        yield Objection("BadCertificatePolicyCheckFailed", f"{whose} is signed with {name}", remedy)


def _time(leaf: x509.Certificate, now: datetime) -> Iterator[Objection]:
    if leaf.not_valid_before_utc <= now <= leaf.not_valid_after_utc:
        return
    yield Objection(
        "BadCertificateTimeInvalid",
        f"it is valid from {_day(leaf.not_valid_before_utc)} to {_day(leaf.not_valid_after_utc)} only",
        f"renew the PLC's certificate, or set this machine's clock, which says {_day(now)}",
    )


def _uri(leaf: x509.Certificate, application_uri: str | None) -> Iterator[Objection]:
    named = application_uris(leaf)
    if application_uri is None or application_uri in named:
        return
    yield Objection(
        "BadCertificateUriInvalid",
        f"it is made for the application {', '.join(named) or 'of no URI'}, but the server calls itself "
        f"{application_uri or 'nothing'}",
        "renew the PLC's certificate with its own application URI",
    )


def _usage(leaf: x509.Certificate) -> Iterator[Objection]:
    usage = extension(leaf, x509.KeyUsage)
    purposes = extension(leaf, x509.ExtendedKeyUsage)
    allowed = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
    missing = []
    if usage and not usage.digital_signature:
        missing.append("digitalSignature")
    if usage and not (usage.key_encipherment or usage.data_encipherment):
        missing.append("keyEncipherment and dataEncipherment")
    if purposes and not allowed & set(purposes):
        missing.append("serverAuth")
    if missing:
        yield Objection(
            "BadCertificateUseNotAllowed",
            f"it may not be used for {', '.join(missing)}",
            "renew the PLC's certificate as that of an OPC UA server",
        )


def _revoked(chain: Sequence[x509.Certificate], trust_list: TrustList) -> Iterator[Objection]:
    for certificate in chain:
        for crl in _lists(certificate, chain, trust_list):
            if crl.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None:
                yield Objection(
                    "BadCertificateRevoked",
                    f"{certificate.issuer.rfc4514_string()} has revoked {subject(certificate)}",
                    "renew the PLC's certificate",
                )


def _unknown_revocation(chain: Sequence[x509.Certificate], trust_list: TrustList, now: datetime) -> Iterator[str]:
    for certificate in chain:
        if is_self_signed(certificate):
            continue
        lists = _lists(certificate, chain, trust_list)
        issuer = certificate.issuer.rfc4514_string()
        if not lists:
            yield f"whether it is revoked is not known: there is no revocation list of {issuer}"
        elif not any(crl.next_update_utc is None or crl.next_update_utc > now for crl in lists):
            yield f"whether it is revoked is not sure: the revocation list of {issuer} is old"


def _lists(
    certificate: x509.Certificate, chain: Sequence[x509.Certificate], trust_list: TrustList
) -> list[x509.CertificateRevocationList]:
    """Return the revocation lists that its issuer has signed."""
    issuers = [one for one in (*chain, *trust_list.trusted, *trust_list.issuers) if one.subject == certificate.issuer]
    return [
        crl
        for crl in trust_list.crls
        if crl.issuer == certificate.issuer and any(_signed(crl, issuer) for issuer in issuers)
    ]


def _signed(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    key = issuer.public_key()
    return isinstance(key, rsa.RSAPublicKey) and crl.is_signature_valid(key)


def _day(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M} UTC"
