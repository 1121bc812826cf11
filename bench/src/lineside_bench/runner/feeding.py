"""Parts fed to the stations of a line at a rate, and the record of each."""

import asyncio
import contextlib
import itertools
import random
from collections import deque
from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar

from lineside.contract import utc_now
from lineside_bench.options import MAX_PARTS
from lineside_bench.parts.labels import Truth
from lineside_bench.plcs.station import SimulatedStation
from lineside_bench.reporting.records import PartRecord
from lineside_bench.reporting.tally import Tally

JITTER = 0.5
"""Random delay of a part, as a share of the time between two. Without it the parts of a run would be in step with the
publishing interval of the OPC UA subscription: all would wait equally long for it, and each run differently long."""
CLEAR_S = 0.1
"""Seconds that a station stays empty between two parts."""
SETTLE_S = 2.0

P = TypeVar("P", bound=Truth)


class NotShown(Exception):
    """A part stands at its station and the station's camera does not show it; the message says why."""


class PartSupply(Protocol[P]):
    """Supplies the parts of a run and shows each to the camera of its station."""

    async def next(self) -> P:
        """Return the next part."""
        ...

    async def show(self, station: str, part: P) -> None:
        """Put a part before a station's camera; raises NotShown."""
        ...

    async def clear(self, station: str) -> None:
        """Take it away."""
        ...


class FreeStations:
    """The stations of a line; a part takes the one that has been free for longest."""

    def __init__(self, stations: Iterable[SimulatedStation]) -> None:
        self._free: asyncio.Queue[SimulatedStation] = asyncio.Queue()
        for station in stations:
            self.give_back(station)

    async def take(self) -> SimulatedStation:
        """Return a station, once one is free."""
        return await self._free.get()

    def give_back(self, station: SimulatedStation) -> None:
        """Return a station to the free ones."""
        self._free.put_nowait(station)


class PartFeeder(Generic[P]):
    """Parts fed to the stations, `rate` a second for the whole line.

    `patience_s` is how long a station waits for a verdict. `records` holds those of the newest `keep` parts; `tally`
    counts all parts.
    """

    def __init__(
        self,
        stations: FreeStations,
        supply: PartSupply[P],
        *,
        rate: float,
        seed: int,
        deadline_ms: float,
        patience_s: float,
        keep: int = MAX_PARTS,
    ) -> None:
        self.records: deque[PartRecord] = deque(maxlen=keep)
        self.tally = Tally()
        self._stations = stations
        self._supply = supply
        self._rate = rate
        self._deadline_ms = deadline_ms
        self._patience_s = patience_s
        self._jitter = random.Random(seed)

    async def run(self, count: int | None) -> None:
        """Feed `count` parts, None without end, and return when each has left its station.

        The schedule is open: part `n` is due at about `n / rate` whatever became of those before. Cancelling stops the
        feeding; what is under way gets until its deadline.
        """
        loop = asyncio.get_running_loop()
        judging: set[asyncio.Task[None]] = set()
        start = loop.time()
        try:
            for number in itertools.count() if count is None else range(count):
                part = await self._supply.next()
                due = start + (number + self._jitter.uniform(0, JITTER)) / self._rate
                await asyncio.sleep(max(0.0, due - loop.time()))
                station = await self._stations.take()
                self.tally.behind_s = max(self.tally.behind_s, loop.time() - due)
                task = asyncio.create_task(self._judge(station, part), name=part.part_id)
                judging.add(task)
                task.add_done_callback(judging.discard)
            await asyncio.gather(*judging)
        finally:
            if judging:
                await asyncio.wait(judging, timeout=self._deadline_ms / 1000 + SETTLE_S)
            for task in judging:
                task.cancel()
            await asyncio.gather(*judging, return_exceptions=True)

    async def _judge(self, station: SimulatedStation, part: P) -> None:
        record = PartRecord(
            index=part.index,
            part_id=part.part_id,
            truth=part.label,
            station=station.name,
            deadline_ms=self._deadline_ms,
            triggered=utc_now(),
        )
        self.records.append(record)
        self.tally.fed += 1
        try:
            try:
                await self._supply.show(station.name, part)
            except NotShown as error:  # the part is there all the same, and the PLC wants a verdict
                record.not_shown = str(error)
            await station.judge(record, patience_s=self._patience_s)
            self.tally.take(record)
            with contextlib.suppress(NotShown):  # it will be said of the next part
                await self._supply.clear(station.name)
            await asyncio.sleep(CLEAR_S)
        finally:
            self._stations.give_back(station)
