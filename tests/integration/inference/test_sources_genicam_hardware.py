"""A GigE camera that the line fires, against the bench's: each part gets the frame that was exposed for it."""

import asyncio
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lineside.connections import State
from lineside_bench.gige_camera.camera import GigeCamera
from lineside_bench.gige_camera.clock import DeviceClock
from lineside_bench.gige_camera.faults import Resending
from lineside_bench.gige_camera.registers import Register
from lineside_bench.gige_camera.sensor import Trigger as Fired
from lineside_inference.deadline import Trigger
from lineside_inference.errors import CameraAmbiguous, CameraFailed, CameraIncomplete, CameraUnmatched, RequestError
from lineside_inference.sources.cameras.genicam.clock import PTP_WITHIN_S
from tests.support.cameras import watched
from tests.support.deadlines import within
from tests.support.genicam_fakes import ADDRESS, simulated_camera
from tests.support.waiting import HANG_S, block_until, until

APART_S = 0.030
SIDE = 64
MARGIN_S = 0.1
"""From giving the line its times to the first of them."""
RULE = {"window_ms": 5.0, "apart_ms": 25.0, "keep_ms": 60_000.0, "most_kept": 64}
LONG_US = 400_000.0
STEP = 40
"""Of the gray by which a picture shows its part, so that JPEG changes none into another."""
PACKETS = 8
"""At least the packets of a frame, its leader and trailer among them."""


def shows_part(_number: int, trigger: Fired) -> NDArray[np.uint8]:
    """Show which part the line fired it for."""
    return np.full((SIDE, SIDE), trigger.tag, np.uint8)


def fake(**options: Any) -> Any:
    return simulated_camera(picture=shows_part, width=SIDE, height=SIDE, **options)


@pytest.fixture
async def watch() -> AsyncIterator[Any]:
    """Make, start and await one camera that the line fires; ended with the test."""
    async with watched(
        max_bytes=1_000_000,
        max_pixels=SIDE * SIDE,
        kind="genicam",
        device=ADDRESS,
        timeout_ms=10_000,
        acquisition="hardware",
    ) as make:

        async def started(camera: GigeCamera, *, rule: dict[str, Any] | None = None, **settings: Any) -> Any:
            made = make(hardware_trigger=RULE | (rule or {}), **settings)
            await until(lambda: made.connection.is_online and camera.acquires, lambda: made.connection.detail)
            return made

        yield started


def fire(camera: GigeCamera, parts: list[int]) -> dict[int, float]:
    """Let the line fire for parts that follow one another so closely; give when it does."""
    first = time.monotonic() + MARGIN_S
    return {part: camera.fire_line(part, at=first + place * APART_S) for place, part in enumerate(parts)}


async def got(camera: Any, at: float, **more: Any) -> int | str:
    """Return the part that the frame shows which a request got, or the code that it got instead."""
    trigger = Trigger(clock=at, stamps={"received": at}, **more)
    try:
        frame = await camera.grab_for(trigger, within(HANG_S))
    except RequestError as refused:
        return refused.code
    return shown(frame)


def shown(frame: Any) -> int:
    """Return which part a frame shows."""
    pixels = frame.pixels if frame.layout is None else np.frombuffer(frame.data, np.uint8)
    (one,) = set(np.unique(pixels))
    return int(one)


async def all_got(camera: Any, at: dict[int, float]) -> dict[int, int | str]:
    return dict(zip(at, await asyncio.gather(*(got(camera, each) for each in at.values())), strict=True))


def own(parts: list[int]) -> dict[int, int | str]:
    return {part: part for part in parts}


