"""The whole simulated line with GigE cameras."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from lineside_bench.options import CameraKind, Options
from lineside_bench.processes.ports import DEFAULTS
from lineside_bench.runner.simulated_line import SimulatedLine
from lineside_inference.errors import CameraFailed
from lineside_inference.sources.cameras.genicam import library
from tests.support.genicam_fakes import camera_port
from tests.support.variables import missing

UNHURRIED_MS = 10_000


@asynccontextmanager
async def running_line(cameras: CameraKind, *, first_port: int) -> AsyncIterator[SimulatedLine]:
    try:
        library.load()
    except CameraFailed:
        missing("aravis", "the library that reads the cameras is not installed: package libaravis-0.8-0")
    options = Options(
        parts=None,
        rate=10,
        seed=23,
        cameras=cameras,
        deadline_ms=UNHURRIED_MS,  # it is judged which picture is whose, not how fast a busy machine is
        port_defaults={name: first_port + number for number, name in enumerate(DEFAULTS)},
    )
    with camera_port():  # a test of discovery elsewhere shall not find these
        async with SimulatedLine(options) as line:
            yield line
