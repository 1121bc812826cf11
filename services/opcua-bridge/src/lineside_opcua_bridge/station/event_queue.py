"""The events of one trigger's worker, in order of arrival; the number of values among them is bounded."""

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field

from lineside_opcua_bridge.link.subscriber import Binding
from lineside_opcua_bridge.samples import Sample
from lineside_opcua_bridge.station.parts import Answer


@dataclass(frozen=True)
class Value:
    """A value of the tag with the role trigger, request or done."""

    generation: int | None
    """The generation of the worker's sessions that it belongs to; None for a collector's tag."""
    role: str
    sample: Sample


@dataclass(frozen=True)
class Tick:
    """A trigger that is no value: the clock's, or a window that is complete."""

    sample: Sample


@dataclass(frozen=True)
class Recheck:
    """Read the view of the PLC; a part that nobody asked about is asked about only with `recover`."""

    binding: Binding
    recover: bool = True


@dataclass(frozen=True)
class Gap:
    """Values of the trigger are missing here."""


@dataclass(frozen=True)
class AnswerReceived:
    """The answer to a request."""

    request_id: str
    answer: Answer
    ticks: float = field(default_factory=time.monotonic)
    """When it came."""


@dataclass(frozen=True)
class TriggerUnusable:
    """A trigger's value could not be used, no usable one followed, and its part's time is up."""

    sample: Sample


Event = Value | Tick | Recheck | Gap | AnswerReceived | TriggerUnusable


class EventQueue:
    """A queue that never blocks who puts into it; no value is taken while `backlog` events wait."""

    def __init__(self, backlog: int) -> None:
        self._backlog = backlog
        self._queue: asyncio.Queue[Event] = asyncio.Queue()
        self._values: deque[Value | Tick] = deque()
        """The values and ticks that are in it."""
        self._ends_with_gap = False

    def put_value(self, event: Value | Tick) -> bool:
        """Put a value or a tick; return False where the queue is full and it is dropped."""
        if self._queue.qsize() >= self._backlog:
            return False
        self._ends_with_gap = False
        self._values.append(event)
        self._queue.put_nowait(event)
        return True

    def put(self, event: Recheck | AnswerReceived | TriggerUnusable) -> None:
        """Put an event whose number is bounded by the parts that wait."""
        self._queue.put_nowait(event)

    def queued(self, role: str) -> list[Sample]:
        """Return the values of a role that are in the queue, in order."""
        return [each.sample for each in self._values if isinstance(each, Value) and each.role == role]

    def mark_gap(self) -> None:
        """Put a gap; a second one before the next value changes nothing."""
        if not self._ends_with_gap:
            self._ends_with_gap = True
            self._queue.put_nowait(Gap())

    async def get(self) -> Event:
        """Return the next event, once there is one."""
        event = await self._queue.get()
        if isinstance(event, Gap):
            self._ends_with_gap = False
        elif isinstance(event, Value | Tick):
            self._values.popleft()
        return event

    def __len__(self) -> int:
        return self._queue.qsize()
