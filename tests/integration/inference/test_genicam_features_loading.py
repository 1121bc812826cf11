"""A file of features into fake cameras and out of them, over loopback."""

import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from lineside_inference.errors import CameraFailed
from lineside_inference.sources.cameras.genicam.device import Device
from lineside_inference.sources.cameras.genicam.features_file import read
from lineside_inference.sources.cameras.genicam.features_loading import load
from tests.support.cameras import watched
from tests.support.deadlines import within
from tests.support.genicam_fakes import ADDRESS, aravis_camera, viva_camera
from tests.support.waiting import HANG_S, until

PIXELS = 640 * 480


@pytest.fixture
async def watch() -> AsyncIterator[Any]:
    """Make and start one camera; ended with the test."""
    async with watched(
        max_bytes=1_000_000, max_pixels=PIXELS, kind="genicam", device=ADDRESS, timeout_ms=20_000
    ) as make:
        yield make


def save(file: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lineside")), "camera", "save", ADDRESS, str(file), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=HANG_S)


def values(*names: str) -> dict[str, Any]:
    device = Device(ADDRESS, max_pixels=PIXELS, controls=False)
    try:
        return {name: device.read(name) for name in names}
    finally:
        device.close()


async def test_a_file_is_written_at_the_connect_and_the_settings_own_features_win(watch: Any, tmp_path: Path) -> None:
    file = tmp_path / "station.pfs"
    file.write_text(
        "# {05D8C294-F295-4dfb-9D01-096BD04049F4}\nOffsetX\t32\nWidth\t256\nHeight\t128\nExposureTimeAbs\t3000\n"
        "TriggerSelector\tFrameStart\nTriggerMode\tOff\nTriggerActivation\tRisingEdge\nSensorWidth\t2048\n"
    )
    with aravis_camera():
        camera = watch(features_file=str(file), features={"Width": 320})
        frame = await camera.grab(time.monotonic(), within(HANG_S))
        assert frame.pixels.shape == (128, 320)
        told = values("OffsetX", "Width", "Height", "ExposureTimeAbs", "TriggerMode")
        assert told == {"OffsetX": 32, "Width": 320, "Height": 128, "ExposureTimeAbs": 3000.0, "TriggerMode": "On"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("Width=99999", "station.pfs, line 2: feature Width: 99999 does not fit; this camera takes 1 to 2048"),
        ("Gain=1", "station.pfs, line 2: it has no feature Gain; it has GainRaw"),
        ("Width wide", "station.pfs, line 2: 'Width wide': there is nothing between name and value"),
        ("SensorWidth=5", "station.pfs, line 2: feature SensorWidth was set to 5 and reads 2048"),
        ("PixelFormat=Mono99", "station.pfs, line 2: feature PixelFormat: 'Mono99' does not fit"),
    ],
)
async def test_a_line_that_does_not_fit_is_refused_with_its_number(
    watch: Any, tmp_path: Path, line: str, said: str
) -> None:
    file = tmp_path / "station.pfs"
    file.write_text(f"Height=64\n{line}\n")
    with aravis_camera():
        camera = watch(features_file=str(file))
        await until(lambda: said in camera.connection.detail, lambda: camera.connection.detail)
        file.write_text("Height=64\nWidth=256\n")  # read again at the next try
        assert (await camera.grab(time.monotonic(), within(HANG_S))).pixels.shape == (64, 256)


async def test_a_file_that_is_missing_is_named_and_taken_once_it_is_there(watch: Any, tmp_path: Path) -> None:
    file = tmp_path / "station.pfs"
    with aravis_camera():
        camera = watch(features_file=str(file))
        await until(lambda: "station.pfs cannot be read" in camera.connection.detail, lambda: camera.connection.detail)
        file.write_text("Width=256\n")
        await until(lambda: camera.connection.is_online, lambda: camera.connection.detail)


@pytest.mark.parametrize("fake", [aravis_camera, viva_camera])
def test_what_is_saved_of_a_camera_makes_another_one_the_same(fake: Any, tmp_path: Path) -> None:
    file, again = tmp_path / "a.pfs", tmp_path / "b.pfs"
    with fake():
        device = Device(ADDRESS, max_pixels=PIXELS)
        device.apply({"Width": 256, "OffsetX": 16})
        device.close()
        done = save(file)
        assert done.returncode == 0, done.stderr
        assert "\nWidth\t256\n" in file.read_text()
        assert "TriggerMode" not in file.read_text()
        refused = save(file)
        assert (refused.returncode, "--force" in refused.stderr) == (1, True)
    with fake():
        device = Device(ADDRESS, max_pixels=PIXELS)
        try:
            load(device, read(file), {})
            assert (device.read("Width"), device.read("OffsetX")) == (256, 16)
        finally:
            device.close()
        assert save(again, "--force").returncode == 0
    assert again.read_text() == file.read_text()


def test_a_camera_that_another_program_controls_is_saved_and_left_as_it_is(tmp_path: Path) -> None:
    with viva_camera():
        owner = Device(ADDRESS, max_pixels=PIXELS)
        try:
            before = owner.read("UserSetSelector")
            done = save(tmp_path / "a.pfs")
            assert done.returncode == 0, done.stderr
            assert "another program controls" in done.stderr
            assert owner.has_control()
            assert owner.read("UserSetSelector") == before
        finally:
            owner.close()


def test_a_line_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    file = tmp_path / "a.pfs"
    file.write_text("Width=128\nNoSuchFeature=1\n")
    with aravis_camera():
        device = Device(ADDRESS, max_pixels=PIXELS)
        try:
            with pytest.raises(CameraFailed, match=r"a\.pfs, line 2: it has no feature NoSuchFeature"):
                load(device, read(file), {})
            assert device.read("Width") == 512
        finally:
            device.close()
