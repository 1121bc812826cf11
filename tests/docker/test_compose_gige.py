"""A GigE camera in containers: docker/compose.gige.yaml on a real engine, with the bench's camera on a card."""

import json
import re
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import httpx
import pytest

from lineside.contract import uuid7
from tests.support.camera_wire import CameraWire, camera_wire
from tests.support.compose_project import Project, project, run
from tests.support.container_hardening import complaints
from tests.support.waiting import HANG_S, block_until

CAMERA = "station-1"
JUDGED = {"pass", "fail"}
FRAMES = re.compile(rf'^lineside_inference_camera_frames_total{{camera="{CAMERA}",outcome="kept"}} (\d+)', re.MULTILINE)


class Line:
    """The bench, whose first station looks through the GigE camera."""

    def __init__(self, line: Project, wire: CameraWire) -> None:
        self.line, self.wire = line, wire

    def judge(self) -> dict[str, Any]:
        """Have a picture of the camera judged; return the result."""
        request = {
            "schema": "lineside/request/1",
            "id": uuid7(),
            "model": "surface-defect",
            "source": {"kind": "camera", "camera": CAMERA},
            "deadline_ms": 20_000,
        }
        address = f"http://127.0.0.1:{self.line.ports['PAGE']}/v1/infer"
        said: dict[str, Any] = httpx.post(address, json=request, trust_env=False, timeout=HANG_S).json()
        return said

    def is_judged(self) -> bool:
        return self.judge().get("verdict") in JUDGED

    def frames(self) -> int:
        """Return how many frames of the camera were judged."""
        found = FRAMES.search(self.line.get("PAGE", "/metrics"))
        return int(found[1]) if found else 0

    def camera(self, *words: str) -> str:
        """Return what `lineside camera` says in the container that people ask."""
        return self.line.compose("run", "--rm", "-T", "--no-deps", "tools", "camera", *words, check=False)


@pytest.fixture(scope="module")
def gige(images: dict[str, str], held: dict[str, str]) -> Iterator[Line]:
    with camera_wire(images["camera-sim"]) as wire:

        def with_camera(text: str) -> str:
            written, count = re.subn(
                rf"(?m)^(    {CAMERA}:\n)      url: .*$", rf"\1      kind: genicam\n      device: {wire.address}", text
            )
            assert count == 1
            return written

        with project(
            held,
            overlays=("docker/compose.gige.yaml",),
            changed=with_camera,
            LINESIDE_CAMERA_CARD=wire.card,
            LINESIDE_CAMERA_SUBNET=wire.subnet,
            LINESIDE_CAMERA_ADDRESSES=wire.addresses,
        ) as line:
            line.compose("create", "--no-build", timeout=2 * HANG_S)
            wire.plug_in(f"{line.name}_cameras")
            try:
                line.up()
                yield Line(line, wire)
            finally:
                wire.remove_camera()


def test_a_scratched_part_before_the_camera_fails_and_the_next_one_passes(gige: Line) -> None:
    block_until(gige.is_judged, gige.judge, within=HANG_S)
    before = gige.frames()
    results = [gige.judge() for _ in range(4)]
    assert sorted(result["verdict"] for result in results) == ["fail", "fail", "pass", "pass"], results
    assert {finding["label"] for result in results for finding in result["findings"]} == {"scratch"}
    assert gige.frames() == before + 4


def test_the_plc_gets_the_verdicts_of_the_station_that_looks_through_it(gige: Line, tmp_path: Path) -> None:
    before = gige.frames()
    _status, said, summary = gige.line.attach(24, rate=8, summary=tmp_path / "summary.json")
    assert summary["missing"] == summary["duplicates"] == summary["wrong_write_backs"] == 0, said
    assert summary["verdicts"]["pass"] + summary["verdicts"]["fail"] > 12, said
    assert gige.frames() > before, said


def test_inference_is_as_hard_as_without_and_goes_out_as_before(gige: Line) -> None:
    inference = gige.line.running()["inference"]
    assert complaints(inference, gige.line.execute("inference", "cat", "/proc/1/status")) == set()
    networks = {
        name.removeprefix(f"{gige.line.name}_"): network
        for name, network in inference["NetworkSettings"]["Networks"].items()
    }
    assert set(networks) == {"plant", "inside", "engine", "cameras"}
    assert ip_address(networks["cameras"]["IPAddress"]) in ip_network(gige.wire.addresses)
    routes = [line.split() for line in gige.line.execute("inference", "cat", "/proc/net/route").splitlines()[1:]]
    [gateway] = [ip_address(bytes.fromhex(route[2])[::-1]) for route in routes if route[1] == "00000000"]
    assert str(gateway) == networks["plant"]["Gateway"]


def test_who_asks_finds_it_by_its_broadcast_and_hears_who_has_it(gige: Line) -> None:
    block_until(gige.is_judged, gige.judge, within=HANG_S)
    said = gige.camera("list", "--json")
    found = json.loads(said[said.index("[") : said.rindex("]") + 1])
    assert [each["address"] for each in found] == [gige.wire.address]
    assert "has control of it" in gige.camera("snap", gige.wire.address)


def test_from_another_network_of_the_engine_it_is_not_reached(gige: Line, images: dict[str, str]) -> None:
    """The control: what makes it work is the address on the card."""
    tools = images["inference"].replace("/inference:", "/tools:")
    ask = ("docker", "run", "--rm", "--network", f"{gige.line.name}_plant", tools, "camera", "info", gige.wire.address)
    assert "it cannot be opened" in run(*ask, check=False)
    assert "control" in gige.camera("info", gige.wire.address)


def test_who_stops_the_service_watches_the_camera_by_its_name_in_the_settings(gige: Line) -> None:
    gige.line.compose("stop", "inference")
    said = gige.camera("watch", CAMERA, "--seconds", "2", "--json")
    watched = json.loads(said[said.index("{") : said.rindex("}") + 1])
    gige.line.up("inference")
    assert watched["seen"]["frames"] > 0, watched
    assert watched["way"]["by_packet_socket"] is False  # it holds no capability
    block_until(gige.is_judged, gige.judge, within=HANG_S)


def test_a_camera_without_power_is_said_and_judges_again_when_it_is_back(gige: Line) -> None:
    block_until(gige.is_judged, gige.judge, within=HANG_S)
    gige.wire.switch_off()
    block_until(lambda: not gige.is_judged(), "a camera that is off gives no picture", within=HANG_S)
    assert gige.judge()["code"].startswith("camera-")
    gige.wire.switch_on()
    block_until(gige.is_judged, gige.judge, within=HANG_S)
