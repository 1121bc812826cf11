"""The latest heartbeat goes out, and only that: what nobody took is replaced, so an outage ends without a flood."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from lineside.bus import Bus
from lineside.errors import BusError, LinesideError
from lineside.greengrass.client import Client
from lineside.greengrass.errors import GreengrassError
from lineside_deployer.metrics import Metrics

log = structlog.get_logger("lineside.deployer")

ANSWER_S = 10.0
Send = Callable[[bytes], Awaitable[None]]


class LatestSender:
    """Makes a heartbeat each period, and at once where asked; sends it as soon as it can be."""

    def __init__(self, make: Callable[[], Awaitable[bytes]], send: Send, period_s: float, metrics: Metrics) -> None:
        self._make = make
        self._send = send
        self._period_s = period_s
        self._metrics = metrics
        self._due = asyncio.Event()
        self._waiting: asyncio.Task[None] | None = None

    def now(self) -> None:
        """Have one sent at once."""
        self._due.set()

    async def run(self) -> None:
        """Send for ever."""
        try:
            while True:
                self._due.clear()
                payload = await self._make()
                await self._give_up()
                self._waiting = asyncio.create_task(self._bring(payload), name="heartbeat")
                try:
                    async with asyncio.timeout(self._period_s):
                        await self._due.wait()
                except TimeoutError:
                    continue
        finally:
            await self._give_up()

    async def _give_up(self) -> None:
        """Let a later one take the place of the one that waits."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.cancel()
            self._metrics.heartbeats.labels("replaced").inc()
            await asyncio.gather(self._waiting, return_exceptions=True)
        self._waiting = None

    async def _bring(self, payload: bytes) -> None:
        try:
            await self._send(payload)
        except LinesideError as error:
            self._metrics.heartbeats.labels("refused").inc()
            log.warning("a heartbeat was not taken", reason=str(error))
        else:
            self._metrics.heartbeats.labels("sent").inc()


def over_bus(bus: Bus, topic: str) -> Send:
    """Return what publishes on the bus, for the broker to retain."""

    async def send(payload: bytes) -> None:
        await bus.publish(topic, payload, retain=True)

    return send


def over_iot_core(nucleus: Client, topic: str) -> Send:
    """Return what publishes to AWS IoT Core by the nucleus."""

    async def send(payload: bytes) -> None:
        asked = nucleus.ask("PublishToIoTCore", topic_name=topic, qos="1", payload=payload)
        try:
            await asyncio.wait_for(asyncio.wrap_future(asked), ANSWER_S)
        except TimeoutError:
            raise BusError(f"the nucleus did not answer within {ANSWER_S:g} s") from None
        except GreengrassError as error:
            raise BusError(error.what, remedy=error.remedy) from None

    return send
