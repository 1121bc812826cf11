"""The stations' cameras as simulated GigE Vision cameras, each at an address of its own of this machine."""

import asyncio
import contextlib
import threading
import time
from types import TracebackType
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from lineside_bench.errors import BenchError
from lineside_bench.gige_camera.camera import GigeCamera
from lineside_bench.gige_camera.sensor import Trigger
from lineside_bench.parts.renderer import JpegPart

SIZE = 640, 480
"""Of the rendered parts."""
PIXEL_FORMAT = "RGB8"
PACKET_SIZE = 8192
_BY_SOFTWARE = {"acquisition": "software"}
_BY_LINE = {
    "acquisition": "hardware",
    # The PLC stamps its trigger when it has raised the line, by this machine's clock.
    "hardware_trigger": {"source": "Line1", "time": "source", "window_ms": 100.0, "apart_ms": 250.0},
}
_NETWORKS = 64
_FIRST_HOST = 11


class GigeCameras:
    """A GigE camera a station, running while it is entered; `show` puts a part before it or takes it away.

    They are triggered by software, or with `by_line` by the line.

    `cameras` are by station. They are at 127.0.0.11 and up, or in the next of 64 networks where others have those. The
    line of the hardware trigger is `fire`.
    """

    def __init__(self, stations: list[str], *, by_line: bool = False) -> None:
        self.cameras: dict[str, GigeCamera] = {}
        self._stations = stations
        self._by_line = by_line
        self._shown: dict[str, NDArray[np.uint8]] = {}
        self._lock = threading.Lock()
        self._life = contextlib.ExitStack()

    def settings(self) -> dict[str, dict[str, Any]]:
        """Return what the inference service's settings say of each."""
        return {
            station: {"kind": "genicam", "device": camera.address, **(_BY_LINE if self._by_line else _BY_SOFTWARE)}
            for station, camera in self.cameras.items()
        }

    def show(self, station: str, part: JpegPart | None) -> None:
        """Put a part before a station's camera, or take it away."""
        picture = _dark() if part is None else _decoded(part.jpeg)
        with self._lock:
            self._shown[station] = picture

    def fire(self, station: str, part_id: str) -> None:
        """Raise the line of a station's hardware trigger, to which a camera with another one does not listen."""
        self.cameras[station].fire_line(part_id)

    async def until_taken(self, within_s: float) -> None:
        """Return once each is acquiring; raises BenchError with those that nobody has taken within so many seconds."""
        end = time.monotonic() + within_s
        while waiting := [station for station, camera in self.cameras.items() if not camera.acquires]:
            if time.monotonic() > end:
                raise BenchError(
                    f"the inference service did not take the cameras of {', '.join(waiting)} within {within_s:g} s",
                    remedy="Install libaravis-0.8-0 where it runs; its log says what it lacks",
                )
            await asyncio.sleep(0.05)

    def __enter__(self) -> Self:
        for network in range(_NETWORKS):
            with contextlib.ExitStack() as undo:
                cameras = {
                    station: self._camera(station, f"127.0.{network}.{_FIRST_HOST + number}")
                    for number, station in enumerate(self._stations)
                }
                try:
                    for camera in cameras.values():
                        undo.enter_context(camera)
                except BenchError:
                    if network == _NETWORKS - 1:
                        raise
                    continue
                self.cameras, self._life = cameras, undo.pop_all()
                return self
        raise AssertionError

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._life.close()

    def _camera(self, station: str, address: str) -> GigeCamera:
        def picture(_number: int, _trigger: Trigger) -> NDArray[np.uint8]:
            with self._lock:
                return self._shown.get(station, _dark())

        width, height = SIZE
        return GigeCamera(
            picture,
            address=address,
            serial=station[:15],
            user_id=station[:15],
            width=width,
            height=height,
            pixel_format=PIXEL_FORMAT,
            packet_size=PACKET_SIZE,
        )


def _dark() -> NDArray[np.uint8]:
    return np.zeros((SIZE[1], SIZE[0], 3), np.uint8)


def _decoded(jpeg: bytes) -> NDArray[np.uint8]:
    decoded = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    return np.ascontiguousarray(np.asarray(decoded, np.uint8)[..., ::-1])
