"""Delivers the values in notification messages to subscribers, and reports to them where values are missing."""

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
from lineside_opcua_bridge.link.subscriber import Binding, ItemRequest, Subscriber
from lineside_opcua_bridge.samples import Sample

log = structlog.get_logger("lineside.opcua_bridge.dispatcher")

NAMESPACES = 0
"""The client handle of the namespace array; tags have handles from 1 on."""

_DELIVERED_LAST = frozenset({"trigger", "request", "done"})
"""Roles that are delivered after the others of the same message, so that a trigger finds what changed with it."""
_OVERFLOW = 0x480
"""InfoType DataValue with the overflow bit (OPC 10000-4, 7.39.1)."""


@dataclass(slots=True)
class MonitoredItem:
    """A monitored item: who subscribed it, with which request, and what the server granted."""

    subscriber: Subscriber
    binding: Binding
    request: ItemRequest
    id: int = 0
    """MonitoredItemId of the server."""
    granted: Granted | None = None
    is_overflow_logged: bool = False
    """Whether it was logged that the server dropped values; the metric counts each time."""


class Dispatcher:
    """Delivers messages to the subscribers of `items`, by client handle.

    `on_namespaces` is called with the server's namespace array, each time that it is notified.
    """

    def __init__(self, metrics: LinkMetrics, on_namespaces: Callable[[object], None]) -> None:
        self.items: dict[int, MonitoredItem] = {}
        self._metrics = metrics
        self._on_namespaces = on_namespaces

    def deliver(self, message: Message) -> None:
        """Deliver the values and events of one message."""
        received, ticks = utc_now(), time.monotonic()
        last: list[tuple[MonitoredItem, Sample]] = []
        get = self.items.get
        for handle, value, code, source, server in message.changes:
            item = get(handle)
            if item is None:
                if handle == NAMESPACES:
                    self._on_namespaces(value)
                continue
            if code:
                overflow = code & _OVERFLOW == _OVERFLOW
                sample = Sample(value, _quality(code), source, server, received, ticks, overflow)
            else:
                sample = Sample(value, "good", source, server, received, ticks)
            if item.request.role in _DELIVERED_LAST:
                last.append((item, sample))
            else:
                self._deliver(item, sample)
        for item, sample in last:
            self._deliver(item, sample)
        for handle, fields in message.events:
            item = get(handle)
            if item is not None and item.request.event is not None:
                event = sample_of_event(item.request.event, fields, received=received, ticks=ticks)
                if event is None:
                    self._overflowed(item)
                else:
                    item.subscriber.receive(item.binding, item.request.role, event)
        self._metrics.values.inc(len(message.changes) + len(message.events))

    def mark_gap(self, items: Iterable[MonitoredItem]) -> None:
        """Tell the subscribers that values of these items are missing."""
        for item in items:
            item.subscriber.mark_gap(item.request.role)

    def _deliver(self, item: MonitoredItem, sample: Sample) -> None:
        if sample.overflow:
            self._overflowed(item)
        item.subscriber.receive(item.binding, item.request.role, sample)

    def _overflowed(self, item: MonitoredItem) -> None:
        self._metrics.overflows.labels(item.subscriber.name).inc()
        if not item.is_overflow_logged:
            item.is_overflow_logged = True
            log.warning(
                "the server dropped values: its queue was too short",
                trigger=item.subscriber.name,
                role=item.request.role,
                remedy="let the PLC keep more values for each monitored item, or change the tag less often",
            )
        item.subscriber.mark_gap(item.request.role)


def _quality(code: int) -> Literal["good", "uncertain", "bad"]:
    severity = code >> 30
    return "good" if severity == 0 else "uncertain" if severity == 1 else "bad"
