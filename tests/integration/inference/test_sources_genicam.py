"""GigE Vision cameras by libaravis, against two fake cameras of different makers, over loopback."""

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from lineside.connections import State
from lineside_inference.doctor import cameras as doctor_of_cameras
from lineside_inference.errors import CameraFailed, CameraIncomplete, RequestError
from lineside_inference.imaging.pixel_formats.convert import to_pixels
from lineside_inference.settings import CameraSettings
from lineside_inference.settings.limits import LimitSettings
from lineside_inference.sources.cameras.genicam import library, watching
from lineside_inference.sources.cameras.genicam.advice import advise
from lineside_inference.sources.cameras.genicam.device import Device
from lineside_inference.sources.cameras.genicam.discovery import discover
from tests.support.cameras import watched
from tests.support.deadlines import within
from tests.support.genicam_fakes import ADDRESS, aravis_camera, camera_port, viva_camera
from tests.support.waiting import HANG_S, block_until, until

PIXELS = 640 * 480


@pytest.fixture
async def watch() -> AsyncIterator[Any]:
    """Make and start one camera; ended with the test."""
    async with watched(
        max_bytes=1_000_000, max_pixels=PIXELS, kind="genicam", device=ADDRESS, timeout_ms=20_000
    ) as make:
        yield make


@pytest.mark.parametrize("acquisition", ["software", "free"])
@pytest.mark.parametrize("fake", [aravis_camera, viva_camera])
async def test_each_frame_began_after_its_trigger(watch: Any, fake: Any, acquisition: str) -> None:
    with fake():
        camera = watch(acquisition=acquisition)
        for _ in range(4):
            trigger = time.monotonic()
            frame = await camera.grab(trigger, within(HANG_S))
            assert trigger <= frame.clock <= time.monotonic()
            width = frame.pixels.shape[1] if frame.layout is None else frame.layout.width
            assert width in {512, 640}
        assert camera.connection.state is State.ONLINE
        assert camera.transport["incomplete"] == 0


async def test_a_frame_whose_exposure_began_before_the_trigger_is_too_old(watch: Any) -> None:
    with aravis_camera():
        camera = watch(acquisition="free", features={"ExposureTimeAbs": 500_000.0})
        trigger = time.monotonic()
        frame = await camera.grab(trigger, within(HANG_S))
        assert frame.clock >= trigger
        assert time.monotonic() - frame.clock >= 0.5, "it is as old as its exposure"


@pytest.mark.parametrize(
    ("pixel_format", "shape"),
    [("Mono8", (240, 320)), ("Mono12p", (240, 320)), ("BayerRG8", (240, 320, 3)), ("RGB8", (240, 320, 3))],
)
async def test_a_pixel_format_becomes_pixels(watch: Any, pixel_format: str, shape: tuple[int, ...]) -> None:
    with viva_camera(width=320, height=240, pixel_format=pixel_format):
        frame = await watch().grab(time.monotonic(), within(HANG_S))
        assert frame.pixels.shape == shape
        assert len(np.unique(frame.pixels)) > 4


@pytest.mark.parametrize(
    ("pixel_format", "is_kept"), [("Mono8", True), ("BayerRG8", True), ("Mono12p", True), ("Mono16", False)]
)
async def test_a_frame_that_the_camera_sends_by_itself_is_made_into_pixels_when_it_is_judged(
    watch: Any, pixel_format: str, *, is_kept: bool
) -> None:
    with viva_camera(width=320, height=240, pixel_format=pixel_format):
        frame = await watch(acquisition="free").grab(time.monotonic(), within(HANG_S))
    assert (frame.layout is not None, frame.pixels is None) == (is_kept, is_kept)
    if is_kept:
        assert frame.layout.format.name == pixel_format
        assert len(np.unique(to_pixels(frame.data, frame.layout, max_pixels=PIXELS))) > 4


async def test_a_software_trigger_is_given_for_a_request_and_not_without(watch: Any) -> None:
    with viva_camera() as fake:
        camera = watch(acquisition="software", warmup_frames=2)
        for _ in range(3):
            await camera.grab(time.monotonic(), within(HANG_S))
        assert fake.software_triggers() == 2 + 3
        assert camera.frames["discarded"] == 2


