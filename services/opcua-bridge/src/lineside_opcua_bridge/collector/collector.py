"""Takes tags from a collector's messages, so that a PLC from which values are collected needs no second client.

A topic delivers at least once, and what a collector or broker dropped is not known. So the values of every alias are
taken in the order of their timestamps. One that was taken before is dropped as a duplicate; one that is older than the
last is late: it is dropped, and the consumers are told of a gap. They are also told of one after a message that is too
large, and before the first message on each new connection to the broker.

That connection first brings what the broker kept while the bridge was away, about parts that are long gone. So for some
seconds values that are old by our clock are marked as stale: later values are compared with them, but they trigger
nothing.
"""

import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Literal, Protocol

import structlog
from prometheus_client import CollectorRegistry, Counter

from lineside.bus import Message
from lineside.contract import utc_now
from lineside_opcua_bridge.collector.batches import Fault, NotABatch, Value, read
from lineside_opcua_bridge.samples import Sample
from lineside_opcua_bridge.settings import TriggerSettings
from lineside_opcua_bridge.tags import Alias, parse

log = structlog.get_logger("lineside.opcua_bridge.collector")

_REMEMBERED = 64
"""How many values of an alias are remembered, to recognise duplicates."""
_STALE = timedelta(seconds=10)
"""A value older than this was kept by the broker."""
_CATCH_UP_S = 10.0
"""For how long after a new connection messages that the broker kept may come."""
_AHEAD = timedelta(seconds=5)
"""A timestamp further than this ahead of our clock comes from a clock that is wrong."""
_LOG_INTERVAL_S = 60.0

_Acceptance = Literal["next", "anew", "stale"]


class Consumer(Protocol):
    """Who takes a collector's values: a trigger's worker."""

    @property
    def settings(self) -> TriggerSettings:
        """The trigger's settings, which name its tags."""

    def receive(self, binding: None, role: str, sample: Sample, /) -> None:
        """Take a value of the tag with this role."""

    def mark_gap(self, role: str | None) -> None:
        """Take it that values of the tag with this role are missing before the next one."""


class CollectorMetrics:
    """Counters of a collector's messages and values."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.messages = Counter(
            "lineside_opcua_bridge_collector_messages_total",
            "Messages of a collector: taken, unreadable, too_large.",
            ["outcome"],
            registry=registry,
        )
        self.values = Counter(
            "lineside_opcua_bridge_collector_values_total",
            "Values in them: taken, stale (baseline only), duplicate, late, unknown_alias, bad.",
            ["outcome"],
            registry=registry,
        )


class AliasSequence:
    """The order of one alias's values by their timestamps."""

    def __init__(self) -> None:
        self._taken: OrderedDict[tuple[object, ...], None] = OrderedDict()
        self._last: int | None = None
        self._ahead = False

    def compare(self, value: Value, received: datetime) -> Literal["next", "anew", "duplicate", "late"]:
        """Return how the value follows those before it; `next`, and `anew` after a clock was set back, are taken."""
        key = (value.instant, type(value.value), value.value, value.quality)
        if key in self._taken:
            return "duplicate"
        ahead = value.source - received > _AHEAD
        order: Literal["next", "anew"] = "next"
        if self._last is not None and value.instant < self._last:
            if not self._ahead or ahead:
                return "late"
            order = "anew"
        self._last, self._ahead = value.instant, ahead
        self._taken[key] = None
        if len(self._taken) > _REMEMBERED:
            self._taken.popitem(last=False)
        return order


