"""Checks the connection to the PLC's server: its address, its endpoints, both certificates, the user."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from urllib.parse import urlsplit

from asyncua import ua
from cryptography import x509

from lineside.checks import Check, bounded, fail, ok, skip, warn
from lineside.errors import LinesideError
from lineside_opcua_bridge.link.session import Session
from lineside_opcua_bridge.security import describe, endpoints_of, is_insecure, own_of
from lineside_opcua_bridge.security.certificates import parse, subject
from lineside_opcua_bridge.security.endpoints import choose
from lineside_opcua_bridge.security.error_mapping import CERTIFICATE_REASONS
from lineside_opcua_bridge.security.errors import AccessRefused, CertificateRejected, PkiUnusable, SecretUnusable
from lineside_opcua_bridge.settings import OpcuaBridgeSettings

NETWORK, OFFERS, OWN = "PLC network", "PLC offers", "own certificate"
PLC_CERTIFICATE, SESSION = "PLC certificate", "PLC session"
_CONNECT_S = 3.0
_SOON_DAYS = 30


async def checks(
    own: OpcuaBridgeSettings, thing: str, session: Session, *, now: Callable[[], datetime]
) -> AsyncIterator[Check]:
    """Yield the checks; after the last one without a failure the session is open."""
    steps = [OFFERS, OWN, PLC_CERTIFICATE, SESSION]
    remedy = "is opcua_bridge.endpoint right, does the PLC's server run, and does a firewall let us through?"
    reached = await bounded(NETWORK, partial(_reach, own), within_s=_CONNECT_S, remedy=remedy)
    yield reached
    offered: list[ua.EndpointDescription] = []
    if reached.mark == "ok":
        offers = await bounded(
            steps.pop(0), partial(_offers, own, thing, offered), within_s=own.request_timeout_ms / 1000, remedy=remedy
        )
        yield offers
        identity = await asyncio.to_thread(_own_certificate, own, thing, now())
        yield identity
        steps.pop(0)
        if "fail" not in {offers.mark, identity.mark}:
            steps.clear()
            async for check in _enter(own, session, _certificate(offered, own), now()):
                yield check
    for name in steps:
        yield skip(name, "needs what failed before")


async def _reach(own: OpcuaBridgeSettings) -> Check:
    where = urlsplit(own.endpoint)
    _reader, writer = await asyncio.open_connection(where.hostname, where.port)
    writer.close()
    return ok(NETWORK, f"{own.endpoint} takes connections")


async def _offers(own: OpcuaBridgeSettings, thing: str, offered: list[ua.EndpointDescription]) -> Check:
    offered += await endpoints_of(own, thing=thing)
    if not is_insecure(own):
        host = urlsplit(own.endpoint).hostname or ""
        offered[:] = [choose(offered, own, host=host)]
        return ok(OFFERS, describe(own))
    named = sorted({str(each.SecurityPolicyUri).rpartition("#")[2] for each in offered} - {"None"})
    remedy = f"it offers {', '.join(named)}: set opcua_bridge.security.policy" if named else "switch security on in it"
    return warn(OFFERS, describe(own), remedy)


def _own_certificate(own: OpcuaBridgeSettings, thing: str, now: datetime) -> Check:
    """Check the own certificate without making one."""
    if is_insecure(own):
        return skip(OWN, "not needed without security")
    try:
        present = own_of(own, thing=thing).present()
    except PkiUnusable as error:
        return fail(OWN, error.what, error.remedy)
    in_use = [one for one in present if not one.is_next]
    if not in_use:
        remedy = "start the opcua-bridge once: it makes one, which the PLC must then be made to trust"
        return fail(OWN, f"there is none yet in {own.security.pki_dir}", remedy)
    days = in_use[0].days(now)
    said = f"{in_use[0].path.name} {in_use[0].thumbprint}, {days:.0f} days left"
    if len(present) > len(in_use):
        remedy = "trust it in the PLC; `lineside opcua trust own` shows and exports it"
        return warn(OWN, f"{said}; a renewed one waits for the PLC to trust it", remedy)
    return ok(OWN, said) if days > 0 else fail(OWN, said, "start the opcua-bridge: it renews it")


def _certificate(offered: Sequence[ua.EndpointDescription], own: OpcuaBridgeSettings) -> x509.Certificate | None:
    if is_insecure(own) or not offered:
        return None
    try:
        return parse(offered[0].ServerCertificate or b"")[0]
    except (ValueError, IndexError):
        return None  # opening the session tells what is wrong with it


async def _enter(
    own: OpcuaBridgeSettings, session: Session, certificate: x509.Certificate | None, now: datetime
) -> AsyncIterator[Check]:
    """Open the session: one attempt checks both certificates and the user."""
    who = describe(own)
    try:
        await session.open()
    except CertificateRejected as error:
        yield fail(PLC_CERTIFICATE, error.what, error.remedy)
        yield skip(SESSION, "needs what failed before")
    except (AccessRefused, SecretUnusable) as error:
        ours = isinstance(error, AccessRefused) and error.reason in CERTIFICATE_REASONS
        yield skip(PLC_CERTIFICATE, "the PLC refused us first") if ours else _trusted(certificate, now)
        yield fail(SESSION, error.what, error.remedy)
    except LinesideError as error:
        yield skip(PLC_CERTIFICATE, "no session")
        yield fail(SESSION, error.what, error.remedy or "see the log of the PLC's server; is it out of sessions?")
    else:
        yield _trusted(certificate, now)
        yield ok(SESSION, f"open as {who}")


def _trusted(certificate: x509.Certificate | None, now: datetime) -> Check:
    if certificate is None:
        return skip(PLC_CERTIFICATE, "not looked at without security")
    days = (certificate.not_valid_after_utc - now) / timedelta(days=1)
    said = f"{subject(certificate)}, trusted, {days:.0f} days left"
    return ok(PLC_CERTIFICATE, said) if days > _SOON_DAYS else warn(PLC_CERTIFICATE, said, "renew it in the PLC")
