import asyncio
import threading

import pytest

from lineside_bench.parts.renderer import JpegPart
from lineside_bench.simulators import jpeg_cache
from lineside_bench.simulators.jpeg_cache import AHEAD, MAX_KEPT, MAX_WAITING, JpegCache, TooManyWaiting
from tests.support.waiting import HANG_S, until


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
