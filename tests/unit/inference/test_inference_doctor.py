"""What the doctor makes of a Jetson's files, of pictures, and of what the running service says."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from lineside.checks import Mark
from lineside.errors import LinesideError
from lineside.plans.device import Device
from lineside.plans.documents import BuilderState, Outcome
from lineside_inference.doctor import cameras, jetpack, shared_memory, tensorrt, triton
from lineside_inference.doctor.running import Running
from lineside_inference.errors import ImageTruncated
from lineside_inference.imaging.pixel_formats.layout import Layout
from lineside_inference.models.store import read_store
from lineside_inference.settings import InferenceSettings, TensorRtSettings, TritonSettings
from lineside_inference.sources import Frame
from tests.support.paths import ROOT

MODELS = ROOT / "models"
MIB = 1024 * 1024
BOARD = Device("10.3.0", "12.6", "Orin", "8.7", 8)
RELEASE = "# R{} (release), REVISION: {}, GCID: 1, BOARD: generic, EABI: aarch64, DATE: Wed Jan  8 01:49:37 UTC 2025"
ORIN = "NVIDIA Jetson Orin Nano Developer Kit\0"
PACKAGES = (
    "Package: libnvinfer10\nStatus: install ok installed\nVersion: 10.3.0.30-1+cuda12.5\n\n"
    "Package: nvidia-jetpack\nStatus: install ok installed\nVersion: 6.2+b77\n\n"
)


@pytest.mark.parametrize(
    ("release", "module", "mark", "says"),
    [
        ("", "", Mark.SKIP, "not a Jetson"),
        ("", "Raspberry Pi 5 Model B\0", Mark.SKIP, "not a Jetson"),
        (RELEASE.format(36, "4.3"), ORIN, Mark.OK, "Orin Nano Developer Kit, JetPack 6.2: Triton's images"),
        (RELEASE.format(35, "4.1"), "Jetson AGX Orin Developer Kit\0", Mark.WARN, "JetPack 5.1.2: no image"),
        (RELEASE.format(32, "7.1"), "NVIDIA Jetson Nano Developer Kit\0", Mark.WARN, "JetPack 4: no image"),
        (RELEASE.format(38, "2.0"), "NVIDIA Jetson AGX Thor Developer Kit\0", Mark.WARN, "plain images for arm64"),
        (RELEASE.format(36, "3.0"), "NVIDIA Jetson Xavier NX\0", Mark.WARN, "need an Orin"),
        (RELEASE.format(44, "1.0"), ORIN, Mark.WARN, "no release known here"),
        ("", ORIN, Mark.WARN, "says nothing"),
        (RELEASE.format(36, "4.3"), "", Mark.OK, "a Jetson, JetPack 6.2"),
    ],
)
def test_jetpack_is_matched_with_the_triton_that_there_is(
    tmp_path: Path, release: str, module: str, mark: Mark, says: str
) -> None:
    for name, text in (("etc/nv_tegra_release", release), ("proc/device-tree/model", module)):
        if text:
            (tmp_path / name).parent.mkdir(parents=True)
            (tmp_path / name).write_text(text)
    check = jetpack.look(tmp_path)
    assert check.mark is mark, check
    assert says in check.what
    assert bool(check.remedy) == (mark is Mark.WARN)


def test_the_package_and_tensorrt_are_named() -> None:
    check = jetpack.judge(jetpack.Found(RELEASE.format(36, "4.3"), ORIN, PACKAGES))
    assert "JetPack 6.2 (package 6.2+b77), TensorRT 10.3.0" in check.what


def picture(width: int = 64, height: int = 48) -> bytes:
    rng = np.random.default_rng(7)
    pixels = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
    return cv2.imencode(".jpg", pixels)[1].tobytes()


def test_a_picture_is_described_by_its_own_header() -> None:
    data = picture()
    assert cameras.describe(Frame(data)) == f"64 x 48 JPEG, {len(data) / 1024:.0f} KiB"
    assert cameras.describe(Frame(pixels=np.zeros((48, 64, 3), np.uint8))) == "64 x 48 pixels"


def test_a_picture_that_is_cut_off_is_an_error() -> None:
    with pytest.raises(LinesideError):
        cameras.describe(Frame(picture()[:-500]))
    with pytest.raises(LinesideError, match="the JPEG is damaged"):
        cameras.describe(Frame(picture()[:-500].rstrip(b"\xff") + b"\xff\xd9"))


def test_a_picture_of_more_than_8_bits_is_shown_as_such() -> None:
    deep = cv2.imencode(".png", np.zeros((48, 64), np.uint16))[1].tobytes()
    assert cameras.describe(Frame(deep)).startswith("64 x 48 PNG of 16 bits a value, ")
    raw = Frame(bytes(96), layout=Layout.of("BayerRG8", 12, 8))
    assert cameras.describe(raw).startswith("12 x 8 BayerRG8, ")
    with pytest.raises(ImageTruncated):
        cameras.describe(Frame(bytes(95), layout=raw.layout))


METRICS = """\
# TYPE lineside_inference_camera_frame_age_seconds gauge
lineside_inference_camera_frame_age_seconds{camera="station-1"} 1.25
lineside_inference_camera_frame_age_seconds{camera="station-2"} 600.0
# TYPE lineside_inference_camera_frames_total counter
lineside_inference_camera_frames_total{camera="station-1",outcome="kept"} 53.0
lineside_inference_camera_frames_total{camera="station-1",outcome="refused"} 3.0
lineside_inference_camera_frames_total{camera="station-2",outcome="kept"} 9.0
lineside_inference_camera_frames_total{camera="station-3",outcome="kept"} 0.0
"""


@pytest.mark.parametrize(("camera", "is_well"), [("station-1", True), ("station-2", False), ("station-3", False)])
def test_a_camera_that_shows_nothing_now_is_well_where_the_service_had_a_frame_lately(
    camera: str, is_well: bool
) -> None:
    check = cameras.of_service("camera", Running.of({}, METRICS), camera, "it answered 404")
    assert (check is not None) == is_well
    if check is not None:
        assert check.what == "the inference service has had 53 frames, the newest 1.2 s ago (it answered 404)"


def test_the_wanted_version_is_the_kept_one_then_the_settings_then_the_cards(tmp_path: Path) -> None:
    store = read_store(MODELS)
    state = tmp_path / "state"
    own = InferenceSettings.model_validate({"state_dir": state, "policy": {"models": {"surface-defect": "4"}}})
    assert triton.wanted(own, store) == {"spindle-anomaly": "1", "surface-defect": "4"}
    state.mkdir()
    (state / "policy.json").write_text(
        '{"schema": "lineside/policy-state/1", "policy": {"models": {"surface-defect": "5"}},'
        ' "in_force": {"spindle-anomaly": "3", "gone": "1"}}'
    )
    assert triton.wanted(own, store) == {"spindle-anomaly": "3", "surface-defect": "5"}
    (state / "policy.json").write_text("{")
    assert triton.wanted(own, store)["surface-defect"] == "4"


def test_the_arena_takes_what_the_service_makes() -> None:
    settings = TritonSettings.model_validate({"slots": 16, "slot_bytes": 2 * 1024 * 1024})
    assert shared_memory.needed(settings, [read_store(MODELS)]) == 32 * 1024 * 1024
    small = TritonSettings.model_validate({"slots": 16, "slot_bytes": 4096})
    assert shared_memory.needed(small, [read_store(MODELS)]) > 16 * 4096  # a model's own tensors count


SHARED = {"server": "triton", "transport": "shared-memory", "detail": "ONLINE"}
BYTES = {"server": "triton", "transport": "bytes", "detail": "ONLINE (Triton cannot map our shared memory)"}


async def test_the_running_services_word_on_shared_memory_counts(tmp_path: Path) -> None:
    settings = TritonSettings.model_validate({})
    for engine, mark in ((SHARED, Mark.OK), (BYTES, Mark.WARN)):
        check = await shared_memory.check(settings, [], None, Running(engine=engine), tmp_path)
        assert check.mark is mark
    off = TritonSettings.model_validate({"shared_memory": "off"})
    assert (await shared_memory.check(off, [], None, None, tmp_path)).mark is Mark.SKIP
    assert (await shared_memory.check(settings, [], None, None, tmp_path)).mark is Mark.SKIP  # no Triton to try it with
    missing = await shared_memory.check(settings, [], None, None, tmp_path / "shm")
    assert missing.mark is Mark.WARN
    assert "No such file" in missing.what


@pytest.mark.parametrize(
    ("state", "sizes", "free", "mark", "says"),
    [
        (None, {}, 10**12, "fail", "no builder lives in /plans: ONNX serves"),
        (BuilderState(unable="there is no trtexec"), {}, 10**12, "fail", "none can be built, and ONNX serves: "),
        (BuilderState(BOARD), {"a": 100 * MIB}, 10**12, "ok", "1 in /plans, 100 of 512 MiB; for Orin (cc 8.7, 8 SMs)"),
        (BuilderState(BOARD), {"a": 100 * MIB}, 411 * MIB, "warn", "its disk has 411 MiB free"),
        (BuilderState(BOARD, failed={"k": 1}, last=Outcome("1", "k", "no such operator", 2.0)), {}, 10**12, "warn",
         "1 could not be built, the last reason: no such operator"),
    ],
)  # fmt: skip
def test_whether_an_engine_can_be_built_here(
    state: BuilderState | None, sizes: dict[str, int], free: int, mark: Mark, says: str
) -> None:
    check = tensorrt.judge(TensorRtSettings(), Path("/plans"), state, sizes, free)
    assert check.mark == mark
    assert says in check.what


def test_engines_are_no_matter_where_none_are_built(tmp_path: Path) -> None:
    assert tensorrt.look(TensorRtSettings()).mark == "skip"
    assert "is not there" in tensorrt.look(TensorRtSettings(folder=tmp_path / "none")).what
    assert "no builder lives" in tensorrt.look(TensorRtSettings(folder=tmp_path)).what
