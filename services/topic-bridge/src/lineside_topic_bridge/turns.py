"""Limits the requests that are judged at the same time; stations that were answered before come before unknown ones.

A station has one request at a time, so that many requests of one station delay that station alone. Unknown stations
wait behind those that were answered before, and get a quarter of the slots at most. Of those that wait the station with
the fewest turns lately is next; among stations with as many, who waits longest or came last.
"""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

_MAX_KNOWN = 256
_LATELY = 64
"""So many turns count for the next one."""
_STRANGERS = 4
"""One turn of so many is for stations that were not answered before, once any was."""


class Turns:
    """At most `max_turns` requests at a time; the others wait, known stations first, then the `first` of arrival."""

    def __init__(self, max_turns: int, first: Literal["oldest", "newest"] = "oldest") -> None:
        self._max = max_turns
        self._first = first
        self._lately: deque[str] = deque(maxlen=_LATELY)
        """The stations of the last turns."""
        self._at_work = {True: 0, False: 0}
        """How many have their turn, by whether they are strangers."""
        self._waiting: dict[bool, deque[tuple[str, asyncio.Future[None]]]] = {True: deque(), False: deque()}
        self._known: OrderedDict[str, None] = OrderedDict()

    @asynccontextmanager
    async def one(self, station: str) -> AsyncIterator[bool]:
        """Hold a slot for a `with`; the value is whether it had to be waited for."""
        stranger = station not in self._known
        must_wait = not self._is_free(stranger=stranger)
        if must_wait:
            turn = asyncio.get_running_loop().create_future()
            self._waiting[stranger].append((station, turn))
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._end(stranger=stranger)
                raise
        else:
            self._at_work[stranger] += 1
        self._lately.append(station)
        try:
            yield must_wait
        finally:
            self._end(stranger=stranger)

    def answered(self, station: str) -> None:
        """Note that a request of this station was judged."""
        self._known[station] = None
        self._known.move_to_end(station)
        if len(self._known) > _MAX_KNOWN:
            self._known.popitem(last=False)

    def _is_free(self, *, stranger: bool) -> bool:
        allowed = max(1, self._max // _STRANGERS) if stranger and self._known else self._max
        return sum(self._at_work.values()) < self._max and self._at_work[stranger] < allowed

    def _end(self, *, stranger: bool) -> None:
        self._at_work[stranger] -= 1
        for kind in (False, True):
            while self._waiting[kind] and self._is_free(stranger=kind):
                turn = self._next(self._waiting[kind])
                if not turn.done():
                    self._at_work[kind] += 1
                    turn.set_result(None)

    def _next(self, waiting: deque[tuple[str, asyncio.Future[None]]]) -> asyncio.Future[None]:
        """Take out who is next."""
        turns = Counter(self._lately)
        chosen = min(waiting if self._first == "oldest" else reversed(waiting), key=lambda each: turns[each[0]])
        waiting.remove(chosen)
        return chosen[1]
