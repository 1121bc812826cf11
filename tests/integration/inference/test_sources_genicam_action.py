"""Several GigE cameras that one action command fires, against the bench's."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lineside.service import Service
from lineside_bench.gige_camera.camera import GigeCamera
from lineside_bench.gige_camera.sensor import Source
from lineside_bench.gige_camera.sensor import Trigger as Fired
from lineside_inference.deadline import Trigger
from lineside_inference.errors import CameraAmbiguous
from lineside_inference.settings import CameraSettings
from lineside_inference.sources.cameras import Cameras
from lineside_inference.sources.cameras.genicam.clock import PTP_WITHIN_S
from tests.support.deadlines import within
from tests.support.genicam_fakes import simulated_cameras
from tests.support.waiting import HANG_S, until

ADDRESSES = ("127.0.0.1", "127.0.0.2")
SIDE = 64
LATER_MS = 200.0
SCHEDULED: dict[str, Any] = {"ptp": True, "window_ms": 10.0, "apart_ms": 50.0, "action": {"scheduled_ms": LATER_MS}}
KEYS = {"device_key": 0x1234, "group_key": 7, "group_mask": 2}


def shows_number(number: int, _trigger: Fired) -> NDArray[np.uint8]:
    return np.full((SIDE, SIDE), number, np.uint8)


@contextmanager
def two() -> Iterator[list[GigeCamera]]:
    with simulated_cameras(
        *({"address": each, "picture": shows_number, "width": SIDE, "height": SIDE} for each in ADDRESSES)
    ) as cameras:
        yield cameras


@asynccontextmanager
async def fired(lines: list[GigeCamera], **rule: Any) -> AsyncIterator[Cameras]:
    """Give both cameras as the service has them, online."""
    service = Service("inference")
    action = KEYS | {"to": ADDRESSES} | rule.get("action", {})
    settings = {
        each: CameraSettings.model_validate(
            {
                "kind": "genicam",
                "device": each,
                "timeout_ms": 60_000,
                "acquisition": "hardware",
                "hardware_trigger": {"window_ms": 200.0, "apart_ms": 500.0} | rule | {"action": action},
            }
        )
        for each in ADDRESSES
    }
    cameras = Cameras(settings, service, max_bytes=1_000_000, max_pixels=SIDE * SIDE)
    cameras.start()
    try:
        await until(lambda: all(each.connection.is_online for each in cameras) and all(each.acquires for each in lines))
        yield cameras
    finally:
        service.drain()
        cameras.close()
        for task in service._tasks:
            task.cancel()
        await asyncio.gather(*service._tasks, return_exceptions=True)


async def grab(cameras: Cameras, name: str, trigger: float) -> int:
    frame = await cameras.grab_for(name, Trigger(trigger, {"received": trigger}), within(HANG_S))
    pixels = np.frombuffer(frame.data, np.uint8) if frame.pixels is None else frame.pixels
    (shown,) = set(np.unique(pixels))
    return int(shown)


async def kept_by_ptp(cameras: Cameras) -> None:
    hardware: list[Any] = list(cameras)
    await until(lambda: all(each._clock is not None and each._clock.has_ptp for each in hardware))


async def test_one_action_fires_all_cameras_of_a_part() -> None:
    with two() as lines:
        async with fired(lines, **SCHEDULED) as cameras:
            await kept_by_ptp(cameras)
            for part in (1, 2, 3):
                trigger = time.monotonic()
                got = await asyncio.gather(*(grab(cameras, each, trigger) for each in ADDRESSES))
                assert got == [part, part]
            first, second = cameras
            assert (first.transport["action_sent"], second.transport["action_sent"]) == (3, 0)
            await until(lambda: first.transport["action_acknowledged"] == 6)
            for line in lines:
                assert [each.exposure.trigger.source for each in line.sent] == [Source.action] * 3


async def test_a_camera_whose_keys_are_others_is_not_fired() -> None:
    with two() as lines:
        async with fired(lines) as cameras:
            lines[1]._memory.put_word(0x9800, 99)  # as of another group
            trigger = time.monotonic()
            assert await grab(cameras, ADDRESSES[0], trigger) == 1
            assert not lines[1].sent


async def test_where_ptp_keeps_their_clocks_they_act_at_one_instant() -> None:
    with two() as lines:
        async with fired(lines, **SCHEDULED) as cameras:
            await kept_by_ptp(cameras)
            trigger = time.monotonic()
            assert await asyncio.gather(*(grab(cameras, each, trigger) for each in ADDRESSES)) == [1, 1]
            one, other = (line.sent[-1].exposure.began for line in lines)
            assert abs(one - other) < 0.0005, "sent one after the other, and at once, they would differ by more"
            assert one >= trigger + LATER_MS / 1000 - PTP_WITHIN_S


async def test_a_part_of_another_time_is_fired_for_anew() -> None:
    with two() as lines:
        async with fired(lines, **SCHEDULED) as cameras:
            await kept_by_ptp(cameras)
            trigger = time.monotonic()
            assert await grab(cameras, ADDRESSES[0], trigger) == 1
            assert await grab(cameras, ADDRESSES[1], trigger + 1.0) == 2, "part 1 of this camera was never asked about"


async def test_a_group_that_is_fired_too_soon_after_another_part_gives_no_picture() -> None:
    with two() as lines:
        async with fired(lines) as cameras:
            trigger = time.monotonic()
            asked = [grab(cameras, ADDRESSES[0], each) for each in (trigger, trigger + 1.0)]
            first, second = await asyncio.gather(*asked, return_exceptions=True)
            assert first == 1
            assert isinstance(second, CameraAmbiguous)


@pytest.mark.parametrize("name", ADDRESSES)
async def test_whichever_camera_is_asked_first_fires_both(name: str) -> None:
    with two() as lines:
        async with fired(lines) as cameras:
            trigger = time.monotonic()
            assert await grab(cameras, name, trigger) == 1
            (other,) = set(ADDRESSES) - {name}
            assert await grab(cameras, other, trigger + 0.05) == 1
