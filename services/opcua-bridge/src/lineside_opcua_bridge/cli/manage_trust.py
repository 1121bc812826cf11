"""The work of `lineside opcua trust`: on files only, without a connection to the PLC."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import typer
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

import lineside.settings
from lineside.contract import utc_now
from lineside.errors import LinesideError, SettingsError
from lineside_opcua_bridge.cli.tables import show as write
from lineside_opcua_bridge.cli.tables import show_json, table
from lineside_opcua_bridge.security import own_of
from lineside_opcua_bridge.security.certificates import (
    application_uris,
    hosts,
    is_authority,
    parse,
    sha256,
    subject,
    thumbprint,
)
from lineside_opcua_bridge.security.store import CertificateStore, StoredCertificate
from lineside_opcua_bridge.security.validation import validate
from lineside_opcua_bridge.settings import OpcuaBridgeSettings, Settings

GROUPS = ("trusted", "issuers", "rejected")
_MIN_DIGITS = 4
_DIGITS = frozenset("0123456789ABCDEF")


class HeldCertificate(NamedTuple):
    """A certificate and the group that it is in."""

    group: str
    held: StoredCertificate


@dataclass(frozen=True)
class PkiContext:
    """The bridge's settings and its certificate store."""

    settings: OpcuaBridgeSettings
    thing: str
    store: CertificateStore


def run(config: Path | None, work: Callable[[PkiContext], None]) -> None:
    """Run a command's work; exit status 1 where it fails, 2 where the settings are wrong."""
    try:
        settings = lineside.settings.load(Settings, file=config)
    except SettingsError as error:
        sys.stderr.write("".join(f"{problem}\n" for problem in error.problems))
        raise typer.Exit(2) from None
    own = settings.opcua_bridge
    try:
        work(PkiContext(own, settings.thing, CertificateStore(own.security.pki_dir)))
    except LinesideError as error:
        sys.stderr.write(f"{error}\n")
        raise typer.Exit(1) from None


def show_all(pki: PkiContext, *, as_json: bool) -> None:
    """Print every certificate by group."""
    found = [(group, held) for group in GROUPS for held in pki.store.held(group)]
    if as_json:
        show_json([{"group": group, **_facts(held.certificate), "file": str(held.path)} for group, held in found])
        return
    rows = [[group, held.thumbprint, subject(held.certificate), _end(held.certificate)] for group, held in found]
    write(table(["GROUP", "THUMBPRINT", "SUBJECT", "VALID UNTIL"], rows) if rows else f"none in {pki.store.root}\n")


def show(pki: PkiContext, text: str, *, as_json: bool) -> None:
    """Print one certificate."""
    group, held = _one(pki.store, text, GROUPS)
    refused = _refused(pki, held.certificate)
    if as_json:
        show_json({"group": group, **_facts(held.certificate), "file": str(held.path), "refused": refused})
        return
    facts = {**_facts(held.certificate), "file": str(held.path), "group": group}
    _print(facts)
    for reason in refused:
        write(f"refused: {reason}\n")


def add(pki: PkiContext, text: str, *, group: str) -> None:
    """Take a certificate, by its thumbprint or from a file, into a group."""
    pki.store.prepare()
    if Path(text).is_file():
        try:
            certificate = parse(pki.store.read(Path(text)))[0]
        except ValueError as error:
            raise LinesideError(f"{text} is no certificate: {error}", remedy="give a PEM or DER file") from None
    else:
        certificate = _one(pki.store, text, ("rejected", "issuers")).held.certificate
    if group == "issuers" and not is_authority(certificate):
        raise LinesideError(
            f"{thumbprint(certificate)} ({subject(certificate)}) is no authority: it cannot complete a chain",
            remedy="leave out --issuer to trust it itself",
        )
    path = pki.store.add(group, certificate)
    write(f"{group}: {thumbprint(certificate)} ({subject(certificate)}) in {path}\n")
    if group == "trusted" and not is_authority(certificate):
        for reason in _refused(pki, certificate):
            sys.stderr.write(f"it is trusted, but still refused: {reason}\n")


