"""What the bridge tells on the bus beside its requests: each part's outcome.

It is in no part's way: outcomes wait in a line of their own, which a broker that is away cannot make longer than its
bound, and go out one after another, so that they take one place of the bus's backlog.
"""

import asyncio
from collections import deque
from contextlib import suppress

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from lineside.bus import Bus
from lineside.contract import Outcome, to_json
from lineside.errors import BacklogFull, BusError

log = structlog.get_logger("lineside.opcua_bridge")

MAX_OUTCOMES = 1000
"""Outcomes that wait for the broker; one more and the oldest is dropped, counted."""
_PAUSE_S = 0.2
_LAST_CHANCE_S = 1.0


class OutcomePublisher:
    """The outcomes on their way to the bus, in order, each at least once; a process that is killed loses its own."""

    def __init__(self, bus: Bus, topic: str, registry: CollectorRegistry, *, most: int = MAX_OUTCOMES) -> None:
        self._bus = bus
        self._topic = topic
        self._most = most
        self._waiting: deque[Outcome] = deque()
        self._come = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._dropping = False
        self._counts = Counter(
            "lineside_opcua_bridge_outcomes_total",
            "Outcomes of parts told on the bus: published, dropped (too many waited for the broker), refused (by it).",
            ["kind"],
            registry=registry,
        )
        for kind in ("published", "dropped", "refused"):
            self._counts.labels(kind)
        waiting = Gauge(
            "lineside_opcua_bridge_outcomes_waiting", "Outcomes of parts that wait for the broker.", registry=registry
        )
        waiting.set_function(lambda: len(self._waiting))

    def tell(self, outcome: Outcome) -> None:
        """Take an outcome; never waits."""
        if len(self._waiting) >= self._most:
            self._waiting.popleft()
            self._counts.labels("dropped").inc()
            if not self._dropping:
                log.warning("outcomes of parts are dropped: too many wait for the broker", waiting=self._most)
            self._dropping = True
        self._waiting.append(outcome)
        self._idle.clear()
        self._come.set()

    async def run(self) -> None:
        """Publish for ever."""
        while True:
            await self._come.wait()
            while self._waiting:
                await self._publish(self._waiting[0])
            self._come.clear()
            self._idle.set()
            self._dropping = False

    async def _publish(self, outcome: Outcome) -> None:
        try:
            await self._bus.publish(self._topic, to_json(outcome))
            kind = "published"
        except BacklogFull:  # of our requests, which go first
            await asyncio.sleep(_PAUSE_S)
            return
        except BusError as error:
            kind = "refused"
            log.warning("the bus refused the outcome of a part", request_id=outcome.request_id, error=error.what)
        self._counts.labels(kind).inc()
        if self._waiting and self._waiting[0] is outcome:  # else it was dropped while it was on its way
            self._waiting.popleft()

    async def flush(self) -> None:
        """Give those that wait a last, bounded chance to go out."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_CHANCE_S):
                await self._idle.wait()
        if self._waiting:
            log.warning("outcomes of parts are lost: the broker did not take them", outcomes=len(self._waiting))
