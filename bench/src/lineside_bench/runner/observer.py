"""Who watches the bus: every request, result and error report, with the time at which it came."""

import asyncio
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter, OrderedDict
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from pydantic import ValidationError

from lineside.contract import (
    REQUEST_TOPIC,
    RESULT_TOPIC,
    ErrorReport,
    Unreadable,
    parse_request,
    parse_result,
    utc_now,
)
from lineside_bench.options import MAX_PARTS
from lineside_bench.reporting.records import Exchange, Outage, SeenResult

MAX_EXCHANGES = 3 * MAX_PARTS
"""A part may be asked for again after a restart."""
MAX_OUTAGES = 1000
MAX_IN_WORDS = 5
EXCERPT = 80
NO_REPORT = "no-error-report"


class Observer(ABC):
    """Watches the bus while it is entered. A thread of its own fills `exchanges`, by request id, bounded, oldest out.

    `topics` are those of requests and results. `on_change` is called from that thread: with None when it is subscribed,
    else with why it is not.
    """

    def __init__(
        self,
        topics: tuple[str, str] = (REQUEST_TOPIC, RESULT_TOPIC),
        on_change: Callable[[str | None], None] = lambda _why: None,
    ) -> None:
        self.outages: list[Outage] = []
        """When the bus was away."""
        self.errors: Counter[str] = Counter()
        """Error reports, by code."""
        self.error_reports: list[str] = []
        """The first of them, in words."""
        self.unreadable = 0
        self.topics = (*topics, f"{topics[1]}/error")
        self._on_change = on_change
        self._max_exchanges = MAX_EXCHANGES
        self._exchanges: OrderedDict[str, Exchange] = OrderedDict()
        self._lock = threading.Lock()

    @abstractmethod
    async def __aenter__(self) -> Self:
        """Begin; raises BenchError where it cannot subscribe."""

    @abstractmethod
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End."""

    def exchanges(self) -> dict[str, Exchange]:
        """Return what was seen so far, by request id."""
        with self._lock:
            return {key: Exchange(item.request, list(item.results)) for key, item in self._exchanges.items()}

    def answered(self) -> bool:
        """Whether a result was seen for every request seen."""
        with self._lock:
            return all(item.results for item in self._exchanges.values() if item.request)

    async def settled(self, within_s: float) -> None:
        """Return when a result was seen for every request, or the time is over."""
        end = time.monotonic() + within_s
        while not self.answered() and time.monotonic() < end:  # noqa: ASYNC110 - filled by another thread
            await asyncio.sleep(0.02)

    def begin(self, most: int) -> None:
        """Forget what was seen, and keep `most` exchanges from now on."""
        with self._lock:
            self._exchanges.clear()
            self._max_exchanges = most
            self.errors.clear()
            self.error_reports.clear()
            del self.outages[:-1]
            if self.outages and self.outages[-1].end:
                self.outages.clear()

    def take(self, topic: str, payload: bytes) -> None:
        """Take note of a message that comes now."""
        at = utc_now()
        try:
            with self._lock:
                self._take(topic, payload, at)
        except Unreadable:
            self.unreadable += 1

    def back(self) -> None:
        """Take note that it watches, for the first time or again."""
        self._on_change(None)
        if self.outages:
            self.outages[-1].end = self.outages[-1].end or utc_now()

    def away(self) -> None:
        """Take note that it does not watch any more."""
        if not (self.outages and self.outages[-1].end is None):
            del self.outages[: -MAX_OUTAGES + 1]
            self.outages.append(Outage(utc_now()))

    def _take(self, topic: str, payload: bytes, at: Any) -> None:
        requests, results, _errors = self.topics
        if topic == requests:
            request = parse_request(payload)
            self._exchange(request.id).request = request
        elif topic == results:
            result = parse_result(payload)
            self._exchange(result.request_id).results.append(SeenResult(at, result))
        elif payload:  # an empty one takes a kept message back, and says nothing
            code, said = _in_words(topic, payload)
            self.errors[code] += 1
            if len(self.error_reports) < MAX_IN_WORDS:
                self.error_reports.append(f"{code}: {said}")

    def _exchange(self, request_id: str) -> Exchange:
        while len(self._exchanges) >= self._max_exchanges and request_id not in self._exchanges:
            self._exchanges.popitem(last=False)
        return self._exchanges.setdefault(request_id, Exchange())


def _in_words(topic: str, payload: bytes) -> tuple[str, str]:
    """Return an error report's code, and what it is about."""
    try:
        report = ErrorReport.model_validate_json(payload)
    except ValidationError:
        begins = payload[:EXCERPT].decode("utf-8", "backslashreplace")
        return NO_REPORT, f"somebody published on {topic} what is no error report; it begins {begins!r}"
    of = f"request {report.request_id}" if report.request_id else f"a message that begins {report.excerpt[:EXCERPT]!r}"
    return report.code, f"{report.reason} ({of} on {report.topic})"
