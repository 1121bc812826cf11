"""Puts the messages of one subscription in the order of their sequence numbers, and tells which are missing.

Several Publish requests wait at the server at once, so responses may be reordered. Sequence numbers begin with 1, grow
by one with each message that has content, and 1 follows 2^32 - 1; a keep-alive carries the number of the next message
(OPC 10000-4, 5.14.1.1). Pure: `subscriptions` requests missing messages again.
"""

from lineside_opcua_bridge.link.publishing import Message

_NUMBERS = 0xFFFFFFFF
"""How many sequence numbers there are: 1 to 2^32 - 1."""


def after(number: int, steps: int = 1) -> int:
    """Return the sequence number `steps` after this one."""
    return (number - 1 + steps) % _NUMBERS + 1


def distance(first: int, second: int) -> int:
    """Return how many steps the second number is after the first."""
    return (second - first) % _NUMBERS


class SequenceTracker:
    """The messages of one subscription; at most `limit` are kept while one before them is missing."""

    def __init__(self, *, limit: int = 256) -> None:
        self.expected = 1
        """The number that comes next."""
        self._limit = limit
        self._early: dict[int, Message] = {}
        self._announced = 1
        """All messages before this number exist, by the last message or keep-alive."""

    def take(self, message: Message) -> list[Message]:
        """Take a message; return those that can be delivered now, in order; none for a message that came before."""
        ahead = distance(self.expected, message.number)
        if ahead > _NUMBERS // 2:
            return []
        follows = message.number if message.is_keepalive else after(message.number)
        if distance(self.expected, follows) > distance(self.expected, self._announced):
            self._announced = follows
        if not message.is_keepalive:
            self._early[message.number] = message
        return self._ready()

    def missing(self) -> list[int]:
        """Return the numbers of the messages that exist and have not come, at most `limit` of them."""
        steps = min(distance(self.expected, self._announced), self._limit)
        numbers = (after(self.expected, step) for step in range(steps))
        return [number for number in numbers if number not in self._early]

    @property
    def is_full(self) -> bool:
        """Whether so many messages are kept that the missing one must be given up."""
        return distance(self.expected, self._announced) >= self._limit

    def give_up(self) -> tuple[int, list[Message]]:
        """Give up the missing messages; return how many they are, and the messages that can be delivered now."""
        missing = 0
        while self.expected not in self._early and self.expected != self._announced:
            if not self._early:  # the numbers may be far apart
                missing += distance(self.expected, self._announced)
                self.expected = self._announced
                break
            nearest = min(self._early, key=lambda number: distance(self.expected, number))
            missing += distance(self.expected, nearest)
            self.expected = nearest
        return missing, self._ready()

    def _ready(self) -> list[Message]:
        ready = []
        while message := self._early.pop(self.expected, None):
            ready.append(message)
            self.expected = after(self.expected)
        if distance(self._announced, self.expected) <= _NUMBERS // 2:
            self._announced = self.expected
        return ready