async def test_a_camera_is_found_by_its_serial_and_its_features_are_set(watch: Any) -> None:
    features = {
        "OffsetY": 8,
        "Height": 128,
        "OffsetX": 16,
        "Width": 256,
        "ExposureTimeAbs": 2000.0,
        "PixelFormat": "BayerRG8",
    }
    with aravis_camera("LINE-7"):
        camera = watch(device="LINE-7", features=features)
        frame = await camera.grab(time.monotonic(), within(HANG_S))
        assert frame.pixels.shape == (128, 256, 3)
        device = Device(ADDRESS, max_pixels=PIXELS, controls=False)
        try:
            assert {name: device.read(name) for name in features} == features
        finally:
            device.close()


@pytest.mark.parametrize(
    ("features", "said"),
    [
        ({"Width": 99_999}, "feature Width: 99999 does not fit; this camera takes 1 to 2048"),
        ({"PixelFormat": "Mono99"}, "this camera takes one of BayerBG8"),
        ({"ExposureTimeAbs": "long"}, "feature ExposureTimeAbs: 'long' does not fit; this camera takes 10 to"),
        ({"Gain": 2.0}, "it has no feature Gain; it has GainRaw"),
        ({"Width": 1024, "Height": 1024}, "it sends 1024 x 1024 pixels"),
    ],
)
async def test_what_does_not_fit_is_refused_with_the_cameras_own_bounds(
    watch: Any, features: dict[str, Any], said: str
) -> None:
    with aravis_camera():
        camera = watch(features=features, acquisition="free")
        await until(lambda: said in camera.connection.detail, lambda: camera.connection.detail)
        with pytest.raises(CameraFailed):
            await camera.grab(time.monotonic(), within(0.0))


async def test_who_has_control_keeps_it_and_it_is_taken_once_it_is_free(watch: Any) -> None:
    with aravis_camera():
        other = Device(ADDRESS, max_pixels=PIXELS)
        try:
            camera = watch(timeout_ms=100)  # opening takes longer, and is not taken for a reader that hangs
            await until(lambda: "access denied" in camera.connection.detail, lambda: camera.connection.detail)
            assert other.has_control()
        finally:
            other.close()
        await until(lambda: camera.connection.is_online, lambda: camera.connection.detail)


async def test_a_camera_that_was_unplugged_is_taken_again(watch: Any) -> None:
    with aravis_camera() as fake:
        camera = watch(features={"Width": 256})
        assert (await camera.grab(time.monotonic(), within(HANG_S))).pixels.shape[1] == 256
        fake.stop()
        await until(lambda: camera.transport["lost_control"] == 1, lambda: camera.connection.detail)
        await until(lambda: camera.connection.state is State.BACKOFF, lambda: camera.connection.detail)
        with pytest.raises(CameraFailed, match="is away"):
            await camera.grab(time.monotonic(), within(0.0))
        fake.start()
        await until(lambda: camera.connection.is_online, lambda: camera.connection.detail)
        trigger = time.monotonic()
        frame = await camera.grab(trigger, within(HANG_S))
        assert frame.clock >= trigger
        assert frame.pixels.shape[1] == 256, "its features were written again"


async def test_control_that_the_camera_takes_back_is_taken_again(watch: Any) -> None:
    with viva_camera() as fake:
        camera = watch()
        await camera.grab(time.monotonic(), within(HANG_S))
        fake.revoke_control()
        await until(lambda: camera.transport["lost_control"] == 1, lambda: camera.connection.detail)
        assert (await camera.grab(time.monotonic(), within(HANG_S))).pixels is not None


async def test_a_frame_that_lost_packets_is_asked_for_again(watch: Any) -> None:
    with viva_camera(packet_resend=False, drop_packets=[(1, 3)]) as fake:
        camera = watch(acquisition="software")
        await camera.grab(time.monotonic(), within(HANG_S))
        assert camera.transport["incomplete"] == 1
        assert camera.frames["kept"] == 1
        assert fake.software_triggers() == 2


