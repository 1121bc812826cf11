"""How a camera does: rates of its last minute, what needs a person, and what is no need."""

from types import SimpleNamespace
from typing import Any

import pytest

from lineside.connections import Connection
from lineside_inference.settings import CameraSettings
from lineside_inference.sources.cameras.camera import Camera
from lineside_inference.sources.cameras.health import CameraHealth, Sample, Vital, needs


class StillCamera(Camera):
    """A camera whose counters the test moves."""

    def __init__(self, **settings: Any) -> None:
        parsed = CameraSettings.model_validate({"kind": "genicam", "device": "192.0.2.20", **settings})
        super().__init__("top", parsed, Connection("camera/top", "192.0.2.20"))

    async def grab(self, trigger: float, deadline: Any) -> Any:
        raise NotImplementedError

    async def supervise(self) -> None:
        raise NotImplementedError


def vital(temperature: float | None = None, **counted: Any) -> Vital:
    lately = Sample(**{"at": 60.0, "frames": 1000, "received_packets": 100_000, **counted})
    return Vital(lately, has_transport=True, temperature=temperature, hot=75.0)


def test_rates_are_of_the_last_minute() -> None:
    clock, camera = SimpleNamespace(now=100.0), StillCamera()
    health = CameraHealth([camera], clock=lambda: clock.now)
    assert health.vital(camera).frames_a_second is None, "nothing was counted yet"
    camera.frames["kept"] = 5000
    for _ in range(30):
        health.look()
        clock.now += 5.0
        camera.frames["kept"] += 10
        camera.frames["skipped"] += 5
        camera.frames["refused"] += 100
    seen = health.vital(camera)
    assert seen.frames_a_second == pytest.approx(3.0)
    assert 60.0 <= seen.lately.at <= 70.0
    assert seen.incomplete_share is None, "this kind of camera counts none"


def test_counters_that_a_service_counts_are_shares_of_what_came() -> None:
    clock, camera = SimpleNamespace(now=0.0), StillCamera()
    health = CameraHealth([camera], clock=lambda: clock.now)
    camera.transport.update({"incomplete": 7, "received_packets": 100, "resent_packets": 100, "socket_drops": 5})
    health.look()
    clock.now = 10.0
    camera.frames["kept"] += 90
    camera.transport.update({"incomplete": 10, "received_packets": 1000, "resent_packets": 50, "lost_control": 1})
    seen = health.vital(camera)
    assert seen.incomplete_share == pytest.approx(0.1)
    assert seen.resent_share == pytest.approx(0.05)
    assert (seen.lately.lost_control, seen.lately.socket_drops) == (1, 0)


@pytest.mark.parametrize(
    ("seen", "said", "is_bad"),
    [
        (vital(incomplete=50), "50 frames were not whole", True),
        (vital(lost_control=1), "lost once", False),
        (vital(lost_control=3), "lost 3 times", True),
        (vital(underruns=4), "4 packets found no free buffer", True),
        (vital(socket_drops=9), "9 packets were dropped by this machine", False),
        (vital(resent_packets=3000), "3.0 % of its packets", False),
        (vital(temperature=76.0), "76 °C hot, and 75 °C are allowed", False),
    ],
)
def test_what_needs_a_person_says_what_to_do(seen: Vital, said: str, is_bad: bool) -> None:
    (need,) = needs(seen)
    assert said in need.what
    assert need.remedy
    assert need.is_bad is is_bad


@pytest.mark.parametrize(
    "seen",
    [
        vital(),
        vital(incomplete=2, frames=2),
        vital(incomplete=5, frames=1000),
        vital(resent_packets=99, received_packets=100),
        vital(resent_packets=900),
        vital(temperature=75.0),
        vital(temperature=-20.0),
        Vital(Sample(60.0, 0)),
    ],
    ids=["well", "two-of-four", "few-of-many", "few-packets", "small-share", "at-its-limit", "cold", "no-frames"],
)
def test_what_is_usual_needs_nobody(seen: Vital) -> None:
    assert needs(seen) == []


def test_what_costs_parts_stands_first() -> None:
    found = needs(vital(temperature=90.0, incomplete=50, socket_drops=1))
    assert [need.is_bad for need in found] == [True, False, False]


def test_a_camera_that_is_away_says_why_and_what_to_check() -> None:
    camera = StillCamera(hot_celsius=60)
    health = CameraHealth([camera])
    camera.connection.backoff("it cannot be opened: timeout")
    (told,) = health.document()["cameras"]  # type: ignore[misc]
    assert (told["state"], told["detail"]) == ("BACKOFF", "it cannot be opened: timeout")
    assert "lineside camera list" in told["remedy"]
    assert (told["temperature_celsius"], told["hot_celsius"], told["frames_a_second"]) == (None, 60.0, None)
    camera.connection.connecting()
    (told,) = health.document()["cameras"]  # type: ignore[misc]
    assert (told["state"], "lineside camera list" in told["remedy"]) == ("CONNECTING", True), "a try may take seconds"
    camera.connection.online()
    (told,) = health.document()["cameras"]  # type: ignore[misc]
    assert told["remedy"] == ""


def test_a_camera_that_was_not_tried_yet_has_nothing_to_check() -> None:
    (told,) = CameraHealth([StillCamera()]).document()["cameras"]  # type: ignore[misc]
    assert (told["state"], told["remedy"]) == ("CONNECTING", "")
