"""What a source of policies wishes, and what it is told: the port that all adapters share."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from lineside.contract import Policy, PolicySource
from lineside.policy_documents import named

Origin = PolicySource
"""The sources, by the names that settings, messages and page use."""

Document = Mapping[str, Any]
"""A policy as JSON, with only what somebody names."""


@dataclass(frozen=True)
class Wish:
    """What a source wishes now; it takes the place of what the same source wished before.

    With `errors` it is no policy at all, and what the source wished last stands.
    """

    origin: Origin
    document: Document | None = None
    """What it names of a policy; None without `errors`: it wishes nothing any more."""
    errors: tuple[str, ...] = ()
    """Everything that is wrong with it, a sentence each."""
    stands: Document | None = None
    """Beside `errors`: what was in force by this source before our start, where it knows that."""

    @classmethod
    def of(cls, origin: Origin, policy: Policy) -> "Wish":
        """Return a source's wish for what a policy names."""
        return cls(origin, named(policy))


@dataclass(frozen=True)
class Answer:
    """What became of a source's wish."""

    state: Literal["applied", "refused"]
    errors: tuple[str, ...] = ()


class Source(Protocol):
    """An adapter: hears wishes from somewhere."""

    @property
    def origin(self) -> Origin:
        """Which one it is."""

    def wishes(self) -> AsyncIterator[Wish]:
        """Iterate over what it wishes, for ever; one that is overtaken by a newer one need not be answered."""

    async def answer(self, answer: Answer) -> None:
        """Take what became of the newest wish; called in order, and never for what was overtaken."""
