"""The whole line with a simulated GigE camera a station: no part without a verdict, none by another picture."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from lineside_bench.options import CameraKind
from lineside_bench.peers.gige_cameras import GigeCameras
from lineside_bench.reporting.report import has_faults
from lineside_bench.runner.simulated_line import SimulatedLine
from tests.support.genicam_lines import running_line

pytestmark = pytest.mark.asyncio(loop_scope="module")

PARTS, LOSSY_PARTS = 200, 60


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def line() -> AsyncIterator[SimulatedLine]:
    async with running_line(CameraKind.genicam, first_port=19330) as line:
        yield line


def cameras(line: SimulatedLine) -> GigeCameras:
    assert isinstance(line.camera, GigeCameras)
    return line.camera


async def test_every_part_is_judged_by_its_own_picture(line: SimulatedLine) -> None:
    await line.run(PARTS)
    summary = await line.summary()
    assert summary["cameras"] == "genicam"
    assert (summary["missing"], summary["duplicates"], summary["wrong_write_backs"]) == (0, 0, 0), summary["problems"]
    assert summary["verdicts"]["unknown"] == 0, summary["unknown_because"]
    assert summary["pictures"] == {"compared": PARTS, "wrong": 0}, summary["problems"]
    assert summary["accuracy"] >= 0.9
    assert sum(camera.sensor.frames for camera in cameras(line).cameras.values()) >= PARTS
    assert not any(camera.stream.lost for camera in cameras(line).cameras.values())


async def test_lost_packets_cost_no_part(line: SimulatedLine) -> None:
    for camera in cameras(line).cameras.values():
        camera.faults.lose = 0.02
    await line.run(LOSSY_PARTS)
    summary = await line.summary()
    for camera in cameras(line).cameras.values():
        camera.faults.lose = 0.0
    assert summary["parts"] == PARTS + LOSSY_PARTS
    assert (summary["missing"], summary["verdicts"]["unknown"]) == (0, 0), summary["unknown_because"]
    assert summary["pictures"] == {"compared": PARTS + LOSSY_PARTS, "wrong": 0}, summary["problems"]
    assert sum(camera.stream.lost for camera in cameras(line).cameras.values()) > 0
    assert sum(camera.stream.resent for camera in cameras(line).cameras.values()) > 0


async def test_the_hardware_triggers_line_rises_with_each_part(line: SimulatedLine) -> None:
    """The cameras are triggered by software here, and do not listen to it."""
    before = sum(camera.sensor.ignored for camera in cameras(line).cameras.values())
    await line.run(4)
    assert sum(camera.sensor.ignored for camera in cameras(line).cameras.values()) == before + 4


async def test_pictures_of_other_parts_are_found(line: SimulatedLine) -> None:
    """The negative control: a camera that always shows the part before. Spoils the figures: keep it last."""
    shown = cameras(line)
    show, late = shown.show, {}

    def stale(station: str, part: object) -> None:
        if part is not None:
            show(station, late.get(station, part))  # type: ignore[arg-type] # what came as a part
            late[station] = part

    shown.show = stale  # type: ignore[method-assign] # a camera gone wrong
    try:
        await line.run(12)
    finally:
        shown.show = show  # type: ignore[method-assign] # as it was
    summary = await line.summary()
    assert summary["pictures"]["wrong"] > 0
    assert has_faults(summary)