async def test_a_lost_packet_that_the_camera_sends_again_costs_no_frame(watch: Any) -> None:
    with viva_camera(packet_resend=True, drop_packets=[(1, 3)]) as fake:
        camera = watch(acquisition="software")
        await camera.grab(time.monotonic(), within(HANG_S))
        assert fake.software_triggers() == 1 + camera.transport["incomplete"]


@pytest.mark.parametrize("acquisition", ["software", "free"])
async def test_where_no_frame_is_whole_the_missing_packets_are_said(watch: Any, acquisition: str) -> None:
    with viva_camera(packet_resend=False, drop_packets=[(frame, 3) for frame in range(1, 10_000)]):
        camera = watch(acquisition=acquisition)

        said = await until(lambda: incomplete(camera))
        assert re.search(r"none of them whole: at most \d+ packets are missing", said.what)
        assert camera.frames["kept"] == 0


async def incomplete(camera: Any) -> CameraIncomplete | None:
    """Return the refusal of one grab, None where it was another one: while the camera is connected to."""
    with pytest.raises(RequestError) as refused:
        await camera.grab(time.monotonic(), within(1.0))
    return refused.value if isinstance(refused.value, CameraIncomplete) else None


async def test_without_the_library_its_package_is_named(watch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "SONAME", "libaravis-of-nobody.so.0")
    library.load.cache_clear()
    camera = watch()
    await until(lambda: "libaravis-0.8-0" in camera.connection.detail, lambda: camera.connection.detail)
    library.load.cache_clear()


def test_the_fake_is_discovered_with_what_it_tells() -> None:
    with aravis_camera("S9"):
        assert [(each.vendor, each.serial, each.address) for each in discover()] == [("Aravis", "S9", ADDRESS)]


