"""The newest frame against the trigger, without a camera."""

import asyncio
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from lineside.connections import Connection, State
from lineside.contract import Context, Request, Times
from lineside_inference.deadline import Arrival, Trigger, trigger_clock
from lineside_inference.errors import CameraFailed, CameraStale
from lineside_inference.settings import CameraSettings
from lineside_inference.sources import Frame
from lineside_inference.sources.cameras.camera import look_at
from lineside_inference.sources.cameras.live import FrameRate, LiveCamera
from lineside_inference.sources.cameras.mjpeg import Throttle
from lineside_inference.sources.cameras.threaded import MAX_LEFT_BEHIND, ThreadedCamera
from tests.support.deadlines import within
from tests.support.waiting import HANG_S, until


class Still(LiveCamera):
    async def supervise(self) -> None:
        """Do nothing: the test delivers."""


def camera(first_s: float = 0.1, **settings: Any) -> Still:
    """Return a camera; `first_s`: how long it waits after its first failure."""
    document = {"kind": "mjpeg", "url": "http://c/"} | settings
    link = Connection("camera/c", "http://c/", first_s=first_s, longest_s=max(first_s, 5.0))
    return Still("c", CameraSettings.model_validate(document), link)


async def test_the_newest_frame_after_the_trigger_is_taken_at_once() -> None:
    live = camera()
    trigger = time.monotonic()
    live.deliver(Frame(b"old", clock=trigger - 1))
    live.deliver(Frame(b"new", clock=trigger))
    assert (await live.grab(trigger, within(0))).data == b"new"


async def test_an_older_frame_is_not_taken_and_the_next_one_is_waited_for() -> None:
    live = camera()
    trigger = time.monotonic()
    live.deliver(Frame(b"old", clock=trigger - 0.001))
    grabbing = asyncio.ensure_future(live.grab(trigger, within(5)))
    await asyncio.sleep(0)
    live.deliver(Frame(b"still old", clock=trigger - 0.0005))
    await asyncio.sleep(0)
    assert not grabbing.done()
    live.deliver(Frame(b"new", clock=trigger + 0.001))
    assert (await grabbing).data == b"new"


async def test_without_a_newer_frame_it_is_stale_and_says_by_how_much() -> None:
    live = camera()
    trigger = time.monotonic()
    live.deliver(Frame(b"old", clock=trigger - 0.35))
    with pytest.raises(CameraStale, match=r"350 ms older.*allow_older_ms") as caught:
        await live.grab(trigger, within())
    assert (caught.value.code, caught.value.status) == ("camera-stale", "failed")


async def test_a_camera_that_cannot_be_back_in_time_is_said_at_once() -> None:
    """The deadline is an hour away: who waited for it would hang."""
    live = camera(first_s=600.0, timeout_ms=60_000)
    live.connection.backoff("no route to host")
    with pytest.raises(CameraFailed, match=r"is away \(BACKOFF: no route to host\)"):
        await asyncio.wait_for(live.grab(time.monotonic(), within(3600)), HANG_S / 10)
    trigger = time.monotonic()
    live.connection.connecting()  # control: it may be back now
    grabbing = asyncio.ensure_future(live.grab(trigger, within(3600)))
    await asyncio.sleep(0)
    live.deliver(Frame(b"new", clock=trigger + 0.001))
    assert (await grabbing).data == b"new"


async def test_an_older_frame_is_taken_within_what_is_allowed() -> None:
    live = camera(allow_older_ms=100)
    trigger = time.monotonic()
    live.deliver(Frame(b"old", clock=trigger - 0.09))
    assert (await live.grab(trigger, within())).data == b"old"
    with pytest.raises(CameraStale):
        await live.grab(trigger + 0.02, within())


async def test_a_camera_that_is_away_says_why() -> None:
    live = camera()
    live.connection.backoff("no route")
    with pytest.raises(CameraFailed, match=r"away \(BACKOFF: no route\)"):
        await live.grab(0.0, within())


async def test_the_warm_up_is_thrown_away_after_each_connect() -> None:
    live = camera(warmup_frames=2)
    for _ in range(2):
        live.connected()
        for name in (b"1", b"2", b"3"):
            live.deliver(Frame(name))
    assert live.frames["discarded"] == 4
    assert live.frames["kept"] == 2
    assert live.connection.state is State.ONLINE
    assert (await live.grab(0.0, within())).data == b"3"


