import asyncio
import time
from contextlib import suppress

import pytest

from lineside.contract import CameraSource, InlineSource, Request, Tensor, TensorsSource
from lineside_inference.dataplane.admission import Admission, AdmissionGate, Bodies, Capacity, is_lines_own
from lineside_inference.deadline import Deadline
from lineside_inference.errors import DeadlineOutOfReach, Disabled, Expired, Refused, Stopping
from lineside_inference.settings import LimitSettings
from tests.support.waiting import HANG_S, until

MIB = 1024 * 1024


def request(source: object) -> Request:
    return Request.new(model="m", source=source)


@pytest.mark.parametrize(
    ("source", "size", "is_own"),
    [
        (CameraSource(camera="c"), 6144, True),
        (CameraSource(camera="c"), 6145, False),
        (TensorsSource(tensors=(Tensor(name="x", datatype="FP32", shape=(1,), values=[1.0]),)), 400, True),
        (InlineSource(content_type="image/png", data=b"x"), 400, False),  # a few bytes can unfold to many pixels
    ],
)
def test_what_could_have_come_over_the_bus_is_the_lines_own(source: object, size: int, is_own: bool) -> None:
    assert is_lines_own(request(source), size, 6144) is is_own


def test_others_leave_the_lines_share_and_the_line_may_have_all() -> None:
    capacity = Capacity(8, kept=2)
    assert capacity.take(6, line=False)
    assert not capacity.take(1, line=False)
    assert capacity.take(2, line=True)
    assert not capacity.take(1, line=True)
    capacity.give(6, line=False)
    assert capacity.take(6, line=True)
    assert capacity.used == 8


def test_what_is_larger_than_its_share_goes_alone() -> None:
    capacity = Capacity(8, kept=2)
    assert capacity.take(100, line=False), "a bound of its own says how large one may be"
    assert not capacity.take(1, line=False)
    capacity.give(100, line=False)
    assert capacity.take(1, line=False)
    assert not capacity.take(100, line=False)


def test_the_line_may_have_one_whatever_others_have() -> None:
    capacity = Capacity(8, kept=2)
    assert capacity.take(100, line=False)
    assert capacity.take(2, line=True), "its share is free, however large the other's is"
    assert not capacity.take(1, line=True)
    capacity.give(2, line=True)
    assert capacity.take(5, line=True), "also one that is larger than what is kept"
    assert not capacity.take(1, line=True)
    capacity.give(100, line=False)
    assert capacity.take(3, line=True)
    assert capacity.used == 8


async def test_who_waits_gets_what_comes_free_the_line_first() -> None:
    capacity = Capacity(5, kept=0)
    assert capacity.take(1, line=True)
    assert capacity.take(4, line=False)
    came: list[str] = []

    async def want(name: str, amount: int, *, line: bool) -> None:
        await capacity.wait(amount, line=line)
        came.append(name)

    waits = [
        asyncio.create_task(want("other 3", 3, line=False)),
        asyncio.create_task(want("other 1", 1, line=False)),
        asyncio.create_task(want("line", 2, line=True)),
    ]
    while capacity.waiting(line=True) + capacity.waiting(line=False) < 3:
        await asyncio.sleep(0)
    assert not capacity.take(0, line=False), "nobody goes past those who wait"
    capacity.give(2, line=False)
    await waits[2]
    assert came == ["line"]
    capacity.give(2, line=True)  # two are free: the first of the others needs three, and the second does not go past it
    await asyncio.sleep(0)
    assert came == ["line"]
    capacity.give(2, line=False)
    await asyncio.gather(*waits)
    assert came == ["line", "other 3", "other 1"]
    assert capacity.used == 5


async def test_who_gives_up_waiting_holds_nobody_up_and_takes_nothing() -> None:
    capacity = Capacity(4, kept=0)
    assert capacity.take(3, line=False)
    large = asyncio.create_task(capacity.wait(4, line=False))
    small = asyncio.create_task(capacity.wait(1, line=False))
    await until(lambda: capacity.waiting(line=False) == 2)
    large.cancel()
    await small
    assert capacity.used == 4
    gone = asyncio.create_task(capacity.wait(2, line=False))
    await until(lambda: capacity.waiting(line=False))
    capacity.give(2, line=False)  # it was given its amount, and is cancelled before it runs
    gone.cancel()
    await asyncio.gather(large, gone, return_exceptions=True)
    assert capacity.used == 2


def test_a_body_counts_as_it_comes_and_only_meanwhile() -> None:
    bodies = Bodies(8 * MIB, small=1024)
    with bodies.one(2) as large, bodies.one(2) as other, bodies.one(3) as lines:
        large.grow(2 * MIB)
        other.grow(MIB)
        with pytest.raises(Refused, match="memory_bytes"):
            other.grow(1)
        lines.grow(1000)
        assert bodies.room.used == 6 * MIB + 3000
    assert bodies.room.used == 0


