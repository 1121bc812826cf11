"""What the simulators are made of, without sockets: runs, JPEGs in advance, the observer's window."""

import asyncio
import threading
from typing import Any

import pytest

from lineside.contract import CameraSource, Request
from lineside.settings import fields
from lineside_bench.parts.renderer import JpegPart
from lineside_bench.runner.observer import Observer
from lineside_bench.simulators import jpeg_cache
from lineside_bench.simulators.jpeg_cache import AHEAD, MAX_KEPT, MAX_WAITING, JpegCache, TooManyWaiting
from lineside_bench.simulators.runs import MAX_REMEMBERED, PartRun, PartRuns, RunRequest, RunUnderWay
from lineside_bench.simulators.settings import CameraSimSettings, PlcSimSettings
from tests.support.paths import ROOT
from tests.support.waiting import HANG_S, until

HOW_TO = ROOT / "docs" / "how-to" / "use-the-simulators.md"


def run(parts: int = 10) -> PartRun:
    return PartRun(RunRequest(parts=parts), seed=7)


def test_one_run_is_under_way_at_a_time() -> None:
    runs, first = PartRuns(), run()
    runs.begin(first)
    assert runs.current is first
    with pytest.raises(RunUnderWay, match=f"run {first.id} is under way, 0 of 10 parts fed"):
        runs.begin(run())
    runs.end(first)
    assert runs.current is None
    assert runs.get(first.id) is first
    runs.begin(run())


def test_old_runs_are_forgotten() -> None:
    runs = PartRuns()
    made = [run() for _ in range(MAX_REMEMBERED + 1)]
    for each in made:
        runs.begin(each)
        runs.end(each)
    assert runs.get(made[0].id) is None
    assert all(runs.get(each.id) is each for each in made[1:])


class Renderings:
    """Stands in for rendering: says what was rendered, and waits until it may end."""

    def __init__(self) -> None:
        self.made: list[tuple[int, int]] = []
        self.may = threading.Event()
        self.may.set()

    def __call__(self, seed: int, index: int) -> JpegPart:
        self.may.wait(HANG_S)
        self.made.append((seed, index))
        return JpegPart(index, f"P-{index}", "good", b"")


@pytest.fixture
def renderings(monkeypatch: pytest.MonkeyPatch) -> Renderings:
    made = Renderings()
    monkeypatch.setattr(jpeg_cache, "render_jpeg", made)
    return made


async def test_the_next_parts_are_rendered_before_they_are_asked_for(renderings: Renderings) -> None:
    cache = JpegCache()
    assert (await cache.get(7, 0)).index == 0
    assert renderings.made[0] == (7, 0)
    await until(lambda: len(renderings.made) > AHEAD)
    assert set(renderings.made) == {(7, index) for index in range(AHEAD + 1)}
    for index in range(1, AHEAD + 1):
        await cache.get(7, index)
    assert len(set(renderings.made)) == len(renderings.made), "a part was rendered twice"
    cache.close()


async def test_the_jpegs_kept_are_bounded_and_a_part_may_come_again(renderings: Renderings) -> None:
    cache = JpegCache()
    for index in range(0, 10 * MAX_KEPT, AHEAD + 1):
        await cache.get(7, index)
        assert len(cache._entries) <= MAX_KEPT
    await cache.get(7, 0)
    assert renderings.made.count((7, 0)) == 2
    cache.close()


async def test_those_who_wait_are_bounded_and_all_get_their_jpeg(renderings: Renderings) -> None:
    renderings.may.clear()
    cache = JpegCache()
    waiting = [asyncio.create_task(cache.get(seed, 0)) for seed in range(MAX_WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(TooManyWaiting):
        await cache.get(99, 0)
    renderings.may.set()
    assert [part.index for part in await asyncio.gather(*waiting)] == [0] * MAX_WAITING
    assert (await cache.get(99, 0)).index == 0
    cache.close()


def seen(observer: Observer, **fields: Any) -> str:
    request = Request.new(model="m", source=CameraSource(camera="c"), **fields)
    observer._take("local/inference/request", request.model_dump_json(by_alias=True).encode(), None)
    return request.id


def test_the_observers_window_holds_what_came_since_it_began_and_no_more() -> None:
    observer = Observer(port=1, protocol="5")
    seen(observer)
    observer.errors["late"] += 1
    observer.begin(2)
    assert (observer.exchanges(), dict(observer.errors)) == ({}, {})
    ids = [seen(observer) for _ in range(3)]
    assert list(observer.exchanges()) == ids[1:]


@pytest.mark.parametrize(("section", "kind"), [("plc_sim", PlcSimSettings), ("camera_sim", CameraSimSettings)])
def test_every_setting_is_in_the_how_to(section: str, kind: type) -> None:
    text = HOW_TO.read_text(encoding="utf-8")
    for path, _field, group in fields(kind, (section,)):
        assert group or f"`{'.'.join(path)}`" in text, f"{'.'.join(path)} is not in {HOW_TO.name}"
