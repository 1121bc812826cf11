"""An HTTP transport that resolves host names in daemon threads.

An event loop resolves names in a pool of few threads, and a process ends only after them. Where the resolver does not
answer, as behind a cut link to the plant's network, a few names would block all others and the end for minutes.
"""

import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from ipaddress import ip_address

import httpx

from lineside import threads

Resolve = Callable[[str], list[str]]


def addresses(host: str) -> list[str]:
    """Return a host's addresses, the one to try first in front; raises OSError. May block."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_how, address in found))


class DnsTransport(httpx.AsyncHTTPTransport):
    """Connects to the addresses of a name one after the other; at most one look-up of a name is under way."""

    def __init__(self, resolve: Resolve = addresses) -> None:
        super().__init__(trust_env=False)
        self._resolve = resolve
        self._under_way: dict[str, Future[list[str]]] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, whose body can be sent again; raises httpx.HTTPError."""
        host = request.url.host
        try:
            ip_address(host)
        except ValueError:
            tried = await self._look_up(host)
        else:
            return await super().handle_async_request(request)
        # The certificate is still the name's, as the header `Host` is.
        request.extensions = {**request.extensions, "sni_hostname": host}
        for address in tried[:-1]:
            try:
                return await self._to(address, request)
            except httpx.ConnectError:
                continue
        return await self._to(tried[-1], request)

    async def _to(self, address: str, request: httpx.Request) -> httpx.Response:
        request.url = request.url.copy_with(host=address)
        return await super().handle_async_request(request)

    async def _look_up(self, host: str) -> list[str]:
        lookup = self._under_way.get(host)
        if lookup is None or lookup.done():
            lookup = self._under_way[host] = threads.start(partial(self._resolve, host), "name lookup")
        try:
            found = await asyncio.wrap_future(lookup)
        except (OSError, UnicodeError) as error:
            raise httpx.ConnectError(f"the name {host!r} cannot be resolved: {error}") from error
        if not found:
            raise httpx.ConnectError(f"the name {host!r} has no address")
        return found
