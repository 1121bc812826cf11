"""What a station is told, in the order in which it was told it; the values among it are bounded."""

import asyncio
from collections import deque
from dataclasses import dataclass

from lineside_opcua_bridge.link.subscriber import Binding
from lineside_opcua_bridge.samples import Sample
from lineside_opcua_bridge.station.parts import Answer


@dataclass(frozen=True)
class Value:
    """A value of a tag that says when to act: trigger, request or done."""

    line: int | None
    """Which unbroken line of values it belongs to; None for a collector's tag."""
    role: str
    sample: Sample


@dataclass(frozen=True)
class Tick:
    """A trigger that is no value: the clock's, or a window that is complete."""

    sample: Sample


@dataclass(frozen=True)
class Recheck:
    """Look at the PLC; a part that nobody asked about is asked about only with `recover`."""

    binding: Binding
    recover: bool = True


@dataclass(frozen=True)
class Gap:
    """Values of the trigger are missing at this place of their line."""


@dataclass(frozen=True)
class AnswerReceived:
    """The answer to a request."""

    request_id: str
    answer: Answer


@dataclass(frozen=True)
class Unread:
    """A trigger's value that could not be used was not followed by one that can, and its part's time is up."""

    sample: Sample


Event = Value | Tick | Recheck | Gap | AnswerReceived | Unread


class Mailbox:
    """A queue that never blocks who puts into it; `backlog` is how many may wait for values to be taken."""

    def __init__(self, backlog: int) -> None:
        self._backlog = backlog
        self._queue: asyncio.Queue[Event] = asyncio.Queue()
        self._values: deque[Value | Tick] = deque()
        """The values and ticks that are in it."""
        self._doubted = False

    def put(self, event: Value | Tick) -> bool:
        """Take a value or a tick; return False where too many wait and it is dropped."""
        if self._queue.qsize() >= self._backlog:
            return False
        self._doubted = False
        self._values.append(event)
        self._queue.put_nowait(event)
        return True

    def waiting(self, role: str) -> list[Sample]:
        """Return the values of a role that were not taken yet, in order."""
        return [each.sample for each in self._values if isinstance(each, Value) and each.role == role]

    def tell(self, event: Recheck | AnswerReceived | Unread) -> None:
        """Take what is bounded by the parts that wait."""
        self._queue.put_nowait(event)

    def mark_gap(self) -> None:
        """Say that values are missing here; saying it again before another value comes changes nothing."""
        if not self._doubted:
            self._doubted = True
            self._queue.put_nowait(Gap())

    async def get(self) -> Event:
        """Return the next event, once there is one."""
        event = await self._queue.get()
        if isinstance(event, Gap):
            self._doubted = False
        elif isinstance(event, Value | Tick):
            self._values.popleft()
        return event

    def __len__(self) -> int:
        return self._queue.qsize()
