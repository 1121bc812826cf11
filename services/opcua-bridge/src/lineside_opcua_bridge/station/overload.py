"""Which requests are put on the bus while more parts come than can be judged in time. Pure, but for its clock.

Nothing is held back until a part's time is up without a verdict, or one comes back that expired on its way. Then so
many requests are on the bus at most as were answered in time: one more for as many verdicts as that, a fifth less for
each time that is up. The others wait here. One that would come too late where it waits is refused at once, which costs
a write to the PLC and no judging: what cannot be judged in time takes no time from what can.

Who has had the fewest verdicts lately comes first, so that no station is left out for another one that is faster;
among stations with as many, the oldest or the newest part, by the settings.

Where no result comes at all there is nothing to share out: something is away, and nothing is held back.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

First = Literal["oldest", "newest"]

OVERLOAD_CODES = frozenset({"deadline-passed", "deadline-out-of-reach", "engine-timeout"})
"""Codes of results that say that a request came to its turn too late."""
_LESS = 0.8
_STEP_S = 0.2
"""The shortest time between two cuts: what was on the bus before the first one tells nothing new."""
_RECOVERED_S = 1.0
"""After so long without a miss, a refusal or a wait nothing is held back."""
_SILENT_S = 1.0
"""After so long without any result something is away."""
_SERVED = 64
"""How many of the last verdicts count for the turns of stations."""
_WEIGHT = 0.1


@dataclass(frozen=True)
class Waiting:
    """A request that is not on the bus yet; times in ticks."""

    request_id: str
    station: str
    since: float
    answer_by: float


@dataclass(frozen=True)
class Plan:
    """What is to be done with the requests that wait: `send` in this order, `refuse`; the others go on waiting."""

    send: tuple[str, ...]
    refuse: tuple[str, ...]


def plan(
    waiting: Sequence[Waiting],
    *,
    places: int,
    interval_s: float,
    answer_s: float,
    served: Mapping[str, int],
    first: First,
    now: float,
) -> Plan:
    """Return what is sent and what is refused.

    `places` is how many more may be on the bus; one comes free every `interval_s`, and an answer takes `answer_s`.
    """
    sign = 1.0 if first == "oldest" else -1.0
    turns = Counter(served)
    left = sorted(waiting, key=lambda each: (sign * each.since, each.request_id))
    send: list[str] = []
    refuse: list[str] = []
    behind = 0
    while left:
        each = min(left, key=lambda one: turns[one.station])  # the first of those with the fewest
        left.remove(each)
        if len(send) < places:
            send.append(each.request_id)
        elif now + (behind + 1) * interval_s + answer_s > each.answer_by:
            refuse.append(each.request_id)
            continue  # it takes nobody's turn
        else:
            behind += 1
        turns[each.station] += 1
    return Plan(tuple(send), tuple(refuse))


@dataclass(frozen=True)
class _Held:
    waiting: Waiting
    send: Callable[[], None]
    refuse: Callable[[], None]


class Dispatcher:
    """The requests of all stations of one bridge, on the bus and before it."""

    def __init__(self, first: First = "oldest", clock: Callable[[], float] = time.monotonic) -> None:
        self._first: First = first
        self._clock = clock
        self._held: dict[str, _Held] = {}
        self._on_bus: dict[str, tuple[str, float]] = {}
        """Station, and when it was sent."""
        self._limit: float | None = None
        self._served: deque[str] = deque(maxlen=_SERVED)
        self._answer_s = 0.0
        self._interval_s = 0.0
        self._freed = self._heard = self._cut = self._trouble = 0.0

    @property
    def limit(self) -> int | None:
        """How many requests may be on the bus; None where nothing is held back."""
        return None if self._limit is None else int(self._limit)

    @property
    def held(self) -> int:
        """How many requests wait here."""
        return len(self._held)

    @property
    def on_bus(self) -> int:
        """How many requests wait for their result."""
        return len(self._on_bus)

    @property
    def why(self) -> str:
        """Why a request is held back or refused, for people."""
        return (
            f"more parts come than can be judged in time: {self.on_bus} wait for their verdicts, which take "
            f"{self._answer_s * 1000:.0f} ms"
        )

    def is_held(self, request_id: str) -> bool:
        """Whether a request waits here."""
        return request_id in self._held

    def ask(self, waiting: Waiting, send: Callable[[], None], refuse: Callable[[], None]) -> None:
        """Take a request; one of `send` and `refuse` is called, now or later, unless it ends before."""
        self._held[waiting.request_id] = _Held(waiting, send, refuse)
        self._work()

    def answered(self, request_id: str, *, in_time: bool) -> None:
        """Take a result, or with `in_time` False that one came to its turn too late, or not until its time was up."""
        now = self._clock()
        sent = self._on_bus.get(request_id)
        if sent is not None:
            station, at = sent
            if in_time:
                self._heard = now
                self._answer_s += _WEIGHT * (now - at - self._answer_s)
                self._served.append(station)
                if self._limit is not None:
                    self._limit += 1 / self._limit
            else:
                self._missed(now)
        self.ended(request_id)

    def heard(self) -> None:
        """Take it that a result came, of whatever kind: nobody is away."""
        self._heard = self._clock()

    def ended(self, request_id: str) -> None:
        """Take it that a request waits no longer, whatever became of it."""
        self._held.pop(request_id, None)
        sent = self._on_bus.pop(request_id, None)
        if sent is not None:
            now = self._clock()
            self._interval_s += _WEIGHT * (now - max(self._freed, sent[1]) - self._interval_s)
            self._freed = now
        self._work()

    def _missed(self, now: float) -> None:
        self._trouble = now
        if now - self._heard <= _SILENT_S and now - self._cut >= _STEP_S:
            self._cut = now
            before = len(self._on_bus) if self._limit is None else min(self._limit, len(self._on_bus))
            self._limit = max(1.0, before * _LESS)

    def _work(self) -> None:
        now = self._clock()
        if self._limit is not None and (now - self._trouble > _RECOVERED_S or now - self._heard > _SILENT_S):
            self._limit = None
        places = len(self._held) if self._limit is None else max(0, int(self._limit) - len(self._on_bus))
        due = plan(
            [each.waiting for each in self._held.values()],
            places=places,
            interval_s=self._interval_s,
            answer_s=self._answer_s,
            served=Counter(self._served),
            first=self._first,
            now=now,
        )
        sent = [self._held.pop(request_id) for request_id in due.send]
        refused = [self._held.pop(request_id) for request_id in due.refuse]
        self._on_bus |= {each.waiting.request_id: (each.waiting.station, now) for each in sent}
        if refused or self._held:
            self._trouble = now
        for each in sent:
            each.send()
        for each in refused:
            each.refuse()
