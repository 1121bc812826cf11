"""Addresses in settings: of a host, of a port there, of a service; none of them with a user name or a password."""

import ipaddress
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator

_MAX_PORT = 65535


def _no_secret(text: str) -> None:
    if "@" in text:
        raise ValueError("the address holds a user name or password: settings files are no place for secrets")


def _host(text: str) -> str:
    _no_secret(text)
    if not text or "/" in text or any(character.isspace() for character in text):
        raise ValueError("expected a host name or address alone, without a scheme or a path")
    if text.count(":") == 1:
        raise ValueError("expected a host name or address alone; the port is a setting of its own")
    return text


def _host_and_port(text: str) -> str:
    _no_secret(text)
    try:
        parts = urlsplit(f"//{text}")
        is_one = bool(parts.hostname) and bool(parts.port) and parts.netloc == text and " " not in text
    except ValueError:
        is_one = False
    if not is_one:
        raise ValueError(f"expected <host>:<port>, the port from 1 to {_MAX_PORT}")
    return text


def _http(text: str) -> SplitResult | None:
    """Return the parts of an http(s) address with a host, None where it is none; raises ValueError for a secret."""
    _no_secret(text)
    try:
        parts = urlsplit(text)
        is_one = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return parts if is_one else None


def _base(text: str) -> str:
    parts = _http(text)
    if parts is None or " " in text or text != f"{parts.scheme}://{parts.netloc}":
        raise ValueError("is no base address: expected http://<host>:<port>, and nothing behind it")
    return text


def _endpoint(text: str) -> str:
    if _http(text) is None or not text.isascii() or any(each.isspace() or each in "?#" for each in text):
        raise ValueError("is no endpoint: expected http(s)://<host>[:<port>][/<path>], without ? and #")
    return text


def is_address(host: str) -> bool:
    """Whether a host is an IP address, not a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


Host = Annotated[str, AfterValidator(_host)]
"""A host name or an address, IPv6 without brackets."""

HostAndPort = Annotated[str, AfterValidator(_host_and_port)]
"""`<host>:<port>`, IPv6 in brackets."""

EndpointUrl = Annotated[str, AfterValidator(_endpoint)]
"""`http(s)://<host>[:<port>][/<path>]` of a service that has a path of its own."""

BaseAddress = Annotated[str, AfterValidator(_base)]
"""`http://<host>:<port>` or https, without a path."""
