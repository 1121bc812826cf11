"""The secure channel to the PLC, and the user who logs in over it.

`certificates`, `validation` and `endpoints` are pure. `store`, `own_certificate` and `users` read and write files:
trusted, rejected and own certificates, passwords. `client` extends asyncua, `error_mapping` says what its errors mean,
and `metrics` shows the state.
"""

import asyncio
import contextlib
from urllib.parse import urlsplit

import structlog
from asyncua import ua
from asyncua.client.client import Client
from cryptography import x509

from lineside.contract import utc_now
from lineside_opcua_bridge.security.certificates import parse, subject, thumbprint
from lineside_opcua_bridge.security.client import SecureClient, plain_client
from lineside_opcua_bridge.security.endpoints import choose, token_policies
from lineside_opcua_bridge.security.error_mapping import CERTIFICATE_REASONS, refusal
from lineside_opcua_bridge.security.errors import (
    AccessRefused,
    CertificateRejected,
    LogInRefused,
    PkiUnusable,
    SecurityError,
)
from lineside_opcua_bridge.security.metrics import register_metrics
from lineside_opcua_bridge.security.own_certificate import CertificateSpec, Identity, OwnCertificates
from lineside_opcua_bridge.security.store import CertificateStore
from lineside_opcua_bridge.security.users import certificate_of, password_of
from lineside_opcua_bridge.security.validation import validate
from lineside_opcua_bridge.settings import OpcuaBridgeSettings
from lineside_opcua_bridge.settings.access import AccessSettings, CertificateUser, PasswordUser

__all__ = [
    "LogInRefused",
    "client_for",
    "describe",
    "endpoints_of",
    "is_insecure",
    "keep_certificate",
    "own_of",
    "refusal",
    "register_metrics",
]

log = structlog.get_logger("lineside.opcua_bridge.security")

_RENEWAL_CHECK_S = 3600.0


def is_insecure(access: AccessSettings) -> bool:
    """Whether nothing to or from the PLC is protected."""
    return access.security.policy == "none"


def describe(access: AccessSettings) -> str:
    """Return the security and the user of the connection in words, for /readyz."""
    user = access.user
    who = f"user {user.name}" if isinstance(user, PasswordUser) else f"{user.kind} user"
    if is_insecure(access):
        return f"INSECURE: nothing is signed or encrypted, {who}"
    return f"{access.security.policy}, {access.security.mode}, {who}"


def own_of(access: AccessSettings, *, thing: str) -> OwnCertificates:
    """Return the bridge's own certificates."""
    security = access.security
    return OwnCertificates(
        CertificateStore(security.pki_dir), CertificateSpec(_uri(access, thing), security.hosts, security.renew_days)
    )


async def endpoints_of(settings: OpcuaBridgeSettings, *, thing: str) -> list[ua.EndpointDescription]:
    """Return the endpoints that the server offers, over an unsecured channel: they may be forged.

    Raises OSError, TimeoutError or UaError where it does not answer.
    """
    client = plain_client(settings, _uri(settings, thing))
    async with asyncio.timeout(settings.request_timeout_ms / 1000):
        return list(await client.connect_and_get_server_endpoints())


async def client_for(settings: OpcuaBridgeSettings, *, thing: str, read_only: bool = False) -> Client:
    """Return a client for the PLC, not connected yet, with the security and the user of the settings.

    Own certificates are made and renewed here; with `read_only` the one that is there is used. The server's certificate
    is validated here too, by the files as they are now. Raises SecurityError with a remedy; OSError, TimeoutError or
    UaError where the server does not answer.
    """
    if is_insecure(settings):
        return plain_client(settings, _uri(settings, thing))
    own = own_of(settings, thing=thing)
    identities = [] if read_only else await asyncio.to_thread(own.identities, utc_now())
    host = urlsplit(settings.endpoint).hostname or ""
    endpoint = choose(await endpoints_of(settings, thing=thing), settings, host=host)
    token_policies(endpoint, settings)  # raises now rather than after the whole handshake
    if read_only:
        identities = await asyncio.to_thread(own.in_use)
    server = await asyncio.to_thread(_validated, settings, endpoint, host)

    def client(identity: Identity) -> SecureClient:
        uri, server_uri = _uri(settings, thing), str(endpoint.Server.ApplicationUri)
        return SecureClient(settings, uri, server, identity, uri_before=server_uri)

    identity = identities[-1]
    if identities[0].is_next and (len(identities) == 1 or await _accepts(client(identities[0]), settings)):
        identity = identities[0]
    prepared = client(identity)
    await asyncio.to_thread(_log_in, prepared, settings)
    if identity.is_next and len(identities) > 1:
        await asyncio.to_thread(own.accepted, identity)
    return prepared


