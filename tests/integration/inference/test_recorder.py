"""The recorder before a real spool: its bounds, what fails, and the stop."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from lineside.service import Service
from lineside.spool import Entry, Spool, SpoolSettings
from lineside_inference.capture import recorder as module
from lineside_inference.capture.recorder import Recorder
from lineside_inference.errors import CaptureQueueFull, NotKept
from lineside_inference.settings.capture import CaptureSettings
from tests.support.waiting import HANG_S


class Rig:
    """A recorder that is open, and a gate at which captures can be held."""

    def __init__(self, folder: Path | None, **settings: Any) -> None:
        self.service = Service("inference")
        self.recorder = Recorder(
            CaptureSettings.model_validate(settings), SpoolSettings(folder=folder), self.service, ["m"]
        )
        self.gate = threading.Event()

    def submit(self, key: str, *, held: bool = False, size: int = 10) -> "asyncio.Future[Any]":
        def make() -> Entry:
            if held:
                self.gate.wait(HANG_S)
            return entry(key)

        return self.recorder.submit(make, key=key, model="m", size=size)

    def count(self, name: str, **labels: str) -> float:
        return self.service.registry.get_sample_value(f"lineside_inference_{name}", labels) or 0.0

    def dropped(self, reason: str) -> float:
        return self.count("captures_dropped_total", reason=reason)


def entry(key: str) -> Entry:
    return Entry(key, "m", "f/m/2026/11/22/02", b'{"a":1}')


@pytest.fixture
def rig(tmp_path: Path) -> Callable[..., Any]:
    @asynccontextmanager
    async def make(**settings: Any) -> AsyncIterator[Rig]:
        made = Rig(tmp_path / "spool", **settings)

        @asynccontextmanager
        async def life() -> AsyncIterator[None]:
            await made.recorder.start(made.service)
            try:
                yield
            finally:
                made.gate.set()
                await made.recorder.close()

        async with made.service.life(life()):
            yield made

    return make


def keys(folder: Path) -> set[str]:
    with Spool.open(SpoolSettings(folder=folder)) as spool:
        return {record.key for record in spool.iterate()}


async def test_what_is_taken_is_on_the_disk(rig: Callable[..., Any], tmp_path: Path) -> None:
    async with rig() as given:
        receipts = await asyncio.gather(*(given.submit(f"k{number}") for number in range(40)))
        assert all(receipt.is_new for receipt in receipts)
        again = await given.submit("k3")
        assert not again.is_new
        assert given.count("captures_total", model="m", kept="always") == 40
    assert keys(tmp_path / "spool") == {f"k{number}" for number in range(40)}


async def test_what_is_under_way_is_known_by_its_id(rig: Callable[..., Any]) -> None:
    async with rig() as given:
        held = [given.submit(key, held=True) for key in ("one", "two", "one")]
        assert given.recorder.is_under_way("one")
        assert given.recorder.is_under_way("two")
        assert not given.recorder.is_under_way("three")
        given.gate.set()
        await asyncio.gather(*held)
        assert not given.recorder.is_under_way("one")


async def test_one_more_than_the_queue_is_dropped_and_the_rest_is_not(rig: Callable[..., Any], tmp_path: Path) -> None:
    async with rig(queue=6) as given:
        held = [given.submit(f"k{number}", held=True) for number in range(6)]
        for _ in range(3):
            with pytest.raises(CaptureQueueFull, match=r"6 captures .* raise inference\.capture\.queue"):
                given.submit("more")
        assert given.dropped("queue-full") == 3
        given.gate.set()
        await asyncio.gather(*held)
        await given.submit("later")
    assert keys(tmp_path / "spool") == {f"k{number}" for number in range(6)} | {"later"}


async def test_the_memory_of_what_waits_is_bounded_and_one_large_capture_still_goes(rig: Callable[..., Any]) -> None:
    mib = 1024 * 1024
    async with rig(queue_bytes=mib) as given:
        large = given.submit("large", held=True, size=5 * mib)
        with pytest.raises(CaptureQueueFull):
            given.submit("small")
        given.gate.set()
        await large
        await given.submit("small")


async def test_a_capture_that_cannot_be_made_is_counted_and_hurts_nobody(rig: Callable[..., Any]) -> None:
    def broken() -> Entry:
        raise ZeroDivisionError

    async with rig() as given:
        with pytest.raises(ZeroDivisionError):
            await given.recorder.submit(broken, key="a", model="m", size=1)
        given.recorder.submit(broken, key="b", model="m", size=1)  # which nobody awaits: no warning
        await given.submit("good")
        assert given.dropped("failed") == 2
        assert given.recorder.link.is_online


async def test_a_stop_waits_for_what_is_under_way(rig: Callable[..., Any], tmp_path: Path) -> None:
    async with rig() as given:
        for number in range(20):
            given.submit(f"k{number}", held=True)
    assert len(keys(tmp_path / "spool")) == 20
    with pytest.raises(NotKept, match="stopping"):
        given.submit("too late")


async def test_a_stop_does_not_wait_for_ever_and_says_what_it_lost(
    rig: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CLOSE_S", 0.05)
    async with rig() as given:
        for number in range(9):
            given.submit(f"k{number}", held=True)
        await given.recorder.close()
        assert given.dropped("stopping") == 9


async def test_who_gives_up_waiting_does_not_stop_the_capture(rig: Callable[..., Any], tmp_path: Path) -> None:
    async with rig() as given:
        waiting = asyncio.ensure_future(_await(given.submit("key", held=True)))
        await asyncio.sleep(0)
        waiting.cancel()
        given.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await given.submit("next")
    assert keys(tmp_path / "spool") == {"key", "next"}


async def _await(future: "asyncio.Future[Any]") -> Any:
    return await future


async def test_without_a_folder_it_says_what_to_set() -> None:
    given = Rig(None)
    await given.recorder.start(given.service)
    with pytest.raises(NotKept, match=r"Give spool\.folder"):
        given.submit("key")
    assert not given.recorder.is_on
    await given.recorder.close()
