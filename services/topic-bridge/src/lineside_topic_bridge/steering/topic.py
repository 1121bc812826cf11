"""The retained message on lineside/<thing>/policy as a source of wishes; an empty one takes the wish away."""

from collections.abc import AsyncIterator

from lineside.bus import Subscription
from lineside.policy_documents import PolicyFaults, read_policy
from lineside_topic_bridge.steering.wishes import Answer, Origin, Wish


class TopicSource:
    """Hears the topic. What became of a wish is on the topic beside it, see `reporting`."""

    origin: Origin = "topic"

    def __init__(self, desired: Subscription, max_bytes: int) -> None:
        self._desired = desired
        self._max_bytes = max_bytes

    async def wishes(self) -> AsyncIterator[Wish]:
        """Iterate for ever."""
        async for message in self._desired:
            # At once: MQTT acknowledges in order, so a policy that waits would hold up the requests behind it.
            # Nothing is lost by it, the broker sends what is retained again after every reconnect.
            message.ack()
            yield wish_of(message.payload, self._max_bytes)

    async def answer(self, answer: Answer) -> None:
        """Leave it to the report on the bus."""


def wish_of(payload: bytes, max_bytes: int) -> Wish:
    """Return what a message wishes, with everything that is wrong with it."""
    if not payload:  # how MQTT takes a retained message away
        return Wish("topic")
    if len(payload) > max_bytes:
        return Wish("topic", errors=(f"the message has {len(payload)} bytes, allowed are {max_bytes}",))
    try:
        return Wish.of("topic", read_policy(payload))
    except PolicyFaults as error:
        return Wish("topic", errors=tuple(error.faults))
