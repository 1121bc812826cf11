"""The certificates that the settings name, and the broker's own: there, and not at their end.

The PLC's and ours for it have checks of their own.
"""

import re
import socket
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lineside.bus import tls
from lineside.checks import Check, fail, ok, skip, warn
from lineside.contract import utc_now
from lineside.secrecy import files
from lineside.settings import BusSettings, Settings

CERTIFICATES = "certificates"

CONNECT_S = 2.0
_SOON = timedelta(days=30)
_TRUST, _OWN = "ca_file", "cert_file"
FILES = frozenset({_TRUST, _OWN})
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_VALIDITY = re.compile(
    rb"\x30[\x1e\x20\x22](?:\x17\x0d[0-9]{12}Z|\x18\x0f[0-9]{14}Z)(?:\x17\x0d([0-9]{12})Z|\x18\x0f([0-9]{14})Z)"
)
"""notBefore and notAfter in DER: a sequence of two times, in two forms. Source: RFC 5280, 4.1.2.5."""
_CENTURY = 50
"""Years of two digits below it are of this century, as RFC 5280 has it."""


def look(settings: Sequence[Settings]) -> Check:
    """Read every certificate that the settings name, and ask the broker for its own where it is spoken to by TLS."""
    found: dict[str, datetime | str] = {}
    for name, path in {name: path for each in settings for name, path in files(each, FILES)}.items():
        found[f"{name} {path}"] = ends(path, last=name.endswith(_TRUST))
    if settings and settings[0].bus.tls is not None:
        found["the broker's"] = _broker(settings[0].bus)
    return judge(found, utc_now())


def judge(found: dict[str, datetime | str], now: datetime) -> Check:
    """Judge ends, or in words why there is none, by what they are the ends of."""
    if not found:
        return skip(CERTIFICATES, "the settings name none besides the PLC's")
    wrong = [f"{name}: {end}" for name, end in found.items() if isinstance(end, str)]
    wrong += [
        f"{name}: ended {end:%Y-%m-%d}" for name, end in found.items() if isinstance(end, datetime) and end <= now
    ]
    if wrong:
        return fail(CERTIFICATES, "; ".join(wrong), "renew it, or set this machine's clock")
    left = {name: (end - now) for name, end in found.items() if isinstance(end, datetime)}
    what = "; ".join(f"{name}: {each.days} days left" for name, each in left.items())
    return warn(CERTIFICATES, what, "renew it in time") if min(left.values()) < _SOON else ok(CERTIFICATES, what)


def ends(path: Path, *, last: bool) -> datetime | str:
    """Return when a file's first certificate ends, the last end of all where they are only trusted; else why not."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    try:
        found = [end_of(ssl.PEM_cert_to_DER_cert(each)) for each in _PEM.findall(text)]
    except ValueError as error:
        return str(error)
    if not found:
        return "holds no certificate in PEM"
    return max(found) if last else found[0]


def end_of(der: bytes) -> datetime:
    """Return the end of a certificate in DER; raises ValueError where it is none."""
    validity = _VALIDITY.search(der)
    if validity is None:
        raise ValueError("holds what is no certificate")
    text = (validity[1] or validity[2]).decode("ascii")
    if validity[1]:
        text = ("20" if int(text[:2]) < _CENTURY else "19") + text
    return datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=UTC)


def _broker(bus: BusSettings) -> datetime | str:
    if bus.tls is None:
        return "no TLS"
    try:
        with (
            socket.create_connection((bus.host, bus.port), CONNECT_S) as plain,
            tls.context(bus.tls, bus.port).wrap_socket(plain, server_hostname=bus.host) as secured,
        ):
            return end_of(secured.getpeercert(binary_form=True) or b"")
    except ssl.SSLCertVerificationError as error:
        return f"is refused: {error.verify_message}"
    except (OSError, ValueError) as error:
        return f"not seen: {error}"
