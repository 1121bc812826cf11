"""Takes results from the bus, closes each period, sends what waits: three independent tasks."""

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

import structlog
from prometheus_client import CollectorRegistry

from lineside.bus import Bus, Subscription
from lineside.bus.faults import MessageFaults
from lineside.connections import Connection
from lineside.contract import Unreadable, parse_result, utc_now
from lineside_exporter.cloudwatch import greengrass
from lineside_exporter.cloudwatch.aggregation import Aggregator, Block
from lineside_exporter.cloudwatch.errors import CloudWatchError, NotAllowed, Refused, Throttled
from lineside_exporter.cloudwatch.greengrass import Greengrass
from lineside_exporter.cloudwatch.metrics import Metrics
from lineside_exporter.cloudwatch.outbox import Outbox
from lineside_exporter.cloudwatch.settings import GreengrassSettings, PutMetricDataSettings

log = structlog.get_logger("lineside.exporter.cloudwatch")

OLDEST: Final = timedelta(days=13)
"""Age from which figures are not sent any more; CloudWatch refuses the whole call where one is two weeks old."""
FIRST_S, LONGEST_S = 1.0, 300.0
_NOT_ALLOWED_S = 60.0


class Sender(Protocol):
    """Sends figures to CloudWatch."""

    target: str

    def share(self, block: Block) -> float:
        """Return how much of a call a block fills, 0 to 1."""

    async def send(self, blocks: Sequence[Block], at: Callable[[Block], datetime]) -> None:
        """Send blocks in one call, stamped with `at`; raises CloudWatchError."""


class Reporter:
    """Aggregates results, sends figures. Make it before the bus is entered; run its `work` for the service's life."""

    def __init__(
        self,
        settings: PutMetricDataSettings | GreengrassSettings,
        *,
        thing: str,
        bus: Bus,
        result_topic: str,
        connection: Callable[..., Connection],
        registry: CollectorRegistry,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._settings = settings
        self._sender = _sender(settings, thing, bus)
        self._results = bus.subscribe(result_topic)
        self._status: Subscription | None = None
        if isinstance(settings, GreengrassSettings):
            self._status = bus.subscribe(f"{settings.topic}/status")
        self._link = connection("cloudwatch", self._sender.target, required=False, first_s=FIRST_S, longest_s=LONGEST_S)
        self._faults = MessageFaults("exporter", registry)
        self._monotonic = monotonic
        self._now = now
        self._aggregator = Aggregator(settings.max_series)
        self._outbox = Outbox(settings.keep_periods)
        self._waiting = asyncio.Event()
        self._began = monotonic()
        self._too_many_said = False
        self._singly = 0
        self.metrics = Metrics(registry, waiting=lambda: self._outbox.periods, series=lambda: self._aggregator.series)

    def work(self) -> Iterator[tuple[str, Coroutine[Any, Any, None]]]:
        """Yield what is to be run for the service's whole life, each with a name."""
        yield "cloudwatch results", self._faults.each(self._results, lambda message: self.take(message.payload))
        yield "cloudwatch periods", self._close_periods()
        yield "cloudwatch calls", self._send()
        if self._status is not None:
            status = self._faults.each(self._status, lambda message: self.read_status(message.payload))
            yield "cloudwatch status", status

    def take(self, payload: bytes) -> None:
        """Count a result."""
        try:
            result = parse_result(payload)
        except Unreadable as error:
            self.metrics.dropped("unreadable")
            log.debug("a result cannot be read", code=error.code, reason=error.reason)
            return
        if self._aggregator.add(result):
            self.metrics.results.inc()
            return
        self.metrics.dropped("series")
        if not self._too_many_said:
            self._too_many_said = True
            log.warning(
                "more pairs of station and model than are sent; their results are not",
                setting="exporter.cloudwatch.max_series",
                most=self._settings.max_series,
            )

    def close_period(self) -> None:
        """End the period: what was counted waits to be sent."""
        began, now = self._began, self._monotonic()
        due = began + self._settings.period_s
        # From when it was due, so that periods do not wander over the minutes that CloudWatch keeps.
        self._began = due if due <= now < due + self._settings.period_s else now
        for block in self._outbox.put(self._aggregator.close(began)):
            self.metrics.dropped("backlog", block.results)
        if self._outbox:
            self._waiting.set()

    async def send_next(self) -> float:
        """Make one call with the oldest that waits; return the seconds until the next may be made."""
        blocks = self._outbox.first(self._share)
        old = [block for block in blocks if self._now() - self._at(block) > OLDEST]
        if old:
            self._drop(old, "too-old")
            return 0.0
        if not self._link.is_online:
            self._link.connecting()
        try:
            await self._sender.send(blocks, self._at)
        except Refused as error:
            self.metrics.call("refused")
            if len(blocks) > 1:
                self._singly = len(blocks)  # one of them is the cause: the others are not lost with it
            else:
                log.warning("CloudWatch refuses figures; they are dropped", reason=error.what)
                self._drop(blocks, "refused")
                self._singly = max(0, self._singly - 1)
            return self._link.backoff(error)
        except CloudWatchError as error:
            self.metrics.call(_outcome(error))
            least_s = _NOT_ALLOWED_S * (1 - random.random() / 4) if isinstance(error, NotAllowed) else 0.0  # noqa: S311 - jitter, not a secret
            return self._link.backoff(error, least_s=least_s)
        self._singly = max(0, self._singly - 1)
        self._link.online()
        self.metrics.call("sent")
        self.metrics.sent.inc(self._outbox.remove(blocks))
        return 0.0

    def _share(self, block: Block) -> float:
        return 1.0 if self._singly else self._sender.share(block)

    def _at(self, block: Block) -> datetime:
        """Return when a block's period began, by what the clock says now: it may have been set right since."""
        return (self._now() - timedelta(seconds=self._monotonic() - block.began)).astimezone(UTC)

    def _drop(self, blocks: Sequence[Block], reason: str) -> None:
        self.metrics.dropped(reason, self._outbox.remove(blocks))

    async def _close_periods(self) -> None:
        while True:
            await asyncio.sleep(max(0.0, self._began + self._settings.period_s - self._monotonic()))
            self.close_period()

    async def _send(self) -> None:
        while True:
            await self._waiting.wait()
            wait_s = await self.send_next()
            if not self._outbox:
                self._waiting.clear()
            await asyncio.sleep(wait_s)

    def read_status(self, payload: bytes) -> None:
        """Take what Greengrass' component says of a figure."""
        reason = greengrass.failure(payload)
        if reason is not None:
            self.metrics.call("refused")
            log.warning("Greengrass' component did not take a figure", reason=reason)


def _sender(settings: PutMetricDataSettings | GreengrassSettings, thing: str, bus: Bus) -> Sender:
    if isinstance(settings, GreengrassSettings):
        return Greengrass(settings, thing, bus)
    # boto3 takes tens of megabytes: it is imported only where it is used.
    from lineside_exporter.cloudwatch.put_metric_data import PutMetricData  # noqa: PLC0415 - as said above

    return PutMetricData(settings, thing)


def _outcome(error: CloudWatchError) -> str:
    if isinstance(error, Throttled):
        return "throttled"
    return "not-allowed" if isinstance(error, NotAllowed) else "failed"