async def test_parts_30_ms_apart_get_their_own_frames_asked_about_before_or_after(watch: Any) -> None:
    with fake() as line:
        camera = await watch(line)
        parts = list(range(1, 21))
        at = fire(line, parts)
        early = asyncio.create_task(all_got(camera, {part: at[part] for part in parts[::2]}))
        await until(lambda: camera.frames["kept"] == len(parts))
        assert await early == own(parts[::2])
        late = {part: at[part] for part in reversed(parts[1::2])}
        assert await all_got(camera, late) == own(list(late)), "the newest is asked about first"
        assert camera.matching["matched"] == len(parts)
        assert sum(camera.matching.values()) == len(parts)


CLOCKS: dict[str, dict[str, Any]] = {
    "ns": {},
    "old and slow": {"ticks_a_second": 125_000_000, "drift_ppm": -400.0, "offset": 1 << 40},
    "fast": {"drift_ppm": 400.0, "offset": 1 << 60},
    "wraps": {"offset": (1 << 64) - 800_000_000},
}


@pytest.mark.parametrize("clock", CLOCKS)
async def test_whatever_the_cameras_clock_is_and_does(watch: Any, clock: str) -> None:
    with fake(clock=DeviceClock(**CLOCKS[clock])) as line:
        camera = await watch(line)
        for run in range(4):
            parts = list(range(10 * run + 1, 10 * run + 9))
            at = fire(line, parts)
            assert await all_got(camera, at) == own(parts)
        assert camera.transport["clock_set"] == 0
        assert camera.clock_error_s < APART_S / 2


async def test_a_lost_frame_costs_its_own_part_only(watch: Any) -> None:
    with fake() as line:
        camera = await watch(line)
        line.faults.lose_these = {(3, packet) for packet in range(PACKETS)}
        line.faults.resending = Resending.ignore
        arrived: list[int] = []
        deliver = camera.deliver

        def noted(frame: Any) -> None:
            arrived.append(shown(frame))
            deliver(frame)

        camera.deliver = noted
        parts = [1, 2, 3, 4, 5]
        at = fire(line, parts)
        assert await all_got(camera, at) == own(parts) | {3: "camera-unmatched"}
        assert dict(zip(parts, arrived, strict=False))[3] == 4, "by the order of arrival part 3 gets part 4's picture"
        assert camera.matching["without_frame"] == 1


async def test_a_frame_of_which_packets_are_lost_costs_its_own_part_only(watch: Any) -> None:
    with fake() as line:
        camera = await watch(line)
        line.faults.lose_these = {(2, 2)}
        line.faults.resending = Resending.ignore
        at = fire(line, [1, 2, 3])
        assert await all_got(camera, at) == {1: 1, 2: "camera-incomplete", 3: 3}


async def test_a_frame_that_nobody_asks_for_answers_nobody(watch: Any) -> None:
    with fake() as line:
        camera = await watch(line, rule={"keep_ms": 200.0})
        at = fire(line, [1, 2, 3])
        assert await got(camera, at[2]) == 2
        await until(lambda: camera.matching["without_request"] == 2)
        assert await got(camera, at[3]) == "camera-unmatched"


async def test_after_the_clock_was_set_the_next_frame_is_right(watch: Any) -> None:
    with fake(clock=DeviceClock(offset=1 << 50)) as line:
        camera = await watch(line)
        assert await all_got(camera, fire(line, [1, 2])) == own([1, 2])
        line.clock.offset = 5
        assert await all_got(camera, fire(line, [3, 4])) == own([3, 4])
        assert camera.transport["clock_set"] == 1


async def test_after_a_reboot_in_the_middle_the_next_part_gets_its_own(watch: Any) -> None:
    with fake(clock=DeviceClock(offset=1 << 50)) as line:
        camera = await watch(line)
        assert await all_got(camera, fire(line, [1, 2])) == own([1, 2])
        line.clock.offset = 0
        line.reboot(0.2)
        await until(lambda: camera.connection.state is State.BACKOFF or camera.transport["lost_control"])
        at = fire(line, [3])
        await until(lambda: camera.connection.is_online and line.acquires, lambda: camera.connection.detail)
        asked = asyncio.create_task(got(camera, at[3]))
        assert await all_got(camera, fire(line, [4, 5])) == own([4, 5])
        assert await asked == "camera-unmatched", "the line fired it while it was away"


