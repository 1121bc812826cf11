"""The whole line whose GigE cameras are fired by the line: each part is judged by the frame of its own time."""

import pytest

from lineside_bench.options import CameraKind
from lineside_bench.peers.gige_cameras import GigeCameras
from tests.support.genicam_lines import running_line

pytestmark = pytest.mark.asyncio

PARTS = 60


async def test_every_part_is_judged_by_the_frame_that_its_own_rise_fired() -> None:
    async with running_line(CameraKind.genicam_hardware, first_port=19430) as line:
        await line.run(PARTS)
        summary = await line.summary()
        assert isinstance(line.camera, GigeCameras)
        assert (summary["missing"], summary["duplicates"], summary["wrong_write_backs"]) == (0, 0, 0)
        assert summary["verdicts"]["unknown"] == 0, summary["unknown_because"]
        assert summary["pictures"] == {"compared": PARTS, "wrong": 0}, summary["problems"]
        fired = [each.exposure.trigger for camera in line.camera.cameras.values() for each in camera.sent]
        assert {each.tag for each in fired} == {part.part_id for part in line.records}
        assert {each.source for each in fired} == {"Line1"}
