"""The simulated GigE camera over loopback: our own camera kind, the command and viva-genicam take frames of it."""

import json
import socket
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lineside_bench.errors import BenchError
from lineside_bench.gige_camera import description, gvcp, pixels
from lineside_bench.gige_camera.camera import GigeCamera
from lineside_bench.gige_camera.clock import DeviceClock
from lineside_bench.gige_camera.gvcp import Command
from lineside_bench.gige_camera.registers import DESCRIPTION, Bootstrap, Register
from lineside_bench.gige_camera.sensor import Source, Trigger
from lineside_inference.imaging.pixel_formats.convert import to_pixels
from lineside_inference.sources.cameras.genicam.device import Device
from lineside_inference.sources.cameras.genicam.discovery import discover
from tests.support.cameras import watched
from tests.support.deadlines import within
from tests.support.genicam_fakes import ADDRESS, pattern, shows_pattern, simulated_camera, simulated_cameras
from tests.support.variables import missing
from tests.support.waiting import HANG_S, block_until

PIXELS = 640 * 480
SECOND = "127.0.0.2"


@pytest.fixture(autouse=True)
def _with_the_library() -> None:
    from lineside_inference.errors import CameraFailed  # noqa: PLC0415 - only here
    from lineside_inference.sources.cameras.genicam import library  # noqa: PLC0415 - same

    try:
        library.load()
    except CameraFailed:
        missing("aravis", "the library that reads the camera is not installed: package libaravis-0.8-0")


@pytest.fixture
async def watch() -> AsyncIterator[Any]:
    """Make and start one camera of the service; ended with the test."""
    async with watched(
        max_bytes=4_000_000, max_pixels=PIXELS, kind="genicam", device=ADDRESS, timeout_ms=20_000
    ) as make:
        yield make


