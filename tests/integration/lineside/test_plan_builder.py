"""The builder of plans as a process, with a stand-in for trtexec: real files, real signals, a really full disk."""

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from lineside.plans.cache import PlanFolder
from lineside.plans.documents import PLAN, Ask
from lineside.plans.key import Options, Shapes, key_of
from tests.support.mounts import UNSHARE, needs_mount
from tests.support.plan_building import AGX, BuilderProcess, Trtexec, running_builder
from tests.support.stand_in_trtexec import BUILT, FIXED
from tests.support.waiting import HANG_S, block_until

MODEL = "surface-defect/1/model.onnx"
ONNX = b"an ONNX file, as far as the stand-in is concerned"


@pytest.fixture
def trtexec(tmp_path: Path) -> Trtexec:
    return Trtexec(tmp_path / "tensorrt")


@pytest.fixture
def models(tmp_path: Path) -> Path:
    (tmp_path / "models" / MODEL).parent.mkdir(parents=True)
    (tmp_path / "models" / MODEL).write_bytes(ONNX)
    return tmp_path / "models"


@pytest.fixture
def builder(tmp_path: Path, models: Path, trtexec: Trtexec) -> Iterator[BuilderProcess]:
    with running_builder(tmp_path / "plans", models, trtexec) as process:
        yield process


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def held(builder: BuilderProcess) -> int:
    """Return trtexec's process once it waits."""
    return block_until(
        lambda: builder.trtexec.asked() and builder.trtexec.running(), builder.log.read_text, within=HANG_S
    )[-1]


def leftovers(folder: Path) -> list[Path]:
    return list(folder.glob("building*"))


def test_a_plan_is_built_whole_and_found_again(builder: BuilderProcess) -> None:
    options = Options("fp16", 512, {"image": Shapes((1, 3, 8, 8), (1, 3, 8, 8), (4, 3, 8, 8))})
    build = builder.build(MODEL, options=options)
    assert builder.outcome(build) == ""
    plan = PlanFolder(builder.folder).verified(build.key)
    assert plan.device == builder.device
    assert (PlanFolder(builder.folder).place(build.key) / PLAN).read_bytes() == ONNX + BUILT
    asked = builder.trtexec.asked()
    assert {"--fp16", "--memPoolSize=workspace:512", "--maxShapes=image:4x3x8x8", "--skipInference"} <= set(asked)
    block_until(lambda: not leftovers(builder.folder))
    assert list(builder.folder.glob("timing-10.3.0-8.7-8.cache")), "the next build begins with its timings"


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("fail", "trtexec ended with status 1: ModelImporter.cpp:949: While parsing node number 7"),
        ("silent", "trtexec ended well and left no plan"),
        ("large", "than it may|may have 1000000|File too large"),
    ],
)
def test_a_build_that_fails_says_why_leaves_nothing_and_is_not_begun_again(
    builder: BuilderProcess, mode: str, reason: str
) -> None:
    builder.trtexec.be(mode)
    build = builder.build(MODEL, max_bytes=1_000_000)
    assert re.search(reason, builder.outcome(build))
    block_until(lambda: not leftovers(builder.folder))
    assert PlanFolder(builder.folder).sizes() == {}
    state = builder.state()
    assert state is not None
    assert state.failed == {build.key: 1}
    (builder.trtexec.folder / "asked").unlink()
    builder.end()
    with running_builder(builder.folder, builder.models, builder.trtexec) as again:
        builder.trtexec.be("well")
        other = again.build(MODEL, options=Options("best"))
        assert again.outcome(other) == ""
        assert set(PlanFolder(again.folder).sizes()) == {other.key}
        assert again.outcome(again.build(MODEL)) == ""
        last = again.state()
        assert last is not None
        assert last.failed == {}, "one that was built after all has not failed"


def test_fixed_shapes_given_a_profile_are_trtexecs_to_refuse(builder: BuilderProcess) -> None:
    (builder.models / MODEL).write_bytes(ONNX + FIXED)
    shapes = {"x": Shapes((1,), (1,), (4,))}
    assert "Static model does not take explicit shapes" in builder.outcome(
        builder.build(MODEL, options=Options(shapes=shapes))
    )
    assert builder.outcome(builder.build(MODEL)) == ""


def test_a_build_takes_no_longer_than_it_may(builder: BuilderProcess) -> None:
    builder.trtexec.be("hang")
    build = builder.build(MODEL, limit_s=0.3)
    assert builder.outcome(build) == "trtexec was ended: it took more than 0 s"
    assert builder.trtexec.running() == []
    block_until(lambda: not leftovers(builder.folder))


def test_it_is_paused_at_a_word_and_goes_on_where_it_was(builder: BuilderProcess) -> None:
    builder.trtexec.hold()
    build = builder.build(MODEL)
    pid = held(builder)
    assert int(Path(f"/proc/{pid}/oom_score_adj").read_text()) == 1000, "it goes before Triton where memory runs out"
    assert os.getpriority(os.PRIO_PROCESS, pid) == 19
    builder.ask(Ask(build, go=False))
    block_until(lambda: state_of(pid) == "T")
    block_until(lambda: builder.state().paused)  # type: ignore[union-attr]
    builder.ask(Ask(build, go=True))
    block_until(lambda: state_of(pid) != "T")
    builder.trtexec.release()
    assert builder.outcome(build) == ""


