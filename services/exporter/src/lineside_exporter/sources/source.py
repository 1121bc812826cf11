"""What the joined `/metrics` is made of: sources, each read in the background in its own period."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from prometheus_client.core import Metric

KINDS = ("counter", "gauge", "histogram", "summary", "untyped")


@dataclass(frozen=True, slots=True)
class Family:
    """One metric family as text (exposition format 0.0.4), ready to be joined with its namesakes.

    `name` is the one of its `# TYPE` line, `kind` one of KINDS, `help` escaped as it is written; `lines` are its
    samples, each without the end of the line.
    """

    name: str
    kind: str
    help: str
    lines: tuple[str, ...]


@dataclass
class Reading:
    """What a source said, already as text: its families, and how many series were left out, by reason."""

    families: list[Family]
    dropped: Counter[str] = field(default_factory=Counter)


class Source(Protocol):
    """Something that is read every `period_s`, each time for at most `timeout_s`.

    `name` is the `source` label of its health and the name of its connection, `target` what people know it by. What
    cannot be read is left out of the reading; a source that is away raises, and shows nothing until it is back.
    """

    @property
    def name(self) -> str:
        """Return the source's name: lower case, words joined by dashes, one of a kind on this box."""

    @property
    def target(self) -> str:
        """Return what is read: an address, a socket, a folder."""

    @property
    def period_s(self) -> float:
        """Return the seconds from one reading to the next."""

    @property
    def timeout_s(self) -> float:
        """Return the seconds after which a reading is given up."""

    async def read(self) -> Reading | Sequence[Metric]:
        """Return what is true now; raises when it cannot be known, with a reason for people.

        It is cancelled at its timeout, and is never called while a call of it runs. What blocks goes to a thread.
        """
