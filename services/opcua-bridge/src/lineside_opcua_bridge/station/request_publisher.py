"""Publishes requests on the bus, each in a task of its own: a broker that is away must not delay anything else."""

import asyncio
import time
from collections.abc import Callable

import structlog

from lineside import telemetry
from lineside.bus import Bus
from lineside.connections import Connection
from lineside.errors import BusError
from lineside_opcua_bridge.metrics import Metrics
from lineside_opcua_bridge.station.overload import OVERLOAD_CODES, Dispatcher, Waiting
from lineside_opcua_bridge.station.parts import Answer, Part, unknown

AWAY = "broker-away"
"""Code of a part whose request did not reach the broker."""

log = structlog.get_logger("lineside.opcua_bridge.station")


class RequestPublisher:
    """The requests of one trigger; `refused` gets the answer of a request that is not published, or was refused.

    The `dispatcher`, common to all triggers, says which are published while more parts come than can be judged.
    """

    def __init__(
        self,
        trigger: str,
        station: str,
        *,
        bus: Bus,
        topic: str,
        metrics: Metrics,
        refused: Callable[[str, Answer], None],
        dispatcher: Dispatcher,
        broker: Connection | None = None,
    ) -> None:
        self._trigger = trigger
        self._station = station
        self._dispatcher = dispatcher
        self._bus = bus
        self._topic = topic
        self._metrics = metrics
        self._refused = refused
        self.tasks: asyncio.TaskGroup | None = None
        """Where requests are published; without it nothing is."""
        self._publishing: dict[str, asyncio.Task[None]] = {}
        self._unsent: set[str] = set()
        self._broker = broker

    def away(self, part: Part) -> Answer | None:
        """Return the answer of a part whose request cannot be published in time: the broker is known to be away."""
        if self._broker is None or self._broker.away_for() <= part.answer_by - time.monotonic():
            return None
        return unknown("bus", f"the broker is away: {self._broker.detail}", code=AWAY)

    def unsent(self, part: Part) -> Answer | None:
        """Return the answer of a part whose request was not published until its deadline; None where it was."""
        if self._dispatcher.is_held(part.request_id):
            return unknown("overload", self._dispatcher.why)
        task = self._publishing.get(part.request_id)
        if part.request_id not in self._unsent and (task is None or task.done()):
            return None
        why = f": {self._broker.detail}" if self._broker and self._broker.detail else ""
        return unknown("deadline", f"the broker did not take the request in time{why}", code=AWAY)

    def publish(self, part: Part, payload: bytes) -> None:
        """Publish a part's request once it is its turn, in a task of its own, until its deadline."""
        waiting = Waiting(part.request_id, self._station, part.seen, part.answer_by)

        def refuse() -> None:
            self._refused(part.request_id, unknown("overload", self._dispatcher.why))

        self._dispatcher.ask(waiting, lambda: self._start(part, payload), refuse)

    def answered(self, request_id: str, answer: Answer) -> None:
        """Take the answer to a request: it tells how many requests are judged in time."""
        if answer.origin == "result":
            self._dispatcher.heard()
        if answer.origin == "deadline" or answer.code in OVERLOAD_CODES:
            self._dispatcher.answered(request_id, in_time=False)
        elif answer.origin == "result":
            self._dispatcher.answered(request_id, in_time=True)
        else:
            self._dispatcher.ended(request_id)

    def _start(self, part: Part, payload: bytes) -> None:
        if self.tasks:
            self._publishing[part.request_id] = self.tasks.create_task(
                self._publish(part, payload), name=f"publish {self._trigger} {part.request_id}"
            )

    def close(self, part: Part) -> None:
        """Take it that a part waits no longer; a request that is not published yet, and has no answer, is withdrawn."""
        self._dispatcher.ended(part.request_id)
        self._unsent.discard(part.request_id)
        task = self._publishing.pop(part.request_id, None)
        if task and part.answer is None:
            task.cancel()

    async def _publish(self, part: Part, payload: bytes) -> None:
        with telemetry.about_request(part.request_id, trigger=self._trigger):
            outcome = "published"
            try:
                async with asyncio.timeout(part.answer_by - time.monotonic()):
                    await self._bus.publish(self._topic, payload)
            except TimeoutError:
                outcome = "unsent"
                if part.request_id in self._publishing:  # else the part waits no longer
                    self._unsent.add(part.request_id)
                log.warning("the broker did not take the request in time")
            except BusError as error:
                outcome = "refused"
                log.warning("the bus refused the request", error=error.what, remedy=error.remedy)
                self._refused(part.request_id, unknown("bus", error.what))
            self._metrics.requests.labels(self._trigger, outcome).inc()