def request(**times: Any) -> Request:
    return Request.model_validate(
        {
            "schema": "lineside/request/1",
            "id": "a",
            "model": "m",
            "source": {"kind": "camera", "camera": "c"},
            "time": Times(**times),
        }
    )


def test_the_trigger_is_when_it_was_received_and_never_later_than_the_arrival() -> None:
    arrival = Arrival()
    assert trigger_clock(request(), arrival) == arrival.clock
    before = arrival.wall - timedelta(milliseconds=250)
    assert trigger_clock(request(received=before), arrival) == pytest.approx(arrival.clock - 0.25)
    assert trigger_clock(request(received=arrival.wall + timedelta(hours=1)), arrival) == arrival.clock
    assert trigger_clock(request(source=before), arrival) == arrival.clock


def test_frames_above_the_rate_are_skipped_and_jitter_is_not() -> None:
    rate = FrameRate(10)
    assert 10 <= sum(rate.is_due(5 + tick / 100) for tick in range(100)) <= 11
    steady = FrameRate(10)
    late = [9.0, 9.104, 9.2, 9.304, 9.4, 9.504]
    assert all(steady.is_due(clock) for clock in late)


def test_a_flood_is_slowed_down_to_the_bound() -> None:
    throttle = Throttle(1_000_000)
    assert throttle.wait(50_000, 1.0) is None
    assert throttle.wait(1, 1.02) == pytest.approx(0.03)
    assert throttle.wait(1, 1.05) is None


class Hanging(ThreadedCamera):
    """A driver that never comes back."""

    silence_s = 0.01

    def __init__(self) -> None:
        settings = CameraSettings.model_validate({"kind": "stream", "path": "/dev/video0"})
        super().__init__("h", settings, Connection("camera/h", "h", first_s=0.001, longest_s=0.001))
        self.opened = 0
        self.release = threading.Event()

    def read(self, _stop: threading.Event) -> Iterator[Frame | None]:
        self.opened += 1
        self.release.wait(HANG_S)
        yield Frame(b"late")


async def test_a_reader_that_hangs_is_left_behind_a_few_times_and_blocks_nothing() -> None:
    hanging = Hanging()
    supervising = asyncio.ensure_future(hanging.supervise())
    await until(lambda: "hang and cannot be stopped" in hanging.connection.detail)
    assert hanging.opened == MAX_LEFT_BEHIND
    assert "hang" in hanging.connection.detail
    hanging.release.set()
    await until(lambda: hanging.frames["kept"])  # what is late goes nowhere, and a new reader is tried
    assert hanging.opened > MAX_LEFT_BEHIND
    supervising.cancel()
    await asyncio.gather(supervising, return_exceptions=True)
    hanging.close()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"url": "http://cam/"}, "See its address, cable and power"),
        ({"kind": "stream", "url": "rtsp://c/", "username": "u", "password_file": "p"}, "power; and its password file"),
        ({"kind": "directory", "path": "/in"}, "See whether the folder /in is there, and whether this service's user"),
        ({"kind": "stream", "path": "/film.mp4"}, "See whether the file /film.mp4 is there"),
        ({"kind": "stream", "path": "/dev/video0"}, "See whether the device /dev/video0 is plugged in"),
    ],
)
def test_a_camera_that_is_away_is_looked_for_where_its_kind_can_be(settings: dict[str, str], said: str) -> None:
    told = look_at(CameraSettings.model_validate(settings))
    assert said in told
    assert ("cable" in told) == ("url" in settings)


def test_a_trigger_has_each_timestamp_as_its_clock_has_it() -> None:
    arrival = Arrival()
    ahead, before = arrival.wall + timedelta(hours=1), arrival.wall - timedelta(milliseconds=250)
    trigger = Trigger.of(request(received=before, source=ahead), arrival)
    assert trigger.stamps == pytest.approx({"received": arrival.clock - 0.25, "source": arrival.clock + 3600})
    assert trigger.clock == pytest.approx(arrival.clock - 0.25)
    assert not trigger.is_recovered
    assert Trigger.of(request(), arrival).stamps == {"received": arrival.clock}


def test_a_part_that_was_found_after_a_gap_is_known_as_such() -> None:
    recovered = request().model_copy(update={"context": Context.model_validate({"recovered": True})})
    assert Trigger.of(recovered, Arrival()).is_recovered
