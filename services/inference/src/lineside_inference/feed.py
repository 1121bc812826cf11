"""What the page at `/` shows: the last results, the last images, the counts, and whoever watches them come in.

Everything here is bounded: the oldest results and images make room for new ones, and a watcher that does not keep up
is dropped and comes back by itself. Nothing here is waited for by a request.
"""

import asyncio
import json
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from lineside.contract import (
    TRY_STATION,
    InlineSource,
    Request,
    Result,
    TensorsSource,
    UrlSource,
    Verdict,
    utc_now,
    uuid7,
)
from lineside.secrecy import hidden
from lineside_inference.settings import PageSettings
from lineside_inference.tally import Tally

log = structlog.get_logger("lineside.inference.feed")


@dataclass(frozen=True, slots=True)
class Part:
    """One result as the page reads it: `number` counts from 1 since the start, `body` is JSON."""

    number: int
    result_id: str
    verdict: Verdict
    body: bytes


@dataclass(slots=True)
class Picture:
    """A part's image as it came, and its thumbnails by width once somebody asked for them."""

    number: int
    data: bytes
    thumbnails: dict[int, bytes] = field(default_factory=dict)


class Watcher:
    """One open page: what it has not read yet, and whether it fell behind."""

    def __init__(self, name: str, most: int) -> None:
        self.name = name
        self.fell_behind = asyncio.Event()
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue(most)

    async def read(self, within_s: float) -> bytes:
        """Return all that waits as one piece, empty where nothing came within the time."""
        try:
            async with asyncio.timeout(within_s):
                pieces = [await self._waiting.get()]
        except TimeoutError:
            return b""
        while not self._waiting.empty():
            pieces.append(self._waiting.get_nowait())
        return b"".join(pieces)

    def offer(self, event: bytes) -> bool:
        """Take one event; False where there is no room for it."""
        try:
            self._waiting.put_nowait(event)
        except asyncio.QueueFull:
            self.fell_behind.set()
            return False
        return True


