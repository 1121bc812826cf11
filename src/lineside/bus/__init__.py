"""One Bus: topics, at-least-once delivery, acknowledgement after the work is done.

Transports: `mqtt` (paho-mqtt) and `memory` (tests, one process).
"""

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Protocol, Self


class Message(Protocol):
    """One message from the bus, unacknowledged until `ack` is called."""

    @property
    def topic(self) -> str:
        """The topic that it was published on."""

    @property
    def payload(self) -> bytes:
        """The message itself."""

    @property
    def after_gap(self) -> bool:
        """Whether messages of this topic may be missing before this one: it is the first on a new connection."""

    def ack(self) -> None:
        """Say that the work is done and the message may be forgotten; calling again changes nothing."""


class Subscription(Protocol):
    """The messages of one topic, in order; iterate over it from one task only."""

    def __aiter__(self) -> AsyncIterator[Message]:
        """Iterate for ever; outages are waited out."""


class Bus(Protocol):
    """A connection to the bus. Subscribe first, then enter it: what waited there is delivered at once."""

    def subscribe(self, topic: str) -> Subscription:
        """Return the messages of one topic (no wildcards), from when the bus is entered."""

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False, keep: bool = True) -> None:
        """Return once the broker has taken the message; wait while it is away.

        Without `keep` it is sent with QoS 0: at most once, to clients that are connected now.

        Raises BacklogFull at once when too many already wait.
        """

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


__all__ = ["Bus", "Message", "Subscription"]
