"""The bus within one process, for tests: at least once, unacknowledged messages come again after a reconnect."""

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

from lineside.bus import Promises
from lineside.errors import BacklogFull


class MemoryBroker:
    """What the buses of one test share. `online = False` is an outage: publishing waits, nothing is delivered."""

    def __init__(self) -> None:
        self.published: list[tuple[str, bytes]] = []
        self._subscriptions: defaultdict[str, list[MemorySubscription]] = defaultdict(list)
        self._retained: dict[str, bytes] = {}
        self._online = asyncio.Event()
        self._online.set()

    @property
    def online(self) -> bool:
        """Whether messages flow."""
        return self._online.is_set()

    @online.setter
    def online(self, value: bool) -> None:
        if value:
            for subscriptions in self._subscriptions.values():
                for subscription in subscriptions:
                    subscription.redeliver()
                    subscription.gap = True
            self._online.set()
        else:
            self._online.clear()

    async def deliver(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Hand a message to every subscription of its topic, once the broker is online; to later ones if retained."""
        await self._online.wait()
        if retain:
            self._retained[topic] = payload
        self.published.append((topic, payload))
        for subscription in self._subscriptions[topic]:
            subscription.offer(MemoryMessage(topic, payload, subscription))

    def add(self, topic: str) -> "MemorySubscription":
        """Register a subscription."""
        subscription = MemorySubscription()
        self._subscriptions[topic].append(subscription)
        if retained := self._retained.get(topic):  # an empty one takes it away, as over MQTT
            subscription.offer(MemoryMessage(topic, retained, subscription))
        return subscription


class MemoryMessage:
    """A message that remembers whether it was acknowledged."""

    def __init__(self, topic: str, payload: bytes, owner: "MemorySubscription") -> None:
        self.topic = topic
        self.payload = payload
        self.after_gap = False
        self._owner = owner

    def ack(self) -> None:
        """Forget the message."""
        self._owner.forget(self)


class MemorySubscription:
    """Messages of one topic, and those taken but not acknowledged."""

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[MemoryMessage] = asyncio.Queue()
        self.unacknowledged: deque[MemoryMessage] = deque()
        self.gap = True

    def offer(self, message: MemoryMessage) -> None:
        """Queue a message."""
        message.after_gap, self.gap = self.gap, False
        self._waiting.put_nowait(message)

    def forget(self, message: MemoryMessage) -> None:
        """Take an acknowledgement; a second one changes nothing."""
        if message in self.unacknowledged:
            self.unacknowledged.remove(message)

    def redeliver(self) -> None:
        """Queue what was taken and not acknowledged again, as a broker does after a reconnect."""
        while self.unacknowledged:
            self._waiting.put_nowait(self.unacknowledged.popleft())

    async def __aiter__(self) -> AsyncIterator[MemoryMessage]:
        """Iterate for ever."""
        while True:
            message = await self._waiting.get()
            self.unacknowledged.append(message)
            yield message


class MemoryBus:
    """A Bus on a MemoryBroker."""

    promises = Promises(keeps=True, redelivers=True, retains=True, reconnects=True)

    def __init__(self, broker: MemoryBroker, *, max_backlog: int = 1000) -> None:
        self._broker = broker
        self._max_backlog = max_backlog
        self._backlog = 0

    def subscribe(self, topic: str) -> MemorySubscription:
        """Return the messages of one topic."""
        return self._broker.add(topic)

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False, keep: bool = True) -> None:
        """Deliver a message; raises BacklogFull when too many wait."""
        del keep
        if self._backlog >= self._max_backlog:
            raise BacklogFull(f"{self._backlog} messages wait for the broker", remedy="raise bus.max_backlog")
        self._backlog += 1
        try:
            await self._broker.deliver(topic, payload, retain=retain)
        finally:
            self._backlog -= 1

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None
