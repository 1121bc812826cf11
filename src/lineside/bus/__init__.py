"""One Bus: topics, messages in their order, and what the transport promises beyond that.

Transports: `mqtt` (paho-mqtt), `ipc` (AWS IoT Greengrass) and `memory` (tests, one process); `opening` makes the one
that the settings name. Over MQTT a message is delivered at least once and acknowledged after the work is done; IPC
delivers to who listens now, and forgets. `Bus.promises` says which, for callers that have to do without.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self


@dataclass(frozen=True)
class Promises:
    """What a transport does beyond handing messages to who listens, in the order in which one publisher sent them.

    Over MQTT `retains` is the broker's own word once it is connected; all else is the same over a bus's life.
    """

    keeps: bool
    """A message that is published while its subscriber is away waits for it, unless published without `keep`."""
    redelivers: bool
    """A message that was taken and not acknowledged comes again; without this `Message.ack` says nothing to anybody."""
    retains: bool
    """Who subscribes gets the last message that was published with `retain`; else only what comes from then on."""
    reconnects: bool
    """An outage is waited out; else the end of the connection is the end of the process, for its supervisor to start
    it again, and what was under way then is lost."""


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
        """Say that the work is done and the message may be forgotten; calling again changes nothing.

        Where the bus does not redeliver, it was forgotten before.
        """


class Subscription(Protocol):
    """The messages of one topic, in order; iterate over it from one task only."""

    def __aiter__(self) -> AsyncIterator[Message]:
        """Iterate for ever; outages are waited out."""


class Bus(Protocol):
    """A connection to the bus. Subscribe first, then enter it: what waited there is delivered at once.

    A client's own messages come to its own subscriptions like everybody's.
    """

    @property
    def promises(self) -> Promises:
        """What this transport does beyond handing messages to who listens."""

    def subscribe(self, topic: str) -> Subscription:
        """Return the messages of one topic (no wildcards), from when the bus is entered."""

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False, keep: bool = True) -> None:
        """Return once the broker has taken the message; wait while it is away, where the bus reconnects.

        Without `keep` it is sent with QoS 0: at most once, to clients that are connected now.

        Raises BacklogFull at once when too many already wait, MessageRefused where it will never be taken, BusError
        where the connection ended for good.
        """

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


__all__ = ["Bus", "Message", "Promises", "Subscription"]
