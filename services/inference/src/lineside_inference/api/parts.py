"""The routes of the last parts: as a list, one by one, their images, their counts, and live as server-sent events."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from lineside.contract import utc_now
from lineside_inference.api.problems import Problem
from lineside_inference.errors import RequestError
from lineside_inference.imaging.formats.header import NAMES
from lineside_inference.imaging.image_headers import MEDIA_TYPES, sniff
from lineside_inference.live.live_feed import LiveFeed, LivePart
from lineside_inference.live.thumbnails import Thumbnails

HEARTBEAT_S = 15.0
_POLL_S = 0.5  # how soon a watcher notices that the service stops
_LAST_SEND_S = 1.0
_PIECE = 64 * 1024
_VERDICTS = frozenset({"pass", "fail", "unknown"})
_JSON = "application/json"
_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {"description": "Events `hello` and `part`, and a comment every 15 s.", "content": {"text/event-stream": {}}}
}
_IMAGE: dict[int | str, dict[str, Any]] = {
    200: {"description": "The image.", "content": {f"image/{kind}": {} for kind in ("jpeg", "png", "bmp", "webp")}}
}
_KEEP = {"Cache-Control": "private, max-age=3600, immutable", "X-Content-Type-Options": "nosniff"}
_NOT_SHOWN = frozenset({"tiff", "pgm"})
_WHOLE = 65_536  # a width that no image has
_TREND_MINUTES = 60
_NAME = Annotated[str, Path(description="Id of a request, of a Result, or of a part: its newest.", max_length=128)]


def router(feed: LiveFeed, thumbnails: Thumbnails, *, is_draining: Callable[[], bool]) -> APIRouter:
    """Return the routes."""
    routes = APIRouter()
    _add_lists(routes, feed)
    _add_images(routes, feed, thumbnails)
    _add_events(routes, feed, is_draining)
    return routes


def _add_lists(routes: APIRouter, feed: LiveFeed) -> None:
    @routes.get("/v1/parts")
    async def list_parts(
        limit: Annotated[int, Query(ge=1, le=1000, description="Most parts to answer.")] = 50,
        verdict: Annotated[str | None, Query(description="Only these: pass, fail, unknown, with commas.")] = None,
        before: Annotated[int | None, Query(ge=1, description="Only older than the part of this number.")] = None,
        part_id: Annotated[str | None, Query(max_length=128, description="Only of this part.")] = None,
        station: Annotated[str | None, Query(max_length=128, description="Only of this station.")] = None,
    ) -> Response:
        """Answer the last parts, newest first; `more` says whether older ones are kept."""
        wanted = frozenset(verdict.split(",")) if verdict else frozenset()
        if not wanted <= _VERDICTS:
            detail = f"verdict {verdict!r:.80} is not known: give pass, fail or unknown, with commas"
            raise Problem(422, "message-invalid", detail)
        parts, more = feed.parts(limit=limit, verdicts=wanted, before=before, part_id=part_id, station=station)
        head = json.dumps({**feed.now(), "more": more}).encode()
        return StreamingResponse(_listed(b'%s,"parts":[' % head[:-1], parts), media_type=_JSON)

    @routes.get("/v1/parts/{name}")
    async def one_part(name: _NAME) -> Response:
        """Answer one part: its request without pixels, its Result, and what the PLC got."""
        part = feed.find(name)
        if part is None:
            raise Problem(404, "part-unknown", f"Part {name!r:.150} is not kept (any more).")
        return Response(part.body, media_type=_JSON)

    @routes.get("/v1/counts")
    async def counts(
        since: Annotated[datetime | None, Query(description="From this minute on; else all of the last 24 h.")] = None,
    ) -> dict[str, Any]:
        """Count verdicts since an instant, and give the 95th percentile of the time to a verdict by minute."""
        start = since if since is None or since.tzinfo else since.replace(tzinfo=UTC)
        return {**feed.now(), **feed.counts.since(start), "trend": feed.counts.trend(_TREND_MINUTES, utc_now())}


async def _listed(head: bytes, parts: Iterable[LivePart]) -> AsyncIterator[bytes]:
    """Yield a list of parts in pieces, the next once the last is taken: who takes none costs little memory."""
    piece, comma = bytearray(head), b""
    for part in parts:
        piece += comma + part.body
        comma = b","
        if len(piece) >= _PIECE:
            yield bytes(piece)
            piece.clear()
    yield bytes(piece) + b"]}"


def _add_images(routes: APIRouter, feed: LiveFeed, thumbnails: Thumbnails) -> None:
    @routes.get("/v1/parts/{name}/image", response_class=Response, responses=_IMAGE)
    async def part_image(
        name: _NAME,
        width: Annotated[int | None, Query(ge=16, le=640, description="A JPEG at most this wide.")] = None,
    ) -> Response:
        """Answer the image that a part was judged by, as it came or smaller; TIFF and PGM as JPEG, for a browser."""
        image = feed.image(name)
        if image is None:
            raise Problem(404, "image-unknown", f"No image of part {name!r:.150} is kept (any more).")
        if width is None:
            kind = sniff(image.data)
            if kind is None:
                raise Problem(404, "image-unknown", f"What was judged is no {NAMES}.")
            if kind not in _NOT_SHOWN:
                return Response(image.data, media_type=MEDIA_TYPES[kind], headers=_KEEP)
            width = _WHOLE
        try:
            small = await thumbnails.of(image, width)
        except RequestError as error:
            raise Problem(404, "image-unknown", f"The image cannot be shown: {error.what}") from None
        return Response(small, media_type="image/jpeg", headers=_KEEP)


def _add_events(routes: APIRouter, feed: LiveFeed, is_draining: Callable[[], bool]) -> None:
    @routes.get("/v1/events", response_class=Response, responses=_EVENTS)
    async def events(request: Request) -> Response:
        """Stream parts as they are judged; `Last-Event-ID` resumes where the parts since then are still kept."""
        if feed.is_full:
            detail = f"{feed.settings.watchers} pages follow the line already (inference.page.watchers)."
            raise Problem(503, "watchers-full", detail, headers={"Retry-After": "10"})
        client = f"{request.client.host}:{request.client.port}" if request.client else "unknown"
        return EventStream(feed, client, request.headers.get("last-event-id"), is_draining)


class EventStream(Response):
    """A response without end; it ends when the client goes, falls behind, or the service stops."""

    media_type = "text/event-stream"

    def __init__(self, feed: LiveFeed, client: str, after: str | None, is_draining: Callable[[], bool]) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._feed = feed
        self._client = client
        self._after = after
        self._is_draining = is_draining

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until one of the ends."""
        with self._feed.watch(self._client, self._after) as watcher:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})

            async def talk() -> None:
                quiet = 0.0
                while not self._is_draining():
                    chunk = await watcher.read(_POLL_S)
                    quiet = 0.0 if chunk else quiet + _POLL_S
                    if quiet >= HEARTBEAT_S:
                        chunk, quiet = b": still here\n\n", 0.0
                    if chunk:
                        await send({"type": "http.response.body", "body": chunk, "more_body": True})
                await send({"type": "http.response.body", "body": b""})

            async def until_gone() -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass

            ends = [asyncio.ensure_future(end) for end in (talk(), until_gone(), watcher.fell_behind.wait())]
            try:
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for end in ends:
                    end.cancel()
                await asyncio.gather(*ends, return_exceptions=True)
            if watcher.fell_behind.is_set():
                # A slow client sees an orderly end; one that reads nothing at all is cut off by the server.
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LAST_SEND_S):
                        await send({"type": "http.response.body", "body": b""})
