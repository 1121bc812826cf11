"""Who watches the local topics of a Greengrass core: a component of its own."""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from lineside.bus.ipc import payload_of
from lineside.contract import REQUEST_TOPIC, RESULT_TOPIC
from lineside.greengrass.client import Client
from lineside.greengrass.component import Component
from lineside.greengrass.errors import GreengrassError
from lineside.threads import hand_over, run_abandonable
from lineside_bench.errors import BenchError
from lineside_bench.runner.observer import Observer

CONNECT_S = 15.0
AGAIN_S = 1.0


class IpcObserver(Observer):
    """Watches a core's local topics as this component, in the SDK's thread; it outlives the core.

    With `wait` false entering does not wait for the core.
    """

    def __init__(
        self,
        component: Component,
        *,
        topics: tuple[str, str] = (REQUEST_TOPIC, RESULT_TOPIC),
        on_change: Callable[[str | None], None] = lambda _why: None,
        wait: bool = True,
    ) -> None:
        super().__init__(topics, on_change)
        self._wait = wait
        self._component = component
        self._subscribed = asyncio.Event()
        self._why = "no answer"
        self._watching: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._watching = asyncio.create_task(self._watch(), name="observer")
        if not self._wait:
            return self
        try:
            async with asyncio.timeout(CONNECT_S):
                await self._subscribed.wait()
        except TimeoutError:
            await self.__aexit__(None, None, None)
            raise BenchError(
                f"the observer could not subscribe at {self._component.socket} within {CONNECT_S:g} s: {self._why}",
                remedy="See the nucleus' log",
            ) from None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)

    async def _watch(self) -> None:
        """Watch by one connection after the other."""
        while True:
            client = Client(self._component)
            try:
                self._why = await self._watched(client)
            except GreengrassError as error:
                self._why = str(error)
            finally:
                client.close()
            self._on_change(self._why)
            if self._subscribed.is_set():
                self.away()
            await asyncio.sleep(AGAIN_S)

    async def _watched(self, client: Client) -> str:
        """Watch until the connection ends, and return why it did; raises GreengrassError where it cannot be made."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[str] = loop.create_future()
        await run_abandonable(client.connect, "observer connect")
        client.when_ended(lambda reason: hand_over(loop, _end, ended, reason))
        for topic in self.topics:
            ear = _Ear(self, topic)
            await asyncio.wrap_future(
                client.listen("SubscribeToTopic", ear, topic=topic, receive_mode="RECEIVE_ALL_MESSAGES")
            )
        self._subscribed.set()
        self.back()
        return await ended


class _Ear:
    """Hands the messages of one topic on."""

    def __init__(self, observer: Observer, topic: str) -> None:
        self._observer = observer
        self._topic = topic

    def event(self, event: Any) -> None:
        self._observer.take(self._topic, payload_of(event))

    def unreadable(self, _reason: str) -> None:
        self._observer.unreadable += 1

    def closed(self) -> None:
        """Say nothing: the connection's end is told by itself."""


def _end(ended: asyncio.Future[str], reason: str) -> None:
    if not ended.done():
        ended.set_result(reason)