def lineside(*words: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lineside")), "camera", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=HANG_S)


def test_the_command_lists_shows_and_snaps(tmp_path: Path) -> None:
    with aravis_camera("S9"):
        (found,) = json.loads(lineside("list", "--json").stdout)
        assert (found["serial"], found["address"]) == ("S9", ADDRESS)
        assert "serial S9" in lineside("list").stdout
        told = json.loads(lineside("info", "S9", "--json").stdout)
        assert told["control"] == "free"
        assert told["features"]["Width"] == {"value": 512, "takes": "1 to 2048"}
        done = lineside("snap", ADDRESS, "--to", str(tmp_path / "a.png"), "--json")
        assert json.loads(done.stdout)["width"] == 512, done.stderr
        assert cv2.imread(str(tmp_path / "a.png")).shape == (512, 512, 3)
        other = Device(ADDRESS, max_pixels=PIXELS)
        try:
            denied = lineside("snap", ADDRESS, "--to", str(tmp_path / "b.png"))
            assert denied.returncode == 1
            assert "access denied" in denied.stderr
            assert json.loads(lineside("info", ADDRESS, "--json").stdout)["control"] != "free"
        finally:
            other.close()
    assert lineside("snap", ADDRESS, "--to", "a.gif").returncode == 2


def test_the_command_shows_features_with_what_they_take_and_who_may_write_them() -> None:
    with viva_camera():
        told = json.loads(lineside("features", ADDRESS, "--json").stdout)
        assert told["Width"] == {
            "kind": "integer",
            "value": 640,
            "least": 16,
            "most": 4096,
            "step": 1,
            "choices": [],
            "access": "read and write",
        }
        assert told["ExposureAuto"]["choices"] == ["Off", "Once", "Continuous"]
        assert told["SensorWidth"]["access"] == "read-only"
        assert (told["TriggerSoftware"]["kind"], told["TriggerSoftware"]["value"]) == ("command", None)
        assert told["UserSetSave"]["access"] == "not available now"
        assert "AcquisitionControl" not in told, "a group of features is none"
        assert lineside("features", ADDRESS, "Width").stdout.startswith("Width: 640   (integer: 16 to 4096;")


def test_the_command_sets_features_in_the_order_and_by_the_bounds_of_the_settings() -> None:
    with aravis_camera():
        given = ("--set", "OffsetX=16", "--set", "Width=256", "--set", "ExposureTimeAbs=2000", "--set", "GainAuto=Off")
        done = lineside("features", ADDRESS, *given, "--json")
        assert {name: each["value"] for name, each in json.loads(done.stdout).items()} == {
            "OffsetX": 16,
            "Width": 256,
            "ExposureTimeAbs": 2000.0,
            "GainAuto": "Off",
        }
        for word, said in (
            ("Width=99999", "feature Width: 99999 does not fit; this camera takes 1 to 2048"),
            ("Width=wide", "feature Width: 'wide' does not fit"),
            ("Gain=1", "it has no feature Gain; it has GainRaw"),
            ("SensorWidth=5", "feature SensorWidth is read-only"),
            ("TriggerSoftware=1", "TriggerSoftware is a command"),
        ):
            refused = lineside("features", ADDRESS, "--set", word)
            assert (refused.returncode, said in refused.stderr) == (1, True), refused.stderr
        assert json.loads(lineside("features", ADDRESS, "Width", "--json").stdout)["Width"]["value"] == 256


def test_the_command_sets_nothing_of_a_camera_that_the_service_owns(tmp_path: Path) -> None:
    settings = tmp_path / "lineside.yaml"
    settings.write_text(json.dumps({"inference": {"cameras": {"station-1": {"kind": "genicam", "device": "LINE-7"}}}}))
    with aravis_camera("LINE-7"):
        owner = Device(ADDRESS, max_pixels=PIXELS)
        try:
            for camera in ("station-1", ADDRESS):
                refused = lineside("features", camera, "--set", "Width=256", "--config", str(settings))
                assert refused.returncode == 1
                assert "it is camera 'station-1' of the inference service" in refused.stderr
            assert owner.read("Width") == 512
        finally:
            owner.close()
    for word in ("Width", "=1"):
        assert lineside("features", ADDRESS, "--set", word).returncode == 2
    assert "given twice" in lineside("features", ADDRESS, "--set", "Width=1", "--set", "Width=2").stderr


@pytest.mark.parametrize("fake", [aravis_camera, viva_camera])
def test_a_watch_counts_what_comes_of_a_camera_that_sends_by_itself(fake: Any) -> None:
    with fake():
        done = lineside("watch", ADDRESS, "--seconds", "2", "--json")
        told = json.loads(done.stdout)
        assert told["seen"]["frames"] > 1
        assert told["seen"]["incomplete"] == 0
        assert told["seen"]["bytes_a_second"] > 0
        assert 0 < told["seen"]["p50_ms"] <= told["seen"]["p99_ms"] <= told["seen"]["longest_ms"]
        assert told["seen"]["channel"]["host"] == ADDRESS
        assert told["seen"]["channel"]["payload"] in {512 * 512, 640 * 480}
        assert told["way"]["interface"] == "lo"
        assert done.returncode == int(any(each["is_due"] for each in told["advice"]))


def test_a_watch_of_a_camera_that_loses_packets_says_what_to_do() -> None:
    with viva_camera(packet_resend=False, drop_packets=[(frame, 3) for frame in range(1, 10_000)]):
        done = lineside("watch", ADDRESS, "--seconds", "2")
        assert done.returncode == 1
        assert re.search(r"^frames: 0 whole .*, [1-9]\d* not whole", done.stdout)
        assert "to do: " in done.stdout


def test_a_watch_of_a_camera_that_goes_away_ends_and_says_so() -> None:
    with aravis_camera() as fake:
        device = Device(ADDRESS, max_pixels=PIXELS)
        try:
            stopping = threading.Timer(0.5, fake.stop)
            stopping.start()
            seen, way = watching.watch(device, {}, HANG_S)
            stopping.join()
        finally:
            device.close()
        assert seen.lost_control
        assert advise(seen, way)[0].text.startswith("Control of the camera was lost")


def test_a_watch_of_what_another_program_controls_is_refused() -> None:
    with aravis_camera():
        owner = Device(ADDRESS, max_pixels=PIXELS)
        try:
            refused = lineside("watch", ADDRESS, "--seconds", "2")
        finally:
            owner.close()
        assert refused.returncode == 1
        assert "access denied" in refused.stderr


def test_the_socket_gets_a_receive_buffer_for_two_frames_as_far_as_the_kernel_allows() -> None:
    with aravis_camera():
        device = Device(ADDRESS, max_pixels=PIXELS)
        try:
            device.start()
            channel = device.channel()
            assert channel is not None
            block_until(lambda: device.take(0.1) is not None or device.counts().incomplete)
            most = int(Path("/proc/sys/net/core/rmem_max").read_text())
            assert receive_buffer(channel.port) == 2 * min(2 * channel.payload, most), "the kernel doubles it"
        finally:
            device.close()


def receive_buffer(port: int) -> int | None:
    """Return the size of the receive buffer of this process' socket at a UDP port."""
    for each in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            if not str(each.readlink()).startswith("socket:"):
                continue
            number = os.dup(int(each.name))
            with socket.socket(fileno=number) as found:
                name = found.getsockname()
                if found.family == socket.AF_INET and found.type == socket.SOCK_DGRAM and name[1] == port:
                    return found.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    return None


async def test_what_answers_nonsense_is_no_camera_and_holds_nobody_up(watch: Any) -> None:
    with camera_port(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind((ADDRESS, 3956))
        peer.settimeout(0)
        asked = []

        def answer() -> None:
            request, address = peer.recvfrom(2048)
            asked.append(request)
            peer.sendto(request[:3] + bytes(range(len(asked) % 200)), address)

        asyncio.get_running_loop().add_reader(peer, answer)
        try:
            camera = watch(timeout_ms=100)
            await until(lambda: "cannot be opened" in camera.connection.detail, lambda: camera.connection.detail)
            assert asked
        finally:
            asyncio.get_running_loop().remove_reader(peer)


async def test_the_doctor_looks_at_it_and_takes_an_image_of_it() -> None:
    own: Any = SimpleNamespace(cameras={}, limits=LimitSettings())
    own.cameras["c"] = CameraSettings(kind="genicam", device=ADDRESS, timeout_ms=20_000)
    with aravis_camera():
        device, image = await doctor_of_cameras.checks(own, None)
        assert (image.mark, image.what.split(",")[0]) == ("ok", "512 x 512 pixels")
        assert device.name == "camera c, device"
        assert device.what.startswith("Aravis Fake, control is free, packets of "), device.what
        assert device.mark in {"ok", "warn"}, "a warn where this machine's buffers are small"
        other = Device(ADDRESS, max_pixels=PIXELS)
        try:
            device, image = await doctor_of_cameras.checks(own, None)
            assert (device.mark, image.mark) == ("fail", "fail")
            assert "controls it" in device.what
        finally:
            other.close()
    with camera_port():
        device, _image = await doctor_of_cameras.checks(own, None)
        assert (device.mark, "cannot be opened" in device.what) == ("fail", True), device.what


# The whole service


CAMERA = {"kind": "genicam", "device": ADDRESS}


def test_a_frame_of_it_is_judged(start_inference: Any, triton_server: Any) -> None:
    with aravis_camera():
        service = start_inference(triton={"url": triton_server.grpc}, cameras={"c": CAMERA})
        result = service.infer(source={"kind": "camera", "camera": "c"}, deadline_ms=60_000)
        assert result["status"] == "ok", result["reason"]
        image = service.http.get(f"/v1/parts/{result['id']}/image")
        assert cv2.imdecode(np.frombuffer(image.content, np.uint8), cv2.IMREAD_COLOR).shape == (512, 512, 3)
        service.stop()
        assert service.process.returncode == 0


def test_a_frame_that_lost_packets_is_judged_unknown(start_inference: Any, triton_server: Any) -> None:
    with viva_camera(packet_resend=False, drop_packets=[(frame, 3) for frame in range(1, 10_000)]):
        service = start_inference(triton={"url": triton_server.grpc}, cameras={"c": CAMERA})
        source = {"kind": "camera", "camera": "c"}

        def is_said() -> bool:
            result = service.infer(source=source, deadline_ms=2_000)
            assert result["verdict"] == "unknown"
            return bool(result["code"] == "camera-incomplete" and "packets are missing" in result["reason"])

        block_until(is_said)
        assert service.metric('lineside_inference_camera_transport_total{camera="c",event="incomplete"}') > 0
        assert service.metric('lineside_inference_camera_frames_total{camera="c",outcome="kept"}') == 0
