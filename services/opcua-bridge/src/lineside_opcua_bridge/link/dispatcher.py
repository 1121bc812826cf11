"""From messages to stations: every value to whom it belongs, and the word that some are missing, each in its place."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import structlog

from lineside.contract import utc_now
from lineside_opcua_bridge.link.events import sample_of_event
from lineside_opcua_bridge.link.metrics import LinkMetrics
from lineside_opcua_bridge.link.publishing import Message
from lineside_opcua_bridge.link.rates import Granted
from lineside_opcua_bridge.samples import Sample
from lineside_opcua_bridge.station.binding import Binding, Watched
from lineside_opcua_bridge.station.station import Station

log = structlog.get_logger("lineside.opcua_bridge.delivery")

NAMESPACES = 0
"""The client handle of the namespace array; tags have handles from 1 on."""

_LATE = frozenset({"trigger", "request", "done"})
"""Roles that are handed on after the others of the same message, so that a trigger finds what changed with it."""
_OVERFLOW = 0x480
"""InfoType DataValue with the overflow bit (OPC 10000-4, 7.39.1)."""


@dataclass(slots=True)
class Target:
    """Who hears of a monitored item, and what the server made of the wish for it."""

    station: Station
    binding: Binding
    watched: Watched
    item: int = 0
    granted: Granted | None = None
    is_warned: bool = False
    """Whether the log has it that values were dropped; the metric counts each time."""


class Delivery:
    """Hands messages on. `renamed` is called with the server's namespace array, each time that it is notified."""

    def __init__(self, metrics: LinkMetrics, renamed: Callable[[object], None]) -> None:
        self.targets: dict[int, Target] = {}
        self._metrics = metrics
        self._renamed = renamed

    def deliver(self, message: Message) -> None:
        """Hand on what one message holds."""
        received, ticks = utc_now(), time.monotonic()
        late: list[tuple[Target, Sample]] = []
        get = self.targets.get
        for handle, value, code, source, server in message.changes:
            target = get(handle)
            if target is None:
                if handle == NAMESPACES:
                    self._renamed(value)
                continue
            if code:
                overflow = code & _OVERFLOW == _OVERFLOW
                sample = Sample(value, _quality(code), source, server, received, ticks, overflow)
            else:
                sample = Sample(value, "good", source, server, received, ticks)
            if target.watched.role in _LATE:
                late.append((target, sample))
            else:
                self._hand_on(target, sample)
        for target, sample in late:
            self._hand_on(target, sample)
        for handle, fields in message.events:
            target = get(handle)
            if target is not None and target.watched.event is not None:
                event = sample_of_event(target.watched.event, fields, received=received, ticks=ticks)
                if event is None:
                    self._overflowed(target)
                else:
                    target.station.value(target.binding, target.watched.role, event)
        self._metrics.values.inc(len(message.changes) + len(message.events))

    def doubt(self, targets: Iterable[Target]) -> None:
        """Tell the stations that values of these items are missing."""
        for target in targets:
            target.station.doubt(target.watched.role)

    def _hand_on(self, target: Target, sample: Sample) -> None:
        if sample.overflow:
            self._overflowed(target)
        target.station.value(target.binding, target.watched.role, sample)

    def _overflowed(self, target: Target) -> None:
        self._metrics.overflows.labels(target.station.name).inc()
        if not target.is_warned:
            target.is_warned = True
            log.warning(
                "the server dropped values: its queue was too short",
                trigger=target.station.name,
                role=target.watched.role,
                remedy="let the PLC keep more values for each monitored item, or change the tag less often",
            )
        target.station.doubt(target.watched.role)


def _quality(code: int) -> Literal["good", "uncertain", "bad"]:
    severity = code >> 30
    return "good" if severity == 0 else "uncertain" if severity == 1 else "bad"
