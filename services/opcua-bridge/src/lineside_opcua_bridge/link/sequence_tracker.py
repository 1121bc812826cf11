"""The messages of one subscription in the order in which the server numbered them, and which of them are missing.

Several Publish requests wait at the server at once, so that their answers may overtake one another. Sequence numbers
say what belongs where: they begin with 1, grow by one with each message that has content, and 1 follows 2^32 - 1; a
sign of life carries the number that comes next (OPC 10000-4, 5.14.1.1). It decides only: whoever holds it asks the
server to repeat what is missing.
"""

from lineside_opcua_bridge.link.publishing import Message

_NUMBERS = 0xFFFFFFFF
"""How many numbers there are: 1 to 2^32 - 1."""


def after(number: int, steps: int = 1) -> int:
    """Return the sequence number that comes `steps` after this one."""
    return (number - 1 + steps) % _NUMBERS + 1


def distance(first: int, second: int) -> int:
    """Return how many steps lead from the first number to the second."""
    return (second - first) % _NUMBERS


class SequenceTracker:
    """The messages of one subscription. `limit`: how many may wait for one that is missing."""

    def __init__(self, *, limit: int = 256) -> None:
        self.expected = 1
        """The number that comes next."""
        self._limit = limit
        self._waiting: dict[int, Message] = {}
        self._announced = 1
        """The number before which everything exists, by what the server said last."""

    def take(self, message: Message) -> list[Message]:
        """Take a message; return what can be handed on now, in order. One that was there before gives nothing."""
        ahead = distance(self.expected, message.number)
        if ahead > _NUMBERS // 2:
            return []
        follows = message.number if message.is_keepalive else after(message.number)
        if distance(self.expected, follows) > distance(self.expected, self._announced):
            self._announced = follows
        if not message.is_keepalive:
            self._waiting[message.number] = message
        return self._ready()

    def missing(self) -> list[int]:
        """Return the numbers of the messages that exist and did not come, at most `limit` of them."""
        steps = min(distance(self.expected, self._announced), self._limit)
        numbers = (after(self.expected, step) for step in range(steps))
        return [number for number in numbers if number not in self._waiting]

    @property
    def is_full(self) -> bool:
        """Whether so many wait that the missing one must be given up."""
        return distance(self.expected, self._announced) >= self._limit

    def give_up(self) -> tuple[int, list[Message]]:
        """Wait no longer for what is missing: return how many messages that is, and what can be handed on now."""
        missing = 0
        while self.expected not in self._waiting and self.expected != self._announced:
            if not self._waiting:  # a jump may be wide: it is not walked step by step
                missing += distance(self.expected, self._announced)
                self.expected = self._announced
                break
            nearest = min(self._waiting, key=lambda number: distance(self.expected, number))
            missing += distance(self.expected, nearest)
            self.expected = nearest
        return missing, self._ready()

    def _ready(self) -> list[Message]:
        ready = []
        while message := self._waiting.pop(self.expected, None):
            ready.append(message)
            self.expected = after(self.expected)
        if distance(self._announced, self.expected) <= _NUMBERS // 2:
            self._announced = self.expected
        return ready