class Feed:
    """The last results and images, and the watchers; `offer` is called on the loop for every result."""

    def __init__(
        self, settings: PageSettings, registry: CollectorRegistry, *, now: Callable[[], datetime] = utc_now
    ) -> None:
        self.settings = settings
        self.run = uuid7()
        self.started = now()
        self.tally = Tally()
        self._now = now
        self._number = 0
        self._parts: deque[Part] = deque()
        self._part_bytes = 0
        self._pictures: OrderedDict[str, Picture] = OrderedDict()
        self._picture_bytes = 0
        self._watchers: set[Watcher] = set()
        gauge = Gauge("lineside_inference_page_watchers", "Open pages that follow the line.", registry=registry)
        gauge.set_function(lambda: len(self._watchers))
        self._dropped = Counter(
            "lineside_inference_page_dropped_total",
            "Pages dropped because they fell behind, and images too large to keep, by what.",
            ["what"],
            registry=registry,
        )

    def offer(self, request: Request, result: Result, body: bytes, image: bytes | None) -> None:
        """Keep one result, of which `body` is the JSON, with the image it was judged by where there was one."""
        if request.context.station == TRY_STATION:
            return
        now = self._now()
        self.tally.take(result, now)
        self._number += 1
        kept = bool(image) and self._keep_picture(result.id, image or b"")
        head = {"number": self._number, "at": now.isoformat(), "picture": kept, "request": brief(request)}
        record = b'%s,"result":%s}' % (json.dumps(head, separators=(",", ":")).encode()[:-1], body)
        part = Part(self._number, result.id, result.verdict, record)
        self._parts.append(part)
        self._part_bytes += len(record)
        while len(self._parts) > self.settings.parts or self._part_bytes > self.settings.part_bytes:
            self._part_bytes -= len(self._parts.popleft().body)
        if self._watchers:
            self._tell(self._event(part))

    def parts(
        self, *, limit: int, verdicts: frozenset[str] = frozenset(), before: int | None = None
    ) -> tuple[list[Part], bool]:
        """Return kept parts, newest first, and whether there are older ones of the kind."""
        found: list[Part] = []
        for part in reversed(self._parts):
            if (before is None or part.number < before) and (not verdicts or part.verdict in verdicts):
                if len(found) == limit:
                    return found, True
                found.append(part)
        return found, False

    def find(self, result_id: str) -> Part | None:
        """Return the part of a result, or None where it is no longer kept."""
        return next((part for part in reversed(self._parts) if part.result_id == result_id), None)

    def picture(self, result_id: str) -> Picture | None:
        """Return a result's image, or None where it is no longer kept or there was none."""
        return self._pictures.get(result_id)

    @property
    def is_full(self) -> bool:
        """Whether no further page may watch."""
        return len(self._watchers) >= self.settings.watchers

    @contextmanager
    def watch(self, name: str, after: str | None = None) -> Iterator[Watcher]:
        """Watch the parts come in, beginning after the event id `after` where all since then is still kept."""
        watcher = Watcher(name, self.settings.backlog)
        missed = self._since(after)
        watcher.offer(self._hello(resumed=missed is not None))
        for part in missed or ():
            watcher.offer(self._event(part))
        self._watchers.add(watcher)
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)

    def now(self) -> dict[str, Any]:
        """Return what a page needs to tell how old things are, and from which part on images are still kept."""
        oldest = next(iter(self._pictures.values()), None)
        return {
            "run": self.run,
            "started": self.started.isoformat(),
            "now": self._now().isoformat(),
            "number": self._number,
            "pictures_since": oldest.number if oldest else self._number + 1,
        }

    def _keep_picture(self, result_id: str, data: bytes) -> bool:
        if len(data) > self.settings.image_bytes // 2:
            self._dropped.labels("image").inc()
            return False
        self._pictures[result_id] = Picture(self._number, data)
        self._picture_bytes += len(data)
        while len(self._pictures) > self.settings.images or self._picture_bytes > self.settings.image_bytes:
            self._picture_bytes -= len(self._pictures.popitem(last=False)[1].data)
        return True

    def _tell(self, event: bytes) -> None:
        for watcher in list(self._watchers):
            if not watcher.offer(event):
                self._watchers.discard(watcher)
                self._dropped.labels("watcher").inc()
                log.warning("a page fell behind and was dropped", watcher=watcher.name, backlog=self.settings.backlog)

    def _since(self, after: str | None) -> list[Part] | None:
        run, _, number = (after or "").rpartition(".")
        if run != self.run or not (number.isascii() and number.isdigit()) or int(number) > self._number:
            return None
        missed = [part for part in self._parts if part.number > int(number)]
        # The greeting takes a place in the backlog too.
        whole = len(missed) == self._number - int(number) and len(missed) < self.settings.backlog
        return missed if whole else None

    def _event(self, part: Part) -> bytes:
        return b"event: part\nid: %s.%d\ndata: %s\n\n" % (self.run.encode(), part.number, part.body)

    def _hello(self, *, resumed: bool) -> bytes:
        about = json.dumps({**self.now(), "resumed": resumed})
        return f"event: hello\nid: {self.run}.{self._number}\ndata: {about}\n\n".encode()


def brief(request: Request) -> dict[str, Any]:
    """Return a request for people to read: all of it but the pixels and numbers themselves, and its context.

    The result repeats the context.
    """
    source = request.source
    if isinstance(source, InlineSource):
        shown: dict[str, Any] = {"kind": "inline", "content_type": source.content_type, "bytes": len(source.data)}
    elif isinstance(source, TensorsSource):
        tensors = [{"name": one.name, "datatype": one.datatype, "shape": one.shape} for one in source.tensors]
        shown = {"kind": "tensors", "tensors": tensors}
    else:
        shown = source.model_dump(mode="json")
        if isinstance(source, UrlSource):
            shown["url"] = hidden(source.url)
    return {
        "id": request.id,
        "model": request.model,
        "model_version": request.model_version,
        "source": shown,
        "deadline_ms": request.deadline_ms,
        "time": request.time.model_dump(mode="json", exclude_none=True),
    }
