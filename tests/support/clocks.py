"""A clock that a test sets."""

from typing import Generic, TypeVar

Instant = TypeVar("Instant")


class ManualClock(Generic[Instant]):
    """Shows `now`, which the test changes."""

    def __init__(self, now: Instant) -> None:
        self.now = now

    def __call__(self) -> Instant:
        return self.now