def expected(pixel_format: str, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return gray, or blue, green and red, as a frame of a format shall be judged."""
    return picture[..., ::-1] if pixel_format in {"RGB8", "BGR8"} or "Bayer" in pixel_format else pixels.gray(picture)


@pytest.mark.parametrize("acquisition", ["software", "free"])
@pytest.mark.parametrize("pixel_format", pixels.FORMATS)
async def test_each_format_becomes_the_picture_that_was_shown(watch: Any, pixel_format: str, acquisition: str) -> None:
    with simulated_camera(pixel_format=pixel_format):
        trigger = time.monotonic()
        frame = await watch(acquisition=acquisition).grab(trigger, within(HANG_S))
        assert frame.clock >= trigger
        wanted = expected(pixel_format, pattern()).astype(int)
        is_raw = frame.layout is not None  # it is made into pixels once it is judged
        seen = to_pixels(frame.data, frame.layout, max_pixels=PIXELS) if is_raw else frame.pixels
        assert seen.shape == wanted.shape
        inside = np.s_[4:-4, 4:-4]  # the rims of a mosaic are guessed
        assert np.abs(seen[inside].astype(int) - wanted[inside]).max() <= 3


async def test_a_region_is_the_part_of_the_picture_that_it_names(watch: Any) -> None:
    features = {"Width": 256, "Height": 128, "OffsetX": 64, "OffsetY": 32, "PixelFormat": "RGB8", "ExposureTime": 500.0}
    with simulated_camera(zipped=True) as camera:
        frame = await watch(features=features).grab(time.monotonic(), within(HANG_S))
        assert np.array_equal(frame.pixels, pattern()[32:160, 64:320, ::-1])
        assert camera.sent[-1].exposure.ended - camera.sent[-1].exposure.began == pytest.approx(0.0005)


async def test_a_picture_is_that_of_its_own_trigger(watch: Any) -> None:
    def numbered(number: int, trigger: Trigger) -> NDArray[np.uint8]:
        assert trigger.source is Source.software
        return np.full((480, 640), number, np.uint8)

    with simulated_camera(picture=numbered):
        camera = watch()
        for number in range(1, 6):
            assert (await camera.grab(time.monotonic(), within(HANG_S))).pixels[0, 0] == number


def test_two_are_found_and_told_apart_by_serial_and_name() -> None:
    with simulated_cameras({"serial": "A-1"}, {"serial": "B-2", "address": SECOND, "user_id": "left"}):
        assert {(each.serial, each.address) for each in discover()} == {("A-1", ADDRESS), ("B-2", SECOND)}
        device = Device("left", max_pixels=PIXELS)
        try:
            assert device.read("DeviceSerialNumber") == "B-2"
            device.write("DeviceUserID", "right")
        finally:
            device.close()
        reopened = Device("right", max_pixels=PIXELS)
        reopened.close()


def test_a_taken_port_is_said() -> None:
    with simulated_camera(), pytest.raises(BenchError, match=r"UDP port 3956 of 127\.0\.0\.1"):
        GigeCamera(shows_pattern).start()


def lineside(*words: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lineside")), "camera", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=HANG_S)


def test_the_command_lists_shows_and_snaps_it(tmp_path: Path) -> None:
    with simulated_camera(serial="L-1", pixel_format="RGB8", packet_size=8192):
        (found,) = json.loads(lineside("list", "--json").stdout)
        assert (found["vendor"], found["serial"], found["address"]) == ("Lineside", "L-1", ADDRESS)
        told = json.loads(lineside("info", "L-1", "--json").stdout)
        assert told["control"] == "free"
        assert told["features"]["PixelFormat"]["value"] == "RGB8"
        done = lineside("snap", ADDRESS, "--to", str(tmp_path / "a.png"))
        assert done.returncode == 0, done.stderr
        assert np.array_equal(cv2.imread(str(tmp_path / "a.png")), pattern()[..., ::-1])


def test_who_has_control_is_told_by_address() -> None:
    with simulated_camera():
        owner = Device(ADDRESS, max_pixels=PIXELS)
        try:
            assert json.loads(lineside("info", ADDRESS, "--json").stdout)["control"] == f"a program at {ADDRESS}"
        finally:
            owner.close()


@pytest.mark.parametrize("pixel_format", pixels.FORMATS)
def test_viva_genicam_takes_frames_of_each_format(pixel_format: str) -> None:
    viva = pytest.importorskip("viva_genicam", reason="it has wheels for x86-64 only")
    with simulated_camera(pixel_format=pixel_format, serial="V-1") as fake:
        (found,) = [each for each in viva.discover(all=True) if each.ip == ADDRESS]
        camera = viva.connect_gige(found)
        try:
            assert camera.get("DeviceSerialNumber") == "V-1"
            with camera.stream() as frames:
                frame = next(iter(frames))
            said = frame.pixel_format.removesuffix("Packed")
            assert (frame.width, frame.height, said) == (640, 480, pixel_format)
            assert frame.payload() == pixels.FORMATS[pixel_format].encode(pattern())
        finally:
            camera.close()
        block_until(lambda: fake.controller is None)


def test_chunks_say_when_and_how_a_frame_was_taken() -> None:
    viva = pytest.importorskip("viva_genicam", reason="it has wheels for x86-64 only")
    with simulated_camera() as fake:
        camera = viva.connect_gige(next(each for each in viva.discover(all=True) if each.ip == ADDRESS))
        try:
            camera.configure_chunks(["Timestamp", "ExposureTime", "LineStatusAll"])
            with camera.stream() as frames:
                frame = next(iter(frames))
            told = camera.chunk_features(frame)
        finally:
            camera.close()
        assert float(told["ChunkExposureTime"]) == 2000.0
        assert int(told["ChunkTimestamp"]) in {each.ticks for each in fake.sent}
        assert int(told["ChunkLineStatusAll"]) == 0


async def test_a_frame_with_chunks_is_the_picture_without_them(watch: Any) -> None:
    with simulated_camera(pixel_format="Mono12p") as fake:
        camera = watch(chunks=["Timestamp", "ExposureTime", "LineStatusAll"], features={"Width": 100})
        frame = await camera.grab(time.monotonic(), within(HANG_S))
        assert frame.metadata["ExposureTime"] == 2000.0
        assert frame.metadata["Timestamp"] in {each.ticks for each in fake.sent}
        assert frame.metadata["LineStatusAll"] == 0
        assert np.abs(frame.pixels.astype(int) - pixels.gray(pattern())[:, :100]).max() <= 1


# Without a library: words of the protocol


class Application:
    """An application that speaks GVCP, and listens to the stream."""

    def __init__(self) -> None:
        self.control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.stream = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for each in (self.control, self.stream):
            each.bind((ADDRESS, 0))
            each.settimeout(HANG_S)
        self._number = 0

    def ask(self, command: int, payload: bytes, *, flags: int = 1) -> tuple[int, bytes]:
        """Return status and payload of the answer."""
        self._number += 1
        self.control.sendto(gvcp.command(command, self._number, payload, flags=flags), (ADDRESS, gvcp.PORT))
        answer = self.control.recv(2048)
        assert answer[2:4] == (command + 1).to_bytes(2, "big")
        return int.from_bytes(answer[:2], "big"), answer[8:]

    def write(self, address: int, value: int) -> None:
        status, _done = self.ask(Command.WRITEREG, struct.pack(">II", address, value))
        assert status == 0

    def read(self, address: int, count: int = 4) -> bytes:
        status, data = self.ask(Command.READMEM, struct.pack(">IHH", address, 0, count))
        assert status == 0
        return data[4:]

    def begin(self, source: Source) -> None:
        """Take control and let the camera wait for triggers."""
        self.write(Bootstrap.CONTROL_PRIVILEGE, 2)
        self.write(Bootstrap.STREAM_ADDRESS, 0x7F000001)
        self.write(Bootstrap.STREAM_PORT, self.stream.getsockname()[1])
        self.write(Register.TRIGGER_SOURCE, description.SOURCES[source])
        self.write(Register.TRIGGER_MODE, 1)
        self.write(Register.ACQUISITION_START, 1)

    def leader(self) -> tuple[int, int]:
        """Return block id and timestamp of the next frame that begins."""
        while True:
            packet = self.stream.recv(20_000)
            if packet[4] == 1:
                return int.from_bytes(packet[2:4], "big"), int.from_bytes(packet[12:20], "big")

    def close(self) -> None:
        self.control.close()
        self.stream.close()


@pytest.fixture
def application() -> Any:
    made = Application()
    yield made
    made.close()


def test_the_line_and_an_action_trigger_it_and_only_where_they_are_the_source(application: Application) -> None:
    tags: list[Any] = []

    def tagged(_number: int, trigger: Trigger) -> NDArray[np.uint8]:
        tags.append((trigger.source, trigger.tag))
        return np.zeros((480, 640), np.uint8)

    with simulated_camera(picture=tagged, latency_s=0.002) as camera:
        application.begin(Source.line)
        fired = camera.fire_line("P-7")
        block, ticks = application.leader()
        assert block == 1
        assert camera.clock.instant(ticks) == pytest.approx(fired + 0.002, abs=1e-6)
        action = struct.pack(">III", 0, 0, 1)
        application.ask(Command.ACTION, action)
        block_until(lambda: camera.sensor.ignored == 1)
        application.write(Register.TRIGGER_SOURCE, description.SOURCES["Action1"])
        at = time.monotonic() + 0.05
        application.ask(Command.ACTION, action + camera.clock.ticks(at).to_bytes(8, "big"), flags=0x81)
        assert camera.clock.instant(application.leader()[1]) == pytest.approx(at + 0.002, abs=1e-6)
        assert tags == [(Source.line, "P-7"), (Source.action, None)]


def test_clock_and_block_id_wrap(application: Application) -> None:
    clock = DeviceClock(offset=(1 << 64) - 1_000_000)
    with simulated_camera(clock=clock, block=65_534) as camera:
        application.begin(Source.line)
        camera.fire_line()
        assert application.leader()[0] == 65_535
        camera.fire_line()
        block, ticks = application.leader()
        assert block == 1
        assert ticks < 1 << 63


def test_the_clock_is_latched_and_kept_by_ptp(application: Application) -> None:
    with simulated_camera() as camera:
        application.write(Bootstrap.CONTROL_PRIVILEGE, 2)
        before = time.monotonic()
        application.write(Bootstrap.TIMESTAMP_CONTROL, 2)
        latched = int.from_bytes(application.read(Bootstrap.TIMESTAMP, 8), "big")
        assert before <= camera.clock.instant(latched) <= time.monotonic()
        application.write(Register.PTP_ENABLE, 1)
        assert application.read(Register.PTP_STATUS)[-1] == description.PTP_STATES["Slave"]
        application.write(Bootstrap.TIMESTAMP_CONTROL, 2)
        latched = int.from_bytes(application.read(Bootstrap.TIMESTAMP, 8), "big")
        assert latched / 1e9 == pytest.approx(time.time(), abs=HANG_S)


def test_a_reboot_takes_control_settings_and_time_and_leaves_the_name(application: Application) -> None:
    with simulated_camera(user_id="left") as camera:
        application.begin(Source.line)
        application.write(Register.ACQUISITION_STOP, 1)
        application.write(Register.WIDTH, 320)
        application.write(Register.ACQUISITION_START, 1)
        camera.reboot(0.0)
        block_until(lambda: camera.controller is None)
        assert not camera.acquires
        assert application.read(Register.WIDTH) == (640).to_bytes(4, "big")
        assert application.read(Bootstrap.USER_ID, 16).startswith(b"left\0")
        assert camera.clock.ticks(time.monotonic()) < HANG_S * 1e9


def test_a_forced_address_is_acknowledged_by_the_camera_that_is_meant(application: Application) -> None:
    with simulated_camera():
        mac = application.read(Bootstrap.MAC_HIGH, 8)
        wish = mac + bytes(12) + bytes([192, 0, 2, 7]) + bytes(32)
        assert application.ask(Command.FORCEIP, wish) == (0, b"")
        assert application.read(Bootstrap.PERSISTENT_ADDRESS) == bytes([192, 0, 2, 7])


def test_the_description_is_read_from_memory(application: Application) -> None:
    with simulated_camera():
        url = application.read(Bootstrap.FIRST_URL, 512).rstrip(b"\0").decode()
        name, address, length = url.removeprefix("Local:").split(";")
        assert (name, int(address, 16)) == ("lineside-simulated-gige.xml", DESCRIPTION)
        whole = description.xml(ticks_are_ns=True)
        assert int(length, 16) == len(whole)
        assert application.read(DESCRIPTION, 512) == whole[:512]
