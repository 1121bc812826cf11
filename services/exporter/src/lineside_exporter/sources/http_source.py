"""GET and POST of a peer that is not trusted: no redirect, no encoding, a body of a bounded size."""

import asyncio
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import httpx

from lineside.secret_files import SecretFileError, read_token
from lineside_exporter.errors import NoMetrics, SourceAway


class TokenFile(httpx.Auth):
    """The bearer token on a file's first line, read at each request: a changed one counts at once."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Send the token; raises SourceAway where the file has none."""
        token = await asyncio.to_thread(self._token)  # its disk may hang
        request.headers["Authorization"] = f"Bearer {token}"
        yield request

    def _token(self) -> str:
        try:
            return read_token(self._path)
        except SecretFileError as error:
            raise SourceAway(f"token file {error.what}") from None


async def fetch(
    client: httpx.AsyncClient, url: str, *, max_bytes: int, method: str = "GET", auth: httpx.Auth | None = None
) -> bytes:
    """Return a body of at most so many bytes; raises NoMetrics where the answer is not plainly a success."""
    headers = {"Accept": "text/plain;version=0.0.4, application/json", "Accept-Encoding": "identity"}
    async with client.stream(method, url, headers=headers, auth=auth) as answer:
        if answer.status_code != httpx.codes.OK:
            raise NoMetrics(f"{url} answered {answer.status_code} {answer.reason_phrase}".rstrip())
        encoding = answer.headers.get("content-encoding", "identity")
        if encoding != "identity":
            raise NoMetrics(f"{url} sent its answer as {encoding!r:.40}, which was not asked for")
        body = bytearray()
        async for piece in answer.aiter_raw():
            body += piece
            if len(body) > max_bytes:
                raise NoMetrics(f"{url} sent more than {max_bytes} bytes; exporter.limits.body_bytes bounds them")
    return bytes(body)


async def fetch_json(client: httpx.AsyncClient, url: str, **options: Any) -> Any:
    """Return a JSON document; raises NoMetrics where it is none."""
    body = await fetch(client, url, **options)
    try:
        return await asyncio.to_thread(json.loads, body)
    except (ValueError, RecursionError):
        raise NoMetrics(f"{url} answered no JSON: {body[:80]!r}") from None
