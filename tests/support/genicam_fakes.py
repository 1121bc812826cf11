"""Fake GigE Vision cameras at 127.0.0.1: Aravis' own, a process, and viva-genicam's and the bench's, in this one.

Each binds UDP port 3956, so that they are those of one test at a time on this machine, over all lanes.
The bench's may be several, at other addresses of this machine too.
"""

import fcntl
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lineside_bench.gige_camera.camera import GigeCamera
from lineside_bench.gige_camera.sensor import Trigger
from tests.support.cameras import end_readers
from tests.support.variables import missing
from tests.support.waiting import HANG_S, block_until

ADDRESS = "127.0.0.1"
_PROGRAM = "arv-fake-gv-camera-0.8"
_PORT = f"{3956:04X}"


class FakeCamera:
    """Aravis' fake camera; `stop` is a cable that is pulled, `start` a camera that boots."""

    def __init__(self, serial: str, lost_per_thousand: int) -> None:
        self._command = [_PROGRAM, "-i", ADDRESS, "-s", serial, "-r", str(lost_per_thousand)]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(self._command)
        block_until(_is_bound, "the fake camera binds its port")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(HANG_S)
            self._process = None


@contextmanager
def aravis_camera(serial: str = "S1", *, lost_per_thousand: int = 0) -> Iterator[FakeCamera]:
    """Give Aravis' fake camera, running; packets are lost by chance, and none is sent again."""
    if shutil.which(_PROGRAM) is None:
        missing("aravis", f"{_PROGRAM} is not installed: package aravis-tools")
    with camera_port():
        camera = FakeCamera(serial, lost_per_thousand)
        try:
            camera.start()
            yield camera
        finally:
            end_readers()
            camera.stop()


@contextmanager
def viva_camera(**options: Any) -> Iterator[Any]:
    """Give viva-genicam's fake camera; `drop_packets` are (frame, packet) that are never sent."""
    if shutil.which(_PROGRAM) is None:
        missing("aravis", "the library that reads the camera is not installed: package aravis-tools")
    testing = pytest.importorskip("viva_genicam.testing", reason="it has wheels for x86-64 only")
    with camera_port(), testing.FakeGigeCamera(bind_ip=ADDRESS, **options) as camera:
        try:
            yield camera
        finally:
            end_readers()


@contextmanager
def camera_port() -> Iterator[None]:
    """Hold the only place for a camera on this machine; waits for the tests of other lanes."""
    with (Path(tempfile.gettempdir()) / "fake-gige-cameras.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        block_until(lambda: not _readers(), "no reader of an earlier camera is left")
        yield


def _readers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("camera ")]


def _is_bound() -> bool:
    lines = Path("/proc/net/udp").read_text().splitlines()[1:]
    return any(line.split()[1].endswith(f":{_PORT}") for line in lines)


@contextmanager
def simulated_cameras(*options: Mapping[str, Any]) -> Iterator[list[GigeCamera]]:
    """Give simulated cameras of the bench, running; each shows `pattern` unless told otherwise."""
    with camera_port(), ExitStack() as cameras:
        given = [cameras.enter_context(GigeCamera(**{"picture": shows_pattern, **each})) for each in options]
        try:
            yield given
        finally:
            end_readers()


@contextmanager
def simulated_camera(**options: Any) -> Iterator[GigeCamera]:
    """Give one simulated camera of the bench at ADDRESS, running."""
    with simulated_cameras({"address": ADDRESS, **options}) as (camera,):
        yield camera


def pattern(width: int = 640, height: int = 480) -> NDArray[np.uint8]:
    """Return a picture in colours of which every region differs."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // width, y * 255 // height, (x + y) * 255 // (width + height)], axis=2).astype(np.uint8)


def shows_pattern(_number: int, _trigger: Trigger) -> NDArray[np.uint8]:
    """Return the pattern for every frame."""
    return pattern()
