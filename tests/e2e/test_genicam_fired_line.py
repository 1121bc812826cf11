"""The whole line whose GigE cameras are fired by the line: each part is judged by the frame of its own time."""

import pytest

from lineside_bench.options import CameraKind
from lineside_bench.peers.gige_cameras import GigeCameras
from lineside_bench.runner.simulated_line import SimulatedLine
from tests.support.genicam_lines import running_line

pytestmark = pytest.mark.asyncio

PARTS = 60


def reasons(line: SimulatedLine) -> list[tuple[str | None, str | None]]:
    """Return the parts that are unknown, each with the reason."""
    results = [(each.request, seen.result) for each in line.observer.exchanges().values() for seen in each.results]
    return [(request and request.context.part_id, result.reason) for request, result in results if result.code]


async def test_every_part_is_judged_by_the_frame_that_its_own_rise_fired() -> None:
    async with running_line(CameraKind.genicam_hardware, first_port=19430) as line:
        await line.run(PARTS)
        summary = await line.summary()
        assert isinstance(line.camera, GigeCameras)
        assert (summary["missing"], summary["duplicates"], summary["wrong_write_backs"]) == (0, 0, 0)
        unknown = summary["verdicts"]["unknown"]
        # A busy machine loses packets, and a frame is fired only once: its part is unknown, and none has another's.
        assert unknown < PARTS / 2, reasons(line)
        assert summary["pictures"] == {"compared": PARTS - unknown, "wrong": 0}, summary["problems"]
        fired = [each.exposure.trigger for camera in line.camera.cameras.values() for each in camera.sent]
        assert {each.tag for each in fired} == {part.part_id for part in line.records}
        assert {each.source for each in fired} == {"Line1"}
