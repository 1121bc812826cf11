import asyncio

import pytest

from lineside.contract import CameraSource, InlineSource, Request, Tensor, TensorsSource
from lineside_inference.dataplane.admission import Admission, AdmissionGate, Bodies, Capacity, is_lines_own
from lineside_inference.errors import Refused, Stopping
from lineside_inference.settings import LimitSettings
from tests.support.waiting import until

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
    with pytest.raises(Refused, match="x and y") as refused, gate.admit(line=False, wait_s=2.2):
        pass
    assert refused.value.retry_after_s == 3
    with gate.admit(line=True):
        assert gate.load() == {"working": 4, "waiting": 2}
    for other in others:
        other.__exit__(None, None, None)
    assert gate.load() == {"working": 0, "waiting": 0}


def test_nobody_is_let_in_at_the_end() -> None:
    gate = AdmissionGate(4, 2, kept=1, bounds="x", is_draining=lambda: True)
    with pytest.raises(Stopping), gate.admit(line=True):
        pass


def test_the_memory_is_the_settings_or_a_share_of_the_containers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lineside_inference.dataplane.admission.machine.memory_bytes", lambda: 1024 * MIB)
    given = Admission(LimitSettings(memory_bytes=64 * MIB), max_line_bytes=6144, is_draining=lambda: False)
    assert given.bodies.room.most == given.pictures.most == 32 * MIB
    found = Admission(LimitSettings(), max_line_bytes=6144, is_draining=lambda: False)
    assert found.bodies.room.most == found.pictures.most == 128 * MIB
