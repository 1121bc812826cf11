"""Who listens to which topic. Filters have MQTT's wildcards: `+` one level, `#` the rest."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, eq=False)
class Listener:
    """One subscription: what it wants, whose it is, and where messages go."""

    wanted: str
    component: str
    own: bool
    """Whether it gets what its own component publishes."""
    send: Callable[[str, dict[str, object]], None]
    """Takes the topic and the message as its shape has it."""


class Topics:
    """The subscriptions of one kind, local or of AWS IoT Core."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    def __len__(self) -> int:
        return len(self._listeners)

    def add(self, listener: Listener) -> Callable[[], None]:
        """Add a subscription; return what ends it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    def of(self, topic: str, publisher: str | None) -> Iterator[Listener]:
        """Yield who gets a message that this component publishes; None is nobody's."""
        for listener in list(self._listeners):
            if covers(listener.wanted, topic) and (listener.own or listener.component != publisher):
                yield listener


def is_wild(wanted: str) -> bool:
    """Return whether a filter has wildcards."""
    return bool({"+", "#"} & set(wanted.split("/")))


def covers(wanted: str, topic: str) -> bool:
    """Return whether a filter covers a topic."""
    filters, levels = wanted.split("/"), topic.split("/")
    for number, each in enumerate(filters):
        if each == "#":
            return True
        if number >= len(levels) or each not in {"+", levels[number]}:
            return False
    return len(filters) == len(levels)