async def test_a_camera_that_is_away_is_said_to_be(watch: Any) -> None:
    with fake() as line:
        camera = await watch(line, timeout_ms=10)
        line.faults.is_silent = True
        await until(lambda: camera.connection.state is State.BACKOFF, lambda: camera.connection.detail)
        with pytest.raises(CameraFailed, match="is away"):
            await camera.grab_for(Trigger(0.0, {"received": 0.0}), within(0.0))


async def test_a_line_that_bounces_gets_no_picture(watch: Any) -> None:
    with fake() as line:
        camera = await watch(line)
        first = line.fire_line(1, at=time.monotonic() + MARGIN_S)
        line.fire_line(2, at=first + 0.010)
        await until(lambda: camera.frames["kept"] == 2)
        with pytest.raises(CameraAmbiguous, match="closer than 25 ms"):
            await camera.grab_for(Trigger(first, {"received": first}), within(HANG_S))


async def test_the_time_that_the_settings_name_is_the_one_that_counts(watch: Any) -> None:
    with fake() as line:
        camera = await watch(line, rule={"time": "source", "delay_ms": 4.0})
        at = fire(line, [1, 2])
        frame = await camera.grab_for(Trigger(0.0, {"received": at[2], "source": at[1] - 0.006}), within(HANG_S))
        assert shown(frame) == 1
        assert frame.metadata["offsetMs"] == pytest.approx(2.0, abs=1.5)
        assert camera.trigger_offset_s == pytest.approx(0.002, abs=0.0015)
        with pytest.raises(CameraUnmatched, match=r"the request has no time\.source"):
            await camera.grab_for(Trigger(0.0, {"received": at[2]}), within(HANG_S))
        with pytest.raises(CameraUnmatched, match="found after a gap"):
            await camera.grab_for(Trigger(0.0, {"source": at[2]}, is_recovered=True), within(HANG_S))


async def test_what_the_camera_sends_along_is_kept(watch: Any) -> None:
    with fake() as line:
        camera = await watch(
            line, chunks=["Timestamp", "ExposureTime", "LineStatusAll"], features={"ExposureTime": 1500.0}
        )
        at = fire(line, [1])
        frame = await camera.grab_for(Trigger(at[1], {"received": at[1]}), within(HANG_S))
        assert frame.metadata["ExposureTime"] == 1500.0
        assert frame.metadata["LineStatusAll"] == 1
        assert frame.metadata["Timestamp"] == line.sent[-1].ticks == frame.metadata["deviceNs"]


async def test_without_chunks_there_are_none(watch: Any) -> None:
    with fake() as line:
        camera = await watch(line)
        at = fire(line, [1])
        frame = await camera.grab_for(Trigger(at[1], {"received": at[1]}), within(HANG_S))
        assert set(frame.metadata) == {"deviceNs", "errorMs", "offsetMs"}


async def test_a_free_running_frame_is_dated_by_its_own_exposure() -> None:
    with simulated_camera(width=SIDE, height=SIDE) as free:
        async with watched(
            max_bytes=1, max_pixels=SIDE * SIDE, kind="genicam", device=ADDRESS, timeout_ms=60_000, acquisition="free"
        ) as make:
            camera = make(chunks=["ExposureTime"], features={"ExposureTime": 1000.0})
            await camera.grab(time.monotonic(), within(HANG_S))
            free._memory.put_double(Register.EXPOSURE_TIME, LONG_US)  # as ExposureAuto does
            frame = await until(lambda: long_exposed(camera))
            assert frame.age_ms() >= LONG_US / 1000, "the settings say 1 ms"


async def long_exposed(camera: Any) -> Any:
    """Return a frame whose own exposure time is the long one, None where it is another's."""
    frame = await camera.grab(time.monotonic(), within(HANG_S))
    return frame if frame.metadata["ExposureTime"] == LONG_US else None