def test_a_body_that_grows_beyond_the_lines_size_leaves_the_lines_share() -> None:
    bodies = Bodies(8 * MIB, small=1024)
    with bodies.one(1) as large, bodies.one(1) as growing, bodies.one(1) as lines:
        large.grow(6 * MIB)
        growing.grow(1000)
        with pytest.raises(Refused):
            growing.grow(1000)
        lines.grow(1024)
        assert bodies.room.used == 6 * MIB + 1024
    assert bodies.room.used == 0


def test_one_body_may_be_as_large_as_its_own_bound_allows_where_it_is_alone() -> None:
    bodies = Bodies(MIB, small=1024)
    with bodies.one(3) as large:
        for _ in range(64):
            large.grow(MIB)
        with bodies.one(1) as other, pytest.raises(Refused):
            other.grow(2000)


def test_places_are_kept_for_the_line() -> None:
    gate = AdmissionGate(4, 2, kept=1, bounds="x and y", is_draining=lambda: False)
    others = [gate.admit(line=False) for _ in range(5)]
    for other in others:
        other.__enter__()
    gate.estimator.observe("m", 2.2)
    with pytest.raises(Refused, match="x and y") as refused, gate.admit(line=False):
        pass
    assert refused.value.retry_after_s == 2, "two who wait and one more, and a place comes free every 0.55 s"
    with gate.admit(line=True):
        assert gate.load() == {"working": 4, "waiting": 2}
    for other in others:
        other.__exit__(None, None, None)
    assert gate.load() == {"working": 0, "waiting": 0}


def test_nobody_is_let_in_at_the_end() -> None:
    gate = AdmissionGate(4, 2, kept=1, bounds="x", is_draining=lambda: True)
    with pytest.raises(Stopping), gate.admit(line=True):
        pass


def one_place() -> AdmissionGate:
    return AdmissionGate(1, 8, kept=0, bounds="x", is_draining=lambda: False)


def soon() -> Deadline:
    return Deadline(time.monotonic() + HANG_S)


async def hold(places: AdmissionGate, name: str, log: list[str], *, line: bool = False) -> None:
    async with places.place(soon(), line=line):
        log.append(name)


async def test_a_place_goes_to_who_waits_the_line_first() -> None:
    places, log = one_place(), []
    async with places.place(soon(), line=True):
        waits = [asyncio.create_task(hold(places, "other", log))]
        await until(lambda: places.room.waiting(line=False))
        waits.append(asyncio.create_task(hold(places, "line", log, line=True)))
        await until(lambda: places.room.waiting(line=True))
        assert not log
    await asyncio.gather(*waits)
    assert log == ["line", "other"]
    assert not places.room.used


async def test_who_gets_no_place_until_its_deadline_is_told() -> None:
    places = one_place()
    async with places.place(soon()):
        with pytest.raises(Expired, match="a place came free"):
            async with places.place(Deadline(time.monotonic())):
                pass
        assert not places.room.waiting(line=False)
    assert not places.room.used


async def test_who_could_not_be_done_in_time_does_not_wait() -> None:
    places = one_place()
    places.estimator.observe("slow", 1000.0)
    async with places.place(soon()):
        with pytest.raises(DeadlineOutOfReach):
            async with places.place(soon(), model="slow"):
                pass
        assert not places.room.waiting(line=False)


async def test_the_time_at_work_is_measured_also_of_what_fails() -> None:
    places = one_place()
    for error in (None, ValueError):
        with suppress(ValueError):
            async with places.place(soon(), model="m"):
                await asyncio.sleep(0)
                if error:
                    raise error
    assert places.estimator.until_done("m", 0) > 0
    assert not places.room.used


async def test_all_who_wait_can_be_let_go() -> None:
    places, log = one_place(), []
    async with places.place(soon()):
        waits = [asyncio.create_task(hold(places, "other", log)) for _ in range(3)]
        await until(lambda: places.room.waiting(line=False) == 3)
        places.end_waits(lambda: Disabled("switched off"))
        found = await asyncio.gather(*waits, return_exceptions=True)
        assert [type(one) for one in found] == [Disabled] * 3
        assert not log
    async with places.place(soon()):
        pass


def test_the_memory_is_the_settings_or_a_share_of_the_containers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lineside_inference.dataplane.admission.machine.memory_bytes", lambda: 1024 * MIB)
    given = Admission(
        LimitSettings(memory_bytes=64 * MIB), max_line_bytes=6144, max_captures=8, is_draining=lambda: False
    )
    assert given.bodies.room.total == given.images.total == 32 * MIB
    found = Admission(LimitSettings(), max_line_bytes=6144, max_captures=8, is_draining=lambda: False)
    assert found.bodies.room.total == found.images.total == 128 * MIB
