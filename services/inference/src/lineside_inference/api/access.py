"""Who may ask, and what every answer carries: the outermost layer, before any route and any body.

Three checks, in this order: the Host header (a web page must not reach a service that asks for no token by a name of
its own, DNS rebinding), the Origin (a web page from elsewhere must neither act for who has it open nor hold a place
here), and the bearer token where one is in force. The page's own files and /livez are open: they say nothing about the
parts.
"""

import ipaddress
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lineside_inference.api.problems import Problem, respond
from lineside_inference.api.tokens import TokenFile
from lineside_inference.settings import InferenceHttpSettings, is_loopback

log = structlog.get_logger("lineside.inference.access")

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
OPEN_PATHS = frozenset({"/", "/livez", "/readyz", "/favicon.ico"})
OPEN_FOLDER = "/page/"
_LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?\Z")

CONTENT_POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
SECURITY_HEADERS = (
    (b"content-security-policy", CONTENT_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_NO_STORE = (b"cache-control", b"no-store")


@dataclass(frozen=True)
class AccessRules:
    """The rules, worked out once; `hosts` is None where any Host is taken.

    `addresses` is whether any numeric address is one of ours too: no page comes under the address of another machine.
    """

    hosts: frozenset[str] | None
    addresses: bool
    is_token_needed: bool
    open_paths: frozenset[str]

    @classmethod
    def of(cls, http: InferenceHttpSettings) -> "AccessRules":
        """Work out the rules; names are checked where no token is needed, and wherever `allowed_hosts` lists some."""
        named = {_bracketed(host) for host in http.allowed_hosts}
        is_checked = named or is_loopback(http.host) or http.token_file is None
        hosts = frozenset({*_LOCAL_HOSTS, _bracketed(http.host), *named}) if is_checked else None
        return cls(
            hosts,
            addresses=not named and not is_loopback(http.host),
            is_token_needed=http.token_file is not None,
            open_paths=OPEN_PATHS | ({"/metrics"} if http.open_metrics else set()),
        )

    def check_host(self, host: str) -> None:
        """Raise Problem 403 where the request asks for a name that is not ours."""
        if self.hosts is None:
            return
        found = _HOST.match(host)
        if found is None or not (found[1].lower() in self.hosts or (self.addresses and _is_address(found[1]))):
            raise Problem(
                403,
                "host-not-allowed",
                f"Host {host!r:.200} is not one of this service's names; add it to inference.http.allowed_hosts",
            )

    def check_origin(
        self, method: str, host: str, origin: str | None, fetch_site: str | None, *, is_navigation: bool = False
    ) -> None:
        """Raise Problem 403 where a web page from elsewhere asks; a link that leads here is followed."""
        is_foreign = fetch_site in {"cross-site", "same-site"} and not (method in SAFE_METHODS and is_navigation)
        if origin is not None:
            is_foreign = is_foreign or not _is_same(origin, host)
        if is_foreign:
            raise Problem(
                403,
                "origin-foreign",
                f"Origin {origin!r:.200} may not ask here; only this service's own page may",
            )

    def is_open(self, path: str) -> bool:
        """Whether the path needs no token."""
        return not self.is_token_needed or path in self.open_paths or path.startswith(OPEN_FOLDER)


class Access:
    """The checks before an application, and the security headers on every answer of it."""

    def __init__(
        self,
        app: ASGIApp,
        rules: AccessRules,
        tokens: TokenFile | None,
        on_refusal: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._app = app
        self._rules = rules
        self._tokens = tokens
        self._on_refusal = on_refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it with 401 or 403."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path: str = scope["path"]
        send = _with_headers(send, is_private=not (path == "/" or path.startswith(OPEN_FOLDER)))
        try:
            is_known = self._check(scope, path)
        except Problem as problem:
            self._on_refusal(problem.code)
            log.warning("refused", status=problem.status, code=problem.code, reason=problem.detail, path=path[:200])
            await respond(problem)(scope, receive, send)
            return
        if path == "/readyz" and not is_known:
            send = _ready_only(send)
        await self._app(scope, receive, send)

    def _check(self, scope: Scope, path: str) -> bool:
        """Return whether who asks may see details; raises Problem."""
        asked = _wanted(scope["headers"])
        host = asked.get(b"host", "")
        self._rules.check_host(host)
        self._rules.check_origin(
            scope["method"],
            host,
            asked.get(b"origin"),
            asked.get(b"sec-fetch-site"),
            is_navigation=asked.get(b"sec-fetch-mode") == "navigate" and asked.get(b"sec-fetch-dest") == "document",
        )
        if self._tokens is None:
            return True
        given = asked.get(b"authorization")
        if given is None:
            if self._rules.is_open(path):
                return False
            raise _unauthorized("a bearer token is needed", "")
        if self._tokens.admits(given):
            return True
        if self._rules.is_open(path):
            return False
        raise _unauthorized("the bearer token is not known", ', error="invalid_token"')


_WANTED = frozenset({b"host", b"origin", b"sec-fetch-site", b"sec-fetch-mode", b"sec-fetch-dest", b"authorization"})


def _wanted(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, str]:
    return {name: value.decode("latin-1") for name, value in headers if name in _WANTED}


def _unauthorized(what: str, more: str) -> Problem:
    return Problem(
        401,
        "token-missing" if not more else "token-unknown",
        f"{what}: send `Authorization: Bearer <token>` with one of the lines of inference.http.token_file",
        headers={"WWW-Authenticate": f'Bearer realm="lineside"{more}'},
    )


def _bracketed(host: str) -> str:
    return f"[{host.lower()}]" if ":" in host and not host.startswith("[") else host.lower()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _is_same(origin: str, host: str) -> bool:
    """Whether an Origin is this Host.

    TLS may end before us, so the scheme says nothing, but which port it implies.
    """
    try:
        parts = urlsplit(origin)
        implied = {"http": ":80", "https": ":443"}.get(parts.scheme, "")
    except ValueError:
        return False
    netloc = parts.netloc.lower()
    return bool(netloc) and netloc.removesuffix(implied) == host.lower().removesuffix(implied)


def _with_headers(send: Send, *, is_private: bool) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = {name.lower() for name, _ in message.get("headers", ())}
            more = (*SECURITY_HEADERS, _NO_STORE) if is_private else SECURITY_HEADERS
            headers = [*message.get("headers", ()), *(pair for pair in more if pair[0] not in given)]
            message = {**message, "headers": headers}
        await send(message)

    return sending


def _ready_only(send: Send) -> Send:
    """Answer /readyz without the addresses and states that are nobody else's business."""
    status = 503

    async def sending(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
            body = json.dumps({"ready": status == 200}).encode()  # noqa: PLR2004 - HTTP's OK
            headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    return sending