async def keep_certificate(settings: AccessSettings, *, thing: str) -> None:
    """Renew the own certificate in time, also while a session lasts for months; runs for ever."""
    while True:
        try:
            await asyncio.to_thread(own_of(settings, thing=thing).identities, utc_now())
        except SecurityError as error:
            log.warning("the own certificate cannot be kept", error=error.what, remedy=error.remedy)
        await asyncio.sleep(_RENEWAL_CHECK_S)


def _uri(access: AccessSettings, thing: str) -> str:
    return access.security.application_uri or f"urn:lineside:{thing}:opcua-bridge"


def _validated(settings: AccessSettings, endpoint: ua.EndpointDescription, host: str) -> x509.Certificate:
    """Return the server's certificate where it is accepted; else keep it as rejected and raise CertificateRejected."""
    try:
        sent = parse(endpoint.ServerCertificate or b"")
    except ValueError as error:
        raise CertificateRejected(
            f"what the PLC sends is no certificate: {error}",
            remedy="renew the PLC's certificate",
            thumbprint="",
            causes=("BadCertificateInvalid",),
        ) from None
    store = CertificateStore(settings.security.pki_dir)
    uri = endpoint.Server.ApplicationUri or ""
    validation = validate(sent, store.trust_list(), application_uri=uri, host=host, now=utc_now())
    leaf = sent[0]
    name = thumbprint(leaf)
    if not validation.objections:
        for doubt in validation.warnings:
            log.warning("the PLC's certificate is in doubt", subject=subject(leaf), thumbprint=name, doubt=doubt)
        return leaf
    kept = ""
    try:
        store.reject(leaf)
    except PkiUnusable as error:
        kept = f"; it could not be kept: {error.what}"
    raise CertificateRejected(
        f"the PLC's certificate {name} ({subject(leaf)}) is not accepted: "
        f"{'; '.join(objection.what for objection in validation.objections)}{kept}",
        remedy="; ".join(dict.fromkeys(objection.remedy.format(name) for objection in validation.objections)),
        thumbprint=name,
        causes=tuple(objection.cause for objection in validation.objections),
    )


def _log_in(client: Client, settings: AccessSettings) -> None:
    """Set the user of the settings on the client; raises SecretUnusable."""
    if isinstance(settings.user, PasswordUser):
        client.set_user(settings.user.name)
        client.set_password(password_of(settings.user))
    elif isinstance(settings.user, CertificateUser):
        client.user_certificate, client.user_private_key = certificate_of(settings.user)


async def _accepts(client: SecureClient, settings: AccessSettings) -> bool:
    """Whether the PLC accepts a renewed certificate: a channel and a session are opened with it, without a user."""
    try:
        await client.connect_sessionless()
        try:
            await client.create_session()
            with contextlib.suppress(Exception):  # it is accepted, however the session is closed
                await client.close_session()
        finally:
            with contextlib.suppress(Exception):
                await client.disconnect_sessionless()
    except Exception as error:  # noqa: BLE001 - whatever it is, the certificate in use is tried next
        refused = refusal(error, settings)
        if isinstance(refused, AccessRefused) and refused.reason in CERTIFICATE_REASONS:
            log.warning("the PLC does not accept the renewed certificate yet", remedy=refused.remedy)
        return False
    return True