class Collector:
    """Delivers the values of some topics to the consumers of their aliases."""

    def __init__(
        self,
        consumers: Iterable[Consumer],
        *,
        max_bytes: int,
        metrics: CollectorMetrics,
        now: Callable[[], datetime] = utc_now,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._consumers: dict[str, list[tuple[Consumer, str]]] = {}
        for consumer in consumers:
            for role, text in consumer.settings.tags().items():
                if isinstance(tag := parse(text), Alias):
                    self._consumers.setdefault(tag.name, []).append((consumer, role))
        self._sequences = {alias: AliasSequence() for alias in self._consumers}
        self._max_bytes = max_bytes
        self._metrics = metrics
        self._now = now
        self._ticks = ticks
        self._catching_up_until: defaultdict[str, float] = defaultdict(float)
        self._logged: dict[str, float] = {}

    def take(self, message: Message) -> None:
        """Deliver one message's values by timestamp, those of triggers after all others."""
        received, ticks = self._now(), self._ticks()
        if message.after_gap:
            self._catching_up_until[message.topic] = ticks + _CATCH_UP_S
            self._mark_gap(self._consumers)
        if len(message.payload) > self._max_bytes:
            self._metrics.messages.labels("too_large").inc()
            self._log("too large", topic=message.topic, bytes=len(message.payload), allowed=self._max_bytes)
            self._mark_gap(self._consumers)
            return
        try:
            found = read(message.payload)
        except NotABatch as error:
            self._metrics.messages.labels("unreadable").inc()
            self._log("unreadable", topic=message.topic, reason=str(error))
            return
        self._metrics.messages.labels("taken").inc()
        for fault in found:
            if isinstance(fault, Fault):
                self._metrics.values.labels("bad").inc()
                self._log("bad", alias=fault.alias, reason=fault.what)
                self._mark_gap([fault.alias] if fault.alias else [])
        values = sorted((value for value in found if isinstance(value, Value)), key=lambda value: value.instant)
        catching_up = ticks < self._catching_up_until[message.topic]
        taken = [
            (value, acceptance)
            for value in values
            if (acceptance := self._accept(value, received, catching_up=catching_up)) is not None
        ]
        self._deliver(taken, received, ticks)

    def _accept(self, value: Value, received: datetime, *, catching_up: bool) -> _Acceptance | None:
        """Return how a value is taken, None for one that is dropped."""
        sequence = self._sequences.get(value.alias)
        if sequence is None:
            self._metrics.values.labels("unknown_alias").inc()
            return None
        order = sequence.compare(value, received)
        if order == "duplicate" or order == "late":  # noqa: PLR1714 - mypy follows it this way
            self._metrics.values.labels(order).inc()
            if order == "late":
                self._log("late", alias=value.alias, source=value.source.isoformat())
                self._mark_gap([value.alias])
            return None
        if catching_up and received - value.source > _STALE:
            self._metrics.values.labels("stale").inc()
            self._log("stale", alias=value.alias, source=value.source.isoformat())
            return "stale"
        self._metrics.values.labels("taken").inc()
        return order

    def _deliver(self, values: Sequence[tuple[Value, _Acceptance]], received: datetime, ticks: float) -> None:
        for is_trigger in (False, True):
            for value, taken in values:
                sample = Sample(
                    value=value.value,
                    quality=value.quality,
                    source=value.source,
                    server=None,
                    received=received,
                    ticks=ticks,
                    stale=taken == "stale",
                )
                for consumer, role in self._consumers[value.alias]:
                    if (role in {"trigger", "request"}) != is_trigger:
                        continue
                    if taken == "anew" or (sample.stale and role.startswith("window.")):
                        consumer.mark_gap(role)
                    if not (sample.stale and role.startswith("window.")):
                        consumer.receive(None, role, sample)

    def _mark_gap(self, aliases: Iterable[str]) -> None:
        for alias in aliases:
            for consumer, role in self._consumers.get(alias, ()):
                consumer.mark_gap(role)

    def _log(self, what: str, **about: object) -> None:
        """Log what is wrong, each kind at most once a minute; everything is counted."""
        now = self._ticks()
        if now >= self._logged.get(what, now):
            self._logged[what] = now + _LOG_INTERVAL_S
            log.warning("something of a collector is not taken as it is", because=what, **about)
