"""An image from a host on the list: checked name, checked address, and a connection to that very address."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

from lineside_inference.deadline import Deadline
from lineside_inference.errors import UrlFailed, UrlNotAllowed, UrlTimeout
from lineside_inference.http1.client import HttpClient
from lineside_inference.http1.errors import ConnectFailed, HttpError
from lineside_inference.http1.target import Target
from lineside_inference.settings import UrlSettings
from lineside_inference.sources import Frame
from lineside_inference.sources.http_image import get, why_no_image
from lineside_inference.sources.url_hosts import check_addresses, find_host

_OK = 200
Resolve = Callable[[str, int], Awaitable[list[str]]]


async def resolve(host: str, port: int) -> list[str]:
    """Return the host's addresses as the system knows them, each once; raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]).partition("%")[0] for *_, address in found))


class Urls:
    """The allowed hosts and one client for them."""

    def __init__(self, settings: UrlSettings, *, max_bytes: int, resolve: Resolve = resolve) -> None:
        self._settings = settings
        self._max_bytes = min(max_bytes, settings.most_bytes)
        self._resolve = resolve
        # A connection is kept for its host and port only, so what is used again was checked when it was made.
        ca_file = str(settings.ca_file) if settings.ca_file else None
        self._client = HttpClient(ca_file=ca_file, addresses=self._addresses)

    def check(self, url: str) -> Target:
        """Return the address taken apart, if it is on the list; raises UrlNotAllowed."""
        try:
            target = Target.of(url)
        except ValueError as error:
            raise UrlNotAllowed(f"the url cannot be used: {error}") from None
        find_host(target, self._settings.hosts)
        return target

    async def fetch(self, url: str, deadline: Deadline) -> Frame:
        """Return the image at an address; raises UrlNotAllowed, UrlFailed or UrlTimeout. Redirects are not followed."""
        target = self.check(url)
        allowed = min(self._settings.timeout_ms / 1000, deadline.left())
        try:
            async with asyncio.timeout(allowed):
                response = await get(self._client, target, max_bytes=self._max_bytes)
        except TimeoutError:
            raise UrlTimeout(f"{target} gave no image within {allowed * 1000:.0f} ms") from None
        except ConnectFailed as error:
            raise UrlFailed(f"{target} cannot be reached: {error}") from None
        except HttpError as error:
            raise UrlFailed(f"{target}: {error}", remedy=f"At most {self._max_bytes} bytes are read") from None
        if response.status != _OK:
            to = ", a redirect, which is not followed" if response.header("location") else ""
            raise UrlFailed(
                f"{target} answered {response.status} {response.reason}{to}", remedy="Name the image itself"
            )
        if why := why_no_image(response):
            raise UrlFailed(f"{target} {why}")
        return Frame(bytes(response.body), clock=response.clock)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    async def _addresses(self, host: str, port: int) -> list[str]:
        try:
            found = await self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise ConnectFailed(f"its name is not known: {getattr(error, 'strerror', None) or error}") from None
        private = any(entry.private for entry in self._settings.hosts if entry.host == host and port in entry.ports)
        return check_addresses(host, found, private=private)
