"""Tags by a collector's messages: who already collects from the PLC that way needs no second client there.

A topic delivers at least once, and nothing is known of what a collector or broker dropped. So every alias has a line of
values in the order of their timestamps. A value that was taken before is dropped as a duplicate; one that is older than
the last is late: it is dropped, and the stations are told that their line has a hole there. The same holds after a
message that is too large, and for the first message on each new connection to the broker.

What the broker kept while nobody listened comes at once then. Parts of that time are long gone: for some seconds,
values that are old by our clock are marked as stale, are the baseline of what follows, and trigger nothing.
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
"""Values of an alias that are known again when they come again."""
_STALE = timedelta(seconds=10)
"""A value older than this is one that the broker had kept."""
_CATCH_UP_S = 10.0
"""How long after a new connection what the broker had kept may come."""
_AHEAD = timedelta(seconds=5)
"""A timestamp further than this ahead of our clock comes from a clock that is wrong."""
_SAY_AGAIN_S = 60.0

_Acceptance = Literal["next", "anew", "stale"]


class Consumer(Protocol):
    """A station, as far as a collector's values go."""

    @property
    def settings(self) -> TriggerSettings:
        """Which tags it listens to."""

    def receive(self, binding: None, role: str, sample: Sample, /) -> None:
        """Take a value of the tag with this role."""

    def mark_gap(self, role: str | None) -> None:
        """Take it that values of the tag with this role are missing at this place."""


class CollectorMetrics:
    """What is counted of a collector's messages."""

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
    """The values of one alias, in the order of their timestamps."""

    def __init__(self) -> None:
        self._taken: OrderedDict[tuple[object, ...], None] = OrderedDict()
        self._last: int | None = None
        self._ahead = False

    def place(self, value: Value, received: datetime) -> Literal["next", "anew", "duplicate", "late"]:
        """Return where the value stands: `next` and `anew` (after a clock that ran ahead was set right) are taken."""
        key = (value.instant, type(value.value), value.value, value.quality)
        if key in self._taken:
            return "duplicate"
        ahead = value.source - received > _AHEAD
        place: Literal["next", "anew"] = "next"
        if self._last is not None and value.instant < self._last:
            if not self._ahead or ahead:
                return "late"
            place = "anew"
        self._last, self._ahead = value.instant, ahead
        self._taken[key] = None
        if len(self._taken) > _REMEMBERED:
            self._taken.popitem(last=False)
        return place


class Collector:
    """Hands the values of some topics on to the stations that use their aliases."""

    def __init__(
        self,
        stations: Iterable[Consumer],
        *,
        max_bytes: int,
        metrics: CollectorMetrics,
        now: Callable[[], datetime] = utc_now,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._users: dict[str, list[tuple[Consumer, str]]] = {}
        for station in stations:
            for role, text in station.settings.tags().items():
                if isinstance(tag := parse(text), Alias):
                    self._users.setdefault(tag.name, []).append((station, role))
        self._lines = {alias: AliasSequence() for alias in self._users}
        self._max_bytes = max_bytes
        self._metrics = metrics
        self._now = now
        self._ticks = ticks
        self._catching_up_until: defaultdict[str, float] = defaultdict(float)
        self._said: dict[str, float] = {}

    def take(self, message: Message) -> None:
        """Hand on one message's values: what a trigger needs before the trigger, else by timestamp."""
        received, ticks = self._now(), self._ticks()
        if message.after_gap:
            self._catching_up_until[message.topic] = ticks + _CATCH_UP_S
            self._mark_gap(self._users)
        if len(message.payload) > self._max_bytes:
            self._metrics.messages.labels("too_large").inc()
            self._say("too large", topic=message.topic, bytes=len(message.payload), allowed=self._max_bytes)
            self._mark_gap(self._users)
            return
        try:
            found = read(message.payload)
        except NotABatch as error:
            self._metrics.messages.labels("unreadable").inc()
            self._say("unreadable", topic=message.topic, reason=str(error))
            return
        self._metrics.messages.labels("taken").inc()
        for fault in found:
            if isinstance(fault, Fault):
                self._metrics.values.labels("bad").inc()
                self._say("bad", alias=fault.alias, reason=fault.what)
                self._mark_gap([fault.alias] if fault.alias else [])
        values = sorted((value for value in found if isinstance(value, Value)), key=lambda value: value.instant)
        catching_up = ticks < self._catching_up_until[message.topic]
        taken = [
            (value, place)
            for value in values
            if (place := self._place(value, received, catching_up=catching_up)) is not None
        ]
        self._deliver(taken, received, ticks)

    def _place(self, value: Value, received: datetime, *, catching_up: bool) -> _Acceptance | None:
        """Return how a value is handed on, None for one that is dropped."""
        line = self._lines.get(value.alias)
        if line is None:
            self._metrics.values.labels("unknown_alias").inc()
            return None
        place = line.place(value, received)
        if place == "duplicate" or place == "late":  # noqa: PLR1714 - mypy follows it this way
            self._metrics.values.labels(place).inc()
            if place == "late":
                self._say("late", alias=value.alias, source=value.source.isoformat())
                self._mark_gap([value.alias])
            return None
        if catching_up and received - value.source > _STALE:
            self._metrics.values.labels("stale").inc()
            self._say("stale", alias=value.alias, source=value.source.isoformat())
            return "stale"
        self._metrics.values.labels("taken").inc()
        return place

    def _deliver(self, values: Sequence[tuple[Value, _Acceptance]], received: datetime, ticks: float) -> None:
        for asks in (False, True):
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
                for station, role in self._users[value.alias]:
                    if (role in {"trigger", "request"}) != asks:
                        continue
                    if taken == "anew" or (sample.stale and role.startswith("window.")):
                        station.mark_gap(role)
                    if not (sample.stale and role.startswith("window.")):
                        station.receive(None, role, sample)

    def _mark_gap(self, aliases: Iterable[str]) -> None:
        for alias in aliases:
            for station, role in self._users.get(alias, ()):
                station.mark_gap(role)

    def _say(self, what: str, **about: object) -> None:
        """Log what is wrong, of each kind once in a while; all of it is counted."""
        now = self._ticks()
        if now >= self._said.get(what, now):
            self._said[what] = now + _SAY_AGAIN_S
            log.warning("something of a collector is not taken as it is", because=what, **about)
