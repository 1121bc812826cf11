"""Whose turn it is to be judged, where more ask than can be at once: stations that are known before strangers.

A station has one request at work, so that a flood of one station's delays only that station. A flood of made-up
stations waits behind those that were answered before.
"""

import asyncio
import heapq
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_MOST_KNOWN = 256


class Turns:
    """So many have their turn at the same time; the others wait, known stations first, then in order of asking."""

    def __init__(self, most: int) -> None:
        self._free = most
        self._asked = 0
        self._waiting: list[tuple[bool, int, asyncio.Future[None]]] = []
        self._known: OrderedDict[str, None] = OrderedDict()

    @asynccontextmanager
    async def one(self, station: str) -> AsyncIterator[bool]:
        """Have a turn; the value is whether it had to be waited for."""
        must_wait = self._free == 0
        if must_wait:
            turn = asyncio.get_running_loop().create_future()
            self._asked += 1
            heapq.heappush(self._waiting, (station not in self._known, self._asked, turn))
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._pass_on()
                raise
        else:
            self._free -= 1
        try:
            yield must_wait
        finally:
            self._pass_on()

    def answered(self, station: str) -> None:
        """Note that a request of this station was judged."""
        self._known[station] = None
        self._known.move_to_end(station)
        if len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)

    def _pass_on(self) -> None:
        while self._waiting:
            _stranger, _number, turn = heapq.heappop(self._waiting)
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
