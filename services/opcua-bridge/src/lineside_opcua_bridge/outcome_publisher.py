"""Publishes the outcome of each part on the bus.

This delays no part: outcomes wait in a bounded queue of their own while the broker is away, and are published one after
another, so that they take one place of the bus's backlog.
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
"""How many outcomes wait for the broker at most; beyond it the oldest is dropped and counted."""
_PAUSE_S = 0.2
_FLUSH_S = 1.0


class OutcomePublisher:
    """Publishes outcomes in order, each at least once; a process that is killed loses those that wait."""

    def __init__(self, bus: Bus, topic: str, registry: CollectorRegistry, *, limit: int = MAX_OUTCOMES) -> None:
        self._bus = bus
        self._topic = topic
        self._limit = limit
        self._queue: deque[Outcome] = deque()
        self._arrived = asyncio.Event()
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
        waiting.set_function(lambda: len(self._queue))

    def put(self, outcome: Outcome) -> None:
        """Queue an outcome; never waits."""
        if len(self._queue) >= self._limit:
            self._queue.popleft()
            self._counts.labels("dropped").inc()
            if not self._dropping:
                log.warning("outcomes of parts are dropped: too many wait for the broker", waiting=self._limit)
            self._dropping = True
        self._queue.append(outcome)
        self._idle.clear()
        self._arrived.set()

    async def run(self) -> None:
        """Publish for ever."""
        while True:
            await self._arrived.wait()
            while self._queue:
                await self._publish(self._queue[0])
            self._arrived.clear()
            self._idle.set()
            self._dropping = False

    async def _publish(self, outcome: Outcome) -> None:
        try:
            await self._bus.publish(self._topic, to_json(outcome))
            kind = "published"
        except BacklogFull:  # by our requests, which have priority
            await asyncio.sleep(_PAUSE_S)
            return
        except BusError as error:
            kind = "refused"
            log.warning("the bus refused the outcome of a part", request_id=outcome.request_id, error=error.what)
        self._counts.labels(kind).inc()
        if self._queue and self._queue[0] is outcome:  # else it was dropped while it was published
            self._queue.popleft()

    async def flush(self) -> None:
        """Wait, for a second at most, until the outcomes that wait are published."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_FLUSH_S):
                await self._idle.wait()
        if self._queue:
            log.warning("outcomes of parts are lost: the broker did not take them", outcomes=len(self._queue))
