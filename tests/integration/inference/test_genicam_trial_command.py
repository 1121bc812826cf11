"""`lineside camera test`: a camera tried as the service uses it, against fake cameras over loopback."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lineside_inference.sources.cameras.genicam.device import Device
from tests.support.genicam_fakes import ADDRESS, aravis_camera, simulated_camera, viva_camera
from tests.support.waiting import HANG_S, block_until


def lineside_test(*words: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lineside")), "camera", "test", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=HANG_S)


def settings(folder: Path, **camera: Any) -> str:
    file = folder / "lineside.yaml"
    own = {"kind": "genicam", "device": ADDRESS, "timeout_ms": 20_000, **camera}
    file.write_text(json.dumps({"inference": {"cameras": {"station-1": own}}}))
    return str(file)


@pytest.mark.parametrize("acquisition", ["software", "free"])
def test_a_configured_camera_is_set_and_triggered_as_its_settings_say(tmp_path: Path, acquisition: str) -> None:
    (tmp_path / "station-1.pfs").write_text("Height\t64\n")
    config = settings(
        tmp_path,
        acquisition=acquisition,
        features={"Width": 128},
        features_file=str(tmp_path / "station-1.pfs"),
        hot_celsius=1.0,
    )
    with viva_camera() as fake:
        done = lineside_test("station-1", "--frames", "3", "--config", config, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        told = json.loads(done.stdout)
        trial = told["trial"]
        assert (trial["frames"], trial["asked"], trial["failures"]) == (3, 3, [])
        assert (trial["width"], trial["height"], trial["pixel_format"]) == (128, 64, "Mono8")
        assert (trial["acquisition"], trial["incomplete"]) == (acquisition, 0)
        assert trial["jitter_ms"] >= 0
        assert told["is_well"] is True
        assert any("°C hot" in each["text"] for each in told["advice"])
        if acquisition == "software":
            assert fake.software_triggers() == 1 + 3


def test_a_camera_that_is_only_named_is_tried_and_judged_in_words() -> None:
    with aravis_camera():
        done = lineside_test(ADDRESS, "--frames", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "frames: 2 of 2 came (free)" in done.stdout
    assert "image: 512 x 512 pixels, Mono8, in packets of" in done.stdout
    assert "brightness: " in done.stdout
    assert done.stdout.endswith("verdict: well, it can be used\n")


def test_frames_that_lose_packets_make_the_verdict_bad(tmp_path: Path) -> None:
    lost = [(frame, 3) for frame in range(2, 10_000, 2)]
    with viva_camera(packet_resend=False, drop_packets=lost):
        done = lineside_test("station-1", "--frames", "4", "--config", settings(tmp_path))
    assert done.returncode == 1
    assert "frames were not whole" in done.stdout
    assert done.stdout.endswith("verdict: see what is to do\n")


def test_a_camera_that_the_line_fires_is_tried_while_the_line_fires_it(tmp_path: Path) -> None:
    config = settings(tmp_path, acquisition="hardware", hardware_trigger={})
    with simulated_camera() as camera:
        command = [str(Path(sys.executable).with_name("lineside")), "camera", "test", "station-1", "--config", config]
        with subprocess.Popen([*command, "--frames", "2"], stdout=subprocess.PIPE, text=True) as process:
            due = [0.0]

            def ended() -> bool:
                if camera.acquires and time.monotonic() >= due[0]:
                    due[0] = camera.fire_line() + 0.3
                return process.poll() is not None

            block_until(ended)
            assert process.stdout is not None
            said = process.stdout.read()
    assert re.search(r"^frames: [12] of 2 came \(hardware\)", said), "one may lose packets on a busy machine"


def test_an_image_without_structure_is_said(tmp_path: Path) -> None:
    with simulated_camera(picture=lambda _number, _trigger: np.zeros((480, 640, 3), np.uint8)):
        done = lineside_test("station-1", "--frames", "1", "--config", settings(tmp_path))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "The image is even" in done.stdout


def test_what_cannot_be_tried_says_why(tmp_path: Path) -> None:
    with aravis_camera():
        refused = lineside_test("station-1", "--config", settings(tmp_path, features={"Width": 99_999}))
        assert (refused.returncode, "Width: 99999 does not fit" in refused.stderr) == (1, True), refused.stderr
        owner = Device(ADDRESS, max_pixels=1)
        try:
            denied = lineside_test("station-1", "--config", settings(tmp_path))
        finally:
            owner.close()
        assert (denied.returncode, "it is camera 'station-1'" in denied.stderr) == (1, True), denied.stderr
    assert lineside_test("station-1", "--frames", "0", "--config", settings(tmp_path)).returncode == 2