async def test_a_chunk_that_the_camera_has_not_is_named_with_those_that_it_has() -> None:
    with fake():
        async with watched(
            max_bytes=1, max_pixels=SIDE * SIDE, kind="genicam", device=ADDRESS, chunks=["Weather"]
        ) as make:
            camera = make()
            await until(lambda: "it has no chunk Weather; it has" in camera.connection.detail)


async def test_where_ptp_keeps_both_clocks_the_instant_is_known_to_a_tenth_of_a_millisecond(watch: Any) -> None:
    with fake() as line:
        camera = await watch(line, rule={"ptp": True})
        assert await all_got(camera, fire(line, [1, 2])) == own([1, 2])
        assert camera.clock_error_s == PTP_WITHIN_S
        line.clock.offset += 300_000_000  # as of a host that another clock keeps
        await until(lambda: camera.transport["ptp_lost"] == 1)
        assert await all_got(camera, fire(line, [3, 4])) == own([3, 4])
        assert camera.clock_error_s != PTP_WITHIN_S  # now as its latches say, which may be less


async def test_incomplete_is_said_where_nothing_of_the_frame_says_when_it_was(watch: Any) -> None:
    with fake() as line:
        camera = await watch(line)
        line.faults.lose_these = {(2, 0)}
        line.faults.resending = Resending.ignore
        at = fire(line, [1, 2, 3])
        assert await all_got(camera, at) == {1: 1, 2: CameraIncomplete.code, 3: 3}


# The whole service


def test_parts_30_ms_apart_are_each_judged_by_their_own_picture(start_inference: Any, triton_server: Any) -> None:
    rule = RULE | {"time": "source", "most_kept": 16}
    camera = {
        "kind": "genicam",
        "device": ADDRESS,
        "timeout_ms": 60_000,
        "acquisition": "hardware",
        "hardware_trigger": rule,
    }
    with simulated_camera(picture=shows_tag, width=320, height=240) as line:
        service = start_inference(triton={"url": triton_server.grpc}, cameras={"c": camera})
        block_until(lambda: line.acquires)
        parts = [1, 2, 3, 4]
        line.faults.lose_these = {(3, packet) for packet in range(1000)}
        line.faults.resending = Resending.ignore
        at = fire(line, parts)

        def judged(part: int) -> Any:
            risen = datetime.now(UTC) + timedelta(seconds=at[part] - time.monotonic())
            source = {"kind": "camera", "camera": "c"}
            return service.infer(source=source, time={"source": risen.isoformat()}, deadline_ms=60_000)

        with ThreadPoolExecutor(len(parts)) as asking:
            results = dict(zip(parts, asking.map(judged, parts), strict=True))
        assert (results[3]["verdict"], results[3]["code"]) == ("unknown", "camera-unmatched")
        for part in (1, 2, 4):
            assert results[part]["status"] == "ok", results[part]["reason"]
            image = service.http.get(f"/v1/parts/{results[part]['id']}/image").content
            gray = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_GRAYSCALE)
            assert gray is not None
            assert round(float(gray.mean()) / STEP) == part
        assert service.metric('lineside_inference_camera_matching_total{camera="c",outcome="matched"}') == 3
        assert service.metric('lineside_inference_camera_clock_error_seconds{camera="c"}') < APART_S / 2


def shows_tag(_number: int, trigger: Fired) -> NDArray[np.uint8]:
    return np.full((240, 320), STEP * trigger.tag, np.uint8)


async def test_a_frame_of_no_part_that_nothing_fires_says_that_the_line_has_to(watch: Any) -> None:
    with fake() as camera:
        made = await watch(camera)
        with pytest.raises(CameraUnmatched, match="no frame of it came, which the line has to fire"):
            await made.grab(time.monotonic(), within(0.0))
