"""What the page at `/` shows: the last parts and images, the counts, and whoever watches them come in.

A part is known by its request's id. It has a Result once it was judged, and an Outcome once the bridge said what the
PLC got, in either order; parts that nobody was asked about have an Outcome alone. What the PLC got is the part's
verdict; until that is known, or where no bridge tells, it is what was judged.

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
    ANSWERED_ELSEWHERE,
    TRY_STATION,
    Outcome,
    Result,
    Verdict,
    to_json,
    utc_now,
    uuid7,
)
from lineside_inference.dataplane.judged import Judged
from lineside_inference.dataplane.request_summary import summarize
from lineside_inference.live.minute_counts import KINDS, Counted, Kind, MinuteCounts
from lineside_inference.settings import PageSettings

log = structlog.get_logger("lineside.inference.feed")


@dataclass(slots=True)
class LivePart:
    """One part as the page reads it: `number` counts from 1 since the start, `change` from 1 over all changes."""

    number: int
    request_id: str
    head: dict[str, Any]
    result_id: str | None = None
    verdict: Verdict = "unknown"
    change: int = 0
    counted: Counted | None = None
    result: bytes | None = None
    outcome: Outcome | None = None
    body: bytes = b""

    @property
    def names(self) -> tuple[str | None, ...]:
        """What it can be asked for by."""
        return self.result_id, self.request_id, self.head["part_id"]


@dataclass(slots=True)
class KeptImage:
    """A part's image as it came, and its thumbnails by width once somebody asked for them."""

    number: int
    data: bytes
    thumbnails: dict[int, bytes] = field(default_factory=dict)


class Watcher:
    """One open page: what it has not read yet, and whether it fell behind."""

    def __init__(self, name: str, backlog: int) -> None:
        self.name = name
        self.fell_behind = asyncio.Event()
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue(backlog)

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