def test_what_is_not_wanted_any_more_ends_and_counts_for_nothing(builder: BuilderProcess) -> None:
    builder.trtexec.hold()
    builder.build(MODEL)
    held(builder)
    builder.ask(Ask())
    block_until(lambda: builder.trtexec.running() == [])
    state = block_until(lambda: (now := builder.state()) and now.building is None and now)
    assert state.failed == {}
    assert state.last is None
    block_until(lambda: not leftovers(builder.folder))


def test_nothing_begins_without_a_go(builder: BuilderProcess) -> None:
    waiting = builder.build(MODEL, go=False)
    other = key_of("b" * 64, builder.device, Options())
    builder.ask(Ask(waiting, go=False, delete=(other,)))
    builder.trtexec.hold()
    builder.ask(Ask(waiting, go=True))
    held(builder)
    builder.trtexec.release()
    assert builder.outcome(waiting) == ""


def test_killed_in_the_middle_no_half_plan_is_left_and_the_try_counts(builder: BuilderProcess) -> None:
    builder.trtexec.hold()
    build = builder.build(MODEL)
    pid = held(builder)
    builder.end(signal.SIGKILL)
    block_until(lambda: not Path(f"/proc/{pid}").exists() or state_of(pid) == "Z")
    with running_builder(builder.folder, builder.models, builder.trtexec) as again:
        builder.trtexec.release()
        assert again.outcome(build).startswith("it was cut off")
        assert PlanFolder(again.folder).sizes() == {}
        assert not leftovers(again.folder)
        state = again.state()
        assert state is not None
        assert state.failed == {build.key: 1}
        assert again.outcome(again.build(MODEL)) == ""


def test_two_builders_never_build_at_the_same_time(builder: BuilderProcess) -> None:
    second = BuilderProcess(builder.folder, builder.models, builder.trtexec, AGX)
    try:
        block_until(lambda: "another builder lives" in builder.log.read_text(), within=HANG_S)
        assert builder.outcome(builder.build(MODEL)) == ""
        first = builder.state()
        assert first is not None
        assert first.device == builder.device, "who waits says nothing"
        builder.end()
        block_until(lambda: (now := second.state()) and now.device == AGX)
    finally:
        second.end()


def test_what_is_built_here_is_no_other_devices(builder: BuilderProcess) -> None:
    foreign = key_of(builder.build(MODEL, go=False).sha256, AGX, Options())
    reason = builder.outcome(builder.build(MODEL, key=foreign))
    assert reason.startswith(f"{foreign} is asked for, and what is built on this device is")
    assert PlanFolder(builder.folder).sizes() == {}


def test_another_model_than_was_asked_for_is_not_built(builder: BuilderProcess) -> None:
    reason = builder.outcome(builder.build(MODEL, sha256="0" * 64))
    assert "and 000000" in reason
    assert builder.trtexec.asked() == []
    gone = builder.build(MODEL, go=False)
    (builder.models / MODEL).unlink()
    builder.ask(Ask(gone, go=True))
    assert "cannot be read" in builder.outcome(gone)


def test_what_is_to_go_is_deleted(builder: BuilderProcess) -> None:
    build = builder.build(MODEL)
    builder.outcome(build)
    builder.ask(Ask(delete=(build.key,)))
    block_until(lambda: PlanFolder(builder.folder).sizes() == {})


def test_words_that_it_does_not_understand_end_nothing(builder: BuilderProcess) -> None:
    (builder.folder / "ask.json").write_text('{"schema": "lineside/plan-ask/9"}')
    block_until(lambda: "ask.json is not understood" in builder.log.read_text(), within=HANG_S)
    assert builder.outcome(builder.build(MODEL)) == ""


@needs_mount
def test_a_full_disk_costs_the_build_and_nothing_else(tmp_path: Path, models: Path, trtexec: Trtexec) -> None:
    trtexec.be("fill")
    plans = tmp_path / "plans"
    plans.mkdir()
    mount = f'mount -t tmpfs -o size=80m tmpfs {plans} && exec "$@"'
    process = BuilderProcess(plans, models, trtexec, before=[*UNSHARE, "sh", "-c", mount, "sh"])
    inside = Path(f"/proc/{process.process.pid}/root{plans}")
    process.folder = inside
    try:
        process.wait_until_it_lives()
        reason = process.outcome(process.build(MODEL))
        assert reason == "trtexec ended with status 1: Saving engine to file failed: No space left on device"
        assert not leftovers(inside)
        trtexec.be("well")
        assert process.outcome(process.build(MODEL)) == ""
        (inside / "full").write_bytes(bytes(40 * 1024 * 1024))
        assert "bytes for a plan of a model of" in process.outcome(process.build(MODEL, options=Options("fp16")))
    finally:
        process.end()