def remove(pki: PkiContext, text: str) -> None:
    """Trust a certificate no more."""
    group, held = _one(pki.store, text, ("trusted", "issuers"))
    pki.store.remove(held)
    write(f"no longer {group}: {held.thumbprint} ({subject(held.certificate)})\n")
    write("a session that stands goes on until it ends: restart the bridge to end it now\n")


def own(pki: PkiContext, *, export: Path | None, as_json: bool) -> None:
    """Print the own certificates, the one to trust next first; write that to a file."""
    now = utc_now()
    kept = own_of(pki.settings, thing=pki.thing)
    identities = kept.present() or kept.identities(now)  # printing it must not replace the one that the bridge uses
    if export:
        encoding = Encoding.PEM if export.suffix.lower() == ".pem" else Encoding.DER
        pki.store.write(export, identities[0].certificate.public_bytes(encoding))
    kinds = ["next" if identity.is_next else "in use" for identity in identities]
    if as_json:
        show_json(
            [
                {"state": kind, **_facts(one.certificate), "days": round(one.days(now), 1), "file": str(one.path)}
                for kind, one in zip(kinds, identities, strict=True)
            ]
        )
        return
    for kind, one in zip(kinds, identities, strict=True):
        _print({"state": kind, **_facts(one.certificate), "days": f"{one.days(now):.0f}", "file": str(one.path)})
    write(
        f"In the PLC: import {export or identities[0].path} as a trusted client, or let the bridge connect once and "
        "move the certificate with this thumbprint from its rejected to its trusted ones.\n"
    )


def _one(store: CertificateStore, text: str, groups: tuple[str, ...]) -> HeldCertificate:
    """Return the only certificate whose thumbprint begins so; raises LinesideError."""
    wanted = text.upper().replace(":", "").replace(" ", "")
    if len(wanted) < _MIN_DIGITS or not set(wanted) <= _DIGITS:
        raise LinesideError(
            f"{text!r} is neither a file nor the beginning of a thumbprint",
            remedy=f"give at least {_MIN_DIGITS} of its digits as `lineside opcua trust list` shows them",
        )
    found = [
        HeldCertificate(group, held)
        for group in groups
        for held in store.held(group)
        if held.thumbprint.startswith(wanted)
    ]
    if len({each.held.certificate for each in found}) > 1:
        names = ", ".join(each.held.thumbprint for each in found)
        raise LinesideError(f"{text} is the beginning of more than one: {names}", remedy="give more digits")
    if not found:
        raise LinesideError(
            f"no certificate {text} among the {' and '.join(groups)} ones in {store.root}",
            remedy="`lineside opcua trust list` shows all; a PLC's is there once the bridge has tried to connect",
        )
    return found[0]


def _refused(pki: PkiContext, certificate: x509.Certificate) -> list[str]:
    host = urlsplit(pki.settings.endpoint).hostname or ""
    validation = validate([certificate], pki.store.trust_list(), application_uri=None, host=host, now=utc_now())
    return [f"{each.cause}: {each.what}" for each in validation.objections]


def _facts(certificate: x509.Certificate) -> dict[str, Any]:
    return {
        "thumbprint": thumbprint(certificate),
        "sha256": sha256(certificate),
        "subject": subject(certificate),
        "issuer": certificate.issuer.rfc4514_string(),
        "application_uri": next(iter(application_uris(certificate)), None),
        "hosts": hosts(certificate),
        "authority": is_authority(certificate),
        "not_before": certificate.not_valid_before_utc.isoformat(),
        "not_after": certificate.not_valid_after_utc.isoformat(),
    }


def _print(facts: dict[str, Any]) -> None:
    width = max(map(len, facts))
    for name, value in facts.items():
        shown = ", ".join(value) if isinstance(value, list) else "-" if value is None else str(value)
        write(f"{name.ljust(width)}  {shown}\n")


def _end(certificate: x509.Certificate) -> str:
    end = certificate.not_valid_after_utc
    return f"{end:%Y-%m-%d}" + (" (ended)" if end < utc_now() else "")
