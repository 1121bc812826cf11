"""What a rollout asks of a gate, whichever it is."""

from dataclasses import dataclass, field
from typing import Literal, Protocol

from lineside_fleet.state.document import StageState


@dataclass(frozen=True)
class Judged:
    """A verdict, with a sentence each for what it rests on."""

    verdict: Literal["promote", "hold", "stop"]
    sentences: list[str] = field(default_factory=list)
    is_look: bool = True
    """Whether something was compared; where there was nothing to look at, none of the planned looks is spent."""


class Gate(Protocol):
    """Compares a staged version with the version before it."""

    def judge(self, stage: StageState, look: int) -> Judged:
        """Return the verdict of the `look`th look at a stage, from 1; raises LinesideError where it has no data."""
