"""The parts of one station that wait for their verdict, in order, each with its own deadline.

What happens when parts come faster than verdicts (`overrun`) is decided here.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import structlog

from lineside.contract import Request
from lineside_opcua_bridge.metrics import Metrics
from lineside_opcua_bridge.station.parts import Answer, Closed, Part

log = structlog.get_logger("lineside.opcua_bridge.station")

Overrun = Literal["newest", "queue", "skip"]


class PartQueue:
    """The parts that wait; `closed` is called with each that does so no longer."""

    def __init__(
        self, trigger: str, *, overrun: Overrun, limit: int, metrics: Metrics, closed: Callable[[Part], None]
    ) -> None:
        self._trigger = trigger
        self._limit = 1 if overrun == "newest" else limit
        self._crowded = "superseded" if overrun == "newest" else "overrun"
        self._metrics = metrics
        self._closed = closed
        self._parts: deque[Part] = deque()
        self._deadlines: dict[str, asyncio.TimerHandle] = {}
        self._idle = asyncio.Event()
        self._idle.set()

    def __bool__(self) -> bool:
        return bool(self._parts)

    @property
    def parts(self) -> tuple[Part, ...]:
        """All of them, the one whose verdict is written next first."""
        return tuple(self._parts)

    @property
    def first(self) -> Part | None:
        """The part whose verdict is written next."""
        return self._parts[0] if self._parts else None

    @property
    def newest(self) -> Part | None:
        """The part that came last."""
        return self._parts[-1] if self._parts else None

    def get(self, request_id: str) -> Part | None:
        """Return the part of a request, where it still waits."""
        return next((part for part in self._parts if part.request_id == request_id), None)

    def admit(self, part: Part, at_deadline: Callable[[], None]) -> None:
        """Take a part to the end of the line; `at_deadline` is called when `unknown` is due, unless it is settled."""
        while len(self._parts) >= self._limit:
            self.drop(self._parts[0], self._crowded)
        self._parts.append(part)
        self._idle.clear()
        self._deadlines[part.request_id] = asyncio.get_running_loop().call_later(
            part.answer_by - time.monotonic(), at_deadline
        )

    def settle(self, part: Part) -> None:
        """Say that a part has its answer: its deadline need not decide any more."""
        if timer := self._deadlines.pop(part.request_id, None):
            timer.cancel()

    def close(self, part: Part) -> None:
        """Let a part go."""
        self.settle(part)
        self._parts.remove(part)
        self._closed(part)
        if not self._parts:
            self._idle.set()

    def drop(self, part: Part, reason: str) -> None:
        """Let a part go without a verdict: counted, and said."""
        self._metrics.lost_parts.labels(self._trigger, reason).inc()
        log.warning(
            "a part got no verdict from us",
            trigger=self._trigger,
            request_id=part.request_id,
            part_id=part.part_id,
            reason=reason,
            held=part.answer.verdict if part.answer else None,
        )
        part.lost = reason
        self.close(part)

    async def idle(self) -> None:
        """Return once no part waits."""
        await self._idle.wait()


class Asker(Protocol):
    """Who waits for the answer to a request."""

    def decided(self, request_id: str, answer: Answer) -> None:
        """Take the answer."""


@dataclass(frozen=True)
class Asked:
    """A request that waits for its answer: who asked, what, and the message as it was sent."""

    by: Asker
    request: Request
    payload: bytes


class Pending:
    """Which requests wait for an answer, by their id, and which no longer do."""

    def __init__(self) -> None:
        self.asked: dict[str, Asked] = {}
        self.closed = Closed()

    def close(self, part: Part) -> None:
        """Wait for this part's request no longer."""
        if part.asked:
            self.asked.pop(part.request_id, None)
            self.closed.add(part.request_id, by_result=part.answer is not None and part.answer.origin == "result")
