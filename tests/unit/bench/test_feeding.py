"""Feeding parts, with stations that judge at once and a supply in memory."""

import asyncio

import pytest

from lineside.contract import utc_now
from lineside_bench.parts.labels import Truth, truth
from lineside_bench.reporting.records import PartRecord, WriteBack
from lineside_bench.runner import feeding
from lineside_bench.runner.feeding import FreeStations, NotShown, PartFeeder
from tests.support.waiting import HANG_S, until


class Station:
    """Judges each part as good, when it may."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.may = asyncio.Event()
        self.may.set()

    async def judge(self, record: PartRecord, *, patience_s: float) -> bool:
        del patience_s
        await self.may.wait()
        record.write_backs.append(WriteBack(utc_now(), "pass", 1.0, "r", record.part_id))
        return True


class Supply:
    def __init__(self) -> None:
        self.shown: dict[str, str | None] = {}
        self.index = 0
        self.away = False

    async def next(self) -> Truth:
        self.index += 1
        return truth(7, self.index - 1)

    async def show(self, station: str, part: Truth) -> None:
        self._answer()
        self.shown[station] = part.part_id

    async def clear(self, station: str) -> None:
        self._answer()
        self.shown[station] = None

    def _answer(self) -> None:
        if self.away:
            raise NotShown("nobody there")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeding, "CLEAR_S", 0)
    monkeypatch.setattr(feeding, "SETTLE_S", 0.01)


def feeder(stations: list[Station], supply: Supply, **more: int) -> PartFeeder[Truth]:
    return PartFeeder(FreeStations(stations), supply, rate=1e6, seed=7, deadline_ms=10, patience_s=30, **more)  # type: ignore[arg-type]


async def test_every_part_is_shown_judged_and_taken_away() -> None:
    supply = Supply()
    fed = feeder([Station("a"), Station("b")], supply)
    await fed.run(5)
    assert [record.part_id for record in fed.records] == [truth(7, index).part_id for index in range(5)]
    assert [record.truth for record in fed.records] == [truth(7, index).label for index in range(5)]
    assert (fed.tally.fed, fed.tally.judged) == (5, 5)
    assert supply.shown == {"a": None, "b": None}


async def test_a_part_that_no_camera_shows_comes_all_the_same_and_is_marked() -> None:
    supply = Supply()
    supply.away = True
    fed = feeder([Station("a")], supply)
    await fed.run(2)
    assert [(record.not_shown, record.verdict) for record in fed.records] == [("nobody there", "pass")] * 2
    supply.away = False
    await fed.run(1)
    assert fed.records[-1].not_shown == ""


async def test_a_station_takes_one_part_at_a_time() -> None:
    station = Station("a")
    station.may.clear()
    fed = feeder([station], Supply())
    running = asyncio.create_task(fed.run(2))
    await until(lambda: fed.tally.fed == 1)
    for _ in range(20):
        await asyncio.sleep(0)
    assert fed.tally.fed == 1
    station.may.set()
    await running
    assert fed.tally.fed == 2


async def test_what_is_cut_short_gives_its_station_back() -> None:
    station = Station("a")
    station.may.clear()
    stations = FreeStations([station])  # type: ignore[list-item]
    cut = PartFeeder(stations, Supply(), rate=1e6, seed=7, deadline_ms=1, patience_s=30)
    running = asyncio.create_task(cut.run(None))
    await until(lambda: cut.tally.fed == 1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert cut.records[0].verdict is None
    async with asyncio.timeout(HANG_S):
        assert await stations.take() is station


async def test_only_the_newest_records_are_kept() -> None:
    fed = feeder([Station("a")], Supply(), keep=3)
    await fed.run(10)
    assert [record.index for record in fed.records] == [7, 8, 9]
    assert fed.tally.fed == 10