class LiveFeed:
    """The last results and images, and the watchers; `offer` is called on the loop for every result."""

    def __init__(
        self, settings: PageSettings, registry: CollectorRegistry, *, now: Callable[[], datetime] = utc_now
    ) -> None:
        self.settings = settings
        self.run = uuid7()
        self.started = now()
        self.counts = MinuteCounts()
        self._now = now
        self._number = 0
        self._change = 0
        self._forgotten = 0
        """The last change of a part that is no longer kept."""
        self._parts: deque[LivePart] = deque()
        self._by_request: dict[str, LivePart] = {}
        self._part_bytes = 0
        self._images: OrderedDict[str, KeptImage] = OrderedDict()
        self._image_bytes = 0
        self._watchers: set[Watcher] = set()
        gauge = Gauge("lineside_inference_page_watchers", "Open pages that follow the line.", registry=registry)
        gauge.set_function(lambda: len(self._watchers))
        self._dropped = Counter(
            "lineside_inference_page_dropped_total",
            "Pages dropped because they fell behind, and images too large to keep, by what.",
            ["what"],
            registry=registry,
        )

    def offer(self, judged: Judged, body: bytes) -> None:
        """Keep one result, of which `body` is the JSON, with the image it was judged by where there was one."""
        request, result = judged.request, judged.result
        if request.context.station == TRY_STATION:
            return
        now = self._now()
        self.counts.time(result, now)
        part = self._by_request.get(request.id)
        if part is None or part.result is not None:  # an id used again for something else is answered on its own
            part = self._new(request.id, now, request.context.station, request.context.part_id, request.model)
        part.result_id, part.result = result.id, body
        part.head["request"] = summarize(request)
        part.head["picture"] = self._keep_image(part.number, result.id, judged.image)
        if part.outcome is None:
            part.verdict = result.verdict
            part.counted = self.counts.count(kind_of_result(result), now)
        self._changed(part)

    def conclude(self, outcome: Outcome) -> bool:
        """Take what the PLC got for a part; False where that is known already."""
        part = self._by_request.get(outcome.request_id)
        if part is not None and part.outcome is not None:
            return False
        now = self._now()
        if part is None:  # nobody was asked, or the answer is still to come; it may have waited for a broker
            told = min(now, outcome.time.published or now)
            part = self._new(outcome.request_id, told, outcome.station, outcome.part_id, outcome.model)
        part.outcome = outcome
        part.verdict = outcome.verdict or "unknown"
        kind = kind_of_outcome(outcome)
        part.counted = self.counts.count(kind, now) if part.counted is None else self.counts.move(part.counted, kind)
        self._changed(part)
        return True

    def outcome_of(self, request_id: str) -> Outcome | None:
        """Return what the PLC got for a request, where that is known already."""
        part = self._by_request.get(request_id)
        return part.outcome if part else None

    def _new(self, request_id: str, now: datetime, station: str | None, part_id: str | None, model: str) -> LivePart:
        self._number += 1
        head = {
            "number": self._number,
            "id": request_id,
            "at": now.isoformat(),
            "station": station,
            "part_id": part_id,
            "model": model,
            "picture": False,
            "request": None,
        }
        part = LivePart(self._number, request_id, head)
        self._parts.append(part)
        self._by_request.setdefault(request_id, part)
        return part

    def _changed(self, part: LivePart) -> None:
        """Write a part anew, make room for it, and tell who watches."""
        self._change += 1
        part.change = self._change
        self._part_bytes -= len(part.body)
        head = json.dumps({**part.head, "verdict": part.verdict}, separators=(",", ":")).encode()
        outcome = to_json(part.outcome) if part.outcome else b"null"
        part.body = b'%s,"result":%s,"outcome":%s}' % (head[:-1], part.result or b"null", outcome)
        self._part_bytes += len(part.body)
        while len(self._parts) > self.settings.parts or self._part_bytes > self.settings.part_bytes:
            gone = self._parts.popleft()
            self._part_bytes -= len(gone.body)
            self._forgotten = max(self._forgotten, gone.change)
            if self._by_request.get(gone.request_id) is gone:
                del self._by_request[gone.request_id]
        if self._watchers:
            self._tell(self._event(part))

    def parts(
        self,
        *,
        limit: int,
        verdicts: frozenset[str] = frozenset(),
        before: int | None = None,
        part_id: str | None = None,
        station: str | None = None,
    ) -> tuple[list[LivePart], bool]:
        """Return kept parts, newest first, and whether there are older ones of the kind."""
        found: list[LivePart] = []
        for part in reversed(self._parts):
            is_wanted = (
                (before is None or part.number < before)
                and (not verdicts or part.verdict in verdicts)
                and part_id in {None, part.head["part_id"]}
                and station in {None, part.head["station"]}
            )
            if is_wanted:
                if len(found) == limit:
                    return found, True
                found.append(part)
        return found, False

    def find(self, name: str) -> LivePart | None:
        """Return the part of a result's id, a request's, or the newest of a part id; None where it is not kept."""
        kept = self._by_request.get(name)
        return kept or next((part for part in reversed(self._parts) if name in part.names), None)

    def image(self, name: str) -> KeptImage | None:
        """Return a part's image, or None where it is no longer kept or there was none."""
        if name in self._images:
            return self._images[name]
        part = self.find(name)
        return self._images.get(part.result_id) if part and part.result_id else None

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
        oldest = next(iter(self._images.values()), None)
        return {
            "run": self.run,
            "started": self.started.isoformat(),
            "now": self._now().isoformat(),
            "number": self._number,
            "pictures_since": oldest.number if oldest else self._number + 1,
        }

    def _keep_image(self, number: int, result_id: str, data: bytes | None) -> bool:
        if not data:
            return False
        if len(data) > self.settings.image_bytes // 2:
            self._dropped.labels("image").inc()
            return False
        self._images[result_id] = KeptImage(number, data)
        self._image_bytes += len(data)
        while len(self._images) > self.settings.images or self._image_bytes > self.settings.image_bytes:
            self._image_bytes -= len(self._images.popitem(last=False)[1].data)
        return True

    def _tell(self, event: bytes) -> None:
        for watcher in list(self._watchers):
            if not watcher.offer(event):
                self._watchers.discard(watcher)
                self._dropped.labels("watcher").inc()
                log.warning("a page fell behind and was dropped", watcher=watcher.name, backlog=self.settings.backlog)

    def _since(self, after: str | None) -> list[LivePart] | None:
        run, _, number = (after or "").rpartition(".")
        if run != self.run or not (number.isascii() and number.isdigit()) or int(number) > self._change:
            return None
        missed = sorted((part for part in self._parts if part.change > int(number)), key=lambda part: part.change)
        # The greeting takes a place in the backlog too.
        whole = int(number) >= self._forgotten and len(missed) < self.settings.backlog
        return missed if whole else None

    def _event(self, part: LivePart) -> bytes:
        return b"event: part\nid: %s.%d\ndata: %s\n\n" % (self.run.encode(), part.change, part.body)

    def _hello(self, *, resumed: bool) -> bytes:
        about = json.dumps({**self.now(), "resumed": resumed})
        return f"event: hello\nid: {self.run}.{self._change}\ndata: {about}\n\n".encode()


def kind_of_result(result: Result) -> Kind:
    """Return what a judged part counts as."""
    return "disabled" if result.status == "disabled" else KINDS[result.verdict]


def kind_of_outcome(outcome: Outcome) -> Kind:
    """Return what a part counts as by what the PLC got; where it got nothing, as unknown.

    What another bridge answers counts by that one's word.
    """
    is_no_part = outcome.origin == "disabled" or outcome.cause in ANSWERED_ELSEWHERE
    return "disabled" if is_no_part else KINDS[outcome.verdict or "unknown"]
