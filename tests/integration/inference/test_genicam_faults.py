"""A GigE camera that fails, and the running service: `unknown` with the cause, never a wrong frame, and back by itself.

One service and one simulated camera for all of them; each test begins and ends with a part that is judged.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lineside_bench.gige_camera import description
from lineside_bench.gige_camera.camera import GigeCamera
from lineside_bench.gige_camera.faults import Faults, Resending
from lineside_bench.gige_camera.sensor import Trigger
from tests.support.genicam_fakes import ADDRESS, pattern, simulated_camera
from tests.support.inference_service import Inference
from tests.support.waiting import HANG_S, block_until

SOURCE = {"kind": "camera", "camera": "c"}
DEADLINE_MS = 10_000
MONO8 = 0x01080001
OTHER = "192.0.2.99", 49_152


class Rig:
    """The service, its camera, and what it says of it."""

    def __init__(self, service: Inference, camera: GigeCamera) -> None:
        self.service = service
        self.camera = camera
        self.faults = camera.faults

    def judged(self) -> Any:
        """Return the result of a part that is judged, once one is."""
        return block_until(self._judged, self.state, within=HANG_S)

    def unknown(self, code: str, *words: str) -> str:
        """Return the reason once a part is unknown with this code and these words; no part may be judged before."""
        seen: list[str] = []

        def is_said() -> str | None:
            result = self.ask()
            assert result["verdict"] == "unknown", result
            seen.append(f"{result['code']}: {result['reason']}")
            return seen[-1] if result["code"] == code and all(word in seen[-1] for word in words) else None

        said = block_until(is_said, lambda: f"no {code} with {words}: {seen[-3:]}", within=HANG_S)
        assert said is not None
        return said

    def ask(self, deadline_ms: int = DEADLINE_MS) -> Any:
        return self.service.infer(source=SOURCE, deadline_ms=deadline_ms)

    def state(self) -> dict[str, Any]:
        """Return how the service says that the camera is."""
        ready = self.service.http.get("/readyz").json()
        (link,) = [each for each in ready["connections"] if "camera" in each["name"]]
        return dict(link)

    def event(self, name: str) -> float:
        return self.service.metric(f'lineside_inference_camera_transport_total{{camera="c",event="{name}"}}')

    def _judged(self) -> Any | None:
        result = self.ask()
        return result if result["status"] == "ok" else None


def numbered(number: int, _trigger: Trigger) -> NDArray[np.uint8]:
    """Return the pattern, a little darker each time, so that no frame is another."""
    return pattern() - np.uint8(number % 8)


@pytest.fixture(scope="module")
def shared(start_shared: Callable[..., Inference], triton_server: Any) -> Iterator[Rig]:
    with simulated_camera(picture=numbered, packet_size=8192) as camera:
        settings = {"kind": "genicam", "device": ADDRESS, "timeout_ms": 3000, "features": {"Width": 320}}
        service = start_shared(triton={"url": triton_server.grpc}, cameras={"c": settings})
        yield Rig(service, camera)


@pytest.fixture
def rig(shared: Rig) -> Iterator[Rig]:
    shared.judged()
    yield shared
    for name, value in vars(Faults()).items():
        setattr(shared.faults, name, value)
    if shared.camera.controller == OTHER:
        shared.camera.release_control()
    shared.judged()
    assert shared.state()["state"] == "ONLINE"


def test_without_a_fault_every_part_is_judged_at_the_first_trigger(rig: Rig) -> None:
    taken, missed = len(rig.camera.sent), rig.camera.sensor.missed
    for _ in range(5):
        assert rig.ask()["status"] == "ok"
    assert len(rig.camera.sent) - taken == 5
    assert rig.camera.sensor.missed == missed


def test_lost_packets_that_are_sent_again_cost_no_part(rig: Rig) -> None:
    resent = rig.camera.stream.resent
    rig.faults.lose = 0.1
    for _ in range(10):
        assert rig.ask()["status"] == "ok"
    assert rig.camera.stream.resent > resent
    assert rig.event("resent_packets") > 0


@pytest.mark.parametrize("resending", [Resending.ignore, Resending.unavailable])
def test_lost_packets_that_nobody_sends_again_make_parts_unknown(rig: Rig, resending: Resending) -> None:
    incomplete = rig.event("incomplete")
    rig.faults.resending, rig.faults.lose = resending, 0.5
    rig.unknown("camera-incomplete", "packets are missing")
    assert rig.event("incomplete") > incomplete


def test_a_frame_that_ends_in_its_middle_is_asked_for_again(rig: Rig) -> None:
    incomplete = rig.event("incomplete")
    rig.faults.cut_frames = 1
    assert rig.ask()["status"] == "ok"
    assert rig.faults.cut_frames == 0
    assert rig.event("incomplete") == incomplete + 1


def test_frames_that_all_end_in_their_middle_make_parts_unknown(rig: Rig) -> None:
    rig.faults.cut_frames = 1_000_000
    rig.unknown("camera-incomplete")


@pytest.mark.parametrize("size", [(320, 240), (320, 482), (160, 480), (640, 240)])
def test_a_frame_of_another_size_than_announced_is_not_judged(rig: Rig, size: tuple[int, int]) -> None:
    rig.faults.said_size = size
    rig.unknown("camera-failed")
    assert rig.state()["state"] != "ONLINE"


@pytest.mark.parametrize(("code", "word"), [(0x0108FFFF, "0x0108FFFF"), (0x01100007, "bytes")])
def test_a_pixel_format_that_is_not_known_or_not_announced_is_not_judged(rig: Rig, code: int, word: str) -> None:
    rig.faults.said_pixel_format = code
    rig.unknown("camera-failed", word)


def test_the_announced_pixel_format_is_judged(rig: Rig) -> None:
    rig.faults.said_pixel_format = MONO8
    assert rig.ask()["status"] == "ok"


def test_block_ids_and_clock_may_wrap(rig: Rig) -> None:
    clock = rig.camera.clock
    rig.camera.take_control(OTHER)
    rig.unknown("camera-failed", "access denied")
    rig.camera.set_block(65_530)
    clock.offset = (clock.offset - clock.ticks(time.monotonic())) % (1 << 64) - 1
    rig.camera.release_control()
    rig.judged()
    for _ in range(10):
        assert rig.ask()["status"] == "ok"
    assert rig.camera.sent[-1].block < 65_530
    assert {65_535, 1} <= {each.block for each in rig.camera.sent}


def test_a_reboot_makes_parts_unknown_and_its_features_are_written_again(rig: Rig) -> None:
    lost = rig.event("lost_control")
    rig.camera.reboot(8.0)
    result = rig.ask(2000)  # one with more time is judged, once the camera is back
    assert result["verdict"] == "unknown"
    block_until(lambda: rig.state()["state"] != "ONLINE" or rig.event("lost_control") > lost, rig.state)
    result = rig.judged()
    image = rig.service.http.get(f"/v1/parts/{result['id']}/image")
    assert cv2.imdecode(np.frombuffer(image.content, np.uint8), cv2.IMREAD_COLOR).shape == (480, 320, 3)


def test_control_that_another_program_takes_is_waited_for(rig: Rig) -> None:
    rig.camera.take_control(OTHER)
    rig.unknown("camera-failed", "access denied", "192.0.2.99")
    rig.camera.release_control()
    rig.judged()


def test_acknowledgements_that_come_late_are_waited_for(rig: Rig) -> None:
    rig.faults.ack_delay_s = 0.1
    assert rig.ask()["status"] == "ok"


def test_acknowledgements_that_come_too_late_make_parts_unknown(rig: Rig) -> None:
    rig.faults.ack_delay_s = 10.0
    rig.unknown("camera-failed")


def test_a_camera_that_falls_silent_makes_parts_unknown(rig: Rig) -> None:
    rig.faults.is_silent = True
    rig.unknown("camera-failed")
    assert rig.state()["state"] != "ONLINE"


@pytest.mark.parametrize(
    "xml",
    [b"", b"<RegisterDescription", b"\xff\xfe\x00" * 100, b"<a><b/></a>", description.xml(ticks_are_ns=True)[:3000]],
)
def test_a_broken_description_is_said_and_survived(rig: Rig, xml: bytes) -> None:
    whole = description.xml(ticks_are_ns=True)
    rig.camera.reboot(0.0, xml=xml)
    rig.unknown("camera-failed")
    rig.camera.reboot(0.0, xml=whole)
    rig.judged()
    assert rig.service.process.poll() is None
