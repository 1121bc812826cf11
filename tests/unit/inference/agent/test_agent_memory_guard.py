from pathlib import Path

import pytest

from lineside_inference.agent import memory_guard
from lineside_inference.agent.memory_guard import MIB, check_room, gpu_free_of
from lineside_inference.errors import MemoryShort


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "status").write_text("Name: x\nVmRSS:\t  102400 kB\n")
    (tmp_path / "meminfo").write_text("MemTotal: 8388608 kB\nMemAvailable: 1048576 kB\n")
    return tmp_path


@pytest.fixture
def cgroup(tmp_path: Path) -> Path:
    (tmp_path / "memory.max").write_text(f"{400 * MIB}\n")
    return tmp_path


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_guard, "ask_nvidia_smi", lambda *_query: "")


def test_what_fits_is_let_pass(proc: Path, cgroup: Path) -> None:
    check_room("press", 100 * MIB, in_message=True, proc=proc, cgroup=cgroup)
    check_room("press", 380 * MIB, in_message=False, proc=proc, cgroup=cgroup)


def test_the_machine_s_memory_is_compared_with_figures(proc: Path, cgroup: Path) -> None:
    with pytest.raises(MemoryShort) as refused:
        check_room("press", 400 * MIB, in_message=False, proc=proc, cgroup=cgroup)
    said = str(refused.value)
    assert f"'press' has {400 * MIB} bytes and needs about {1064 * MIB}; {1024 * MIB} are free of this machine" in said


def test_a_call_with_the_bytes_needs_more_and_here_too(proc: Path, cgroup: Path) -> None:
    with pytest.raises(MemoryShort, match="of what this service's container may have"):
        check_room("press", 150 * MIB, in_message=True, proc=proc, cgroup=cgroup)
    with pytest.raises(MemoryShort, match="of this machine's memory"):
        check_room("press", 260 * MIB, in_message=True, proc=proc, cgroup=cgroup)


def test_a_call_has_less_than_two_gib(proc: Path, cgroup: Path) -> None:
    (proc / "meminfo").write_text("MemAvailable: 104857600 kB\n")
    with pytest.raises(MemoryShort, match=r"go to Triton with a call\. Set edge_manager\.model_folder"):
        check_room("press", 2001 * MIB, in_message=True, proc=proc, cgroup=cgroup)
    check_room("press", 2001 * MIB, in_message=False, proc=proc, cgroup=cgroup)


def test_the_gpu_s_memory_is_compared_where_nvidia_smi_tells_it(
    proc: Path, cgroup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_guard, "ask_nvidia_smi", lambda *_query: "100\n8000\n")
    check_room("press", 40 * MIB, in_message=False, proc=proc, cgroup=cgroup)
    with pytest.raises(MemoryShort, match=rf"{100 * MIB} are free of the GPU's memory"):
        check_room("press", 41 * MIB, in_message=False, proc=proc, cgroup=cgroup)


def test_what_cannot_be_told_refuses_nothing(tmp_path: Path) -> None:
    check_room("press", 10 * MIB, in_message=True, proc=tmp_path / "none", cgroup=tmp_path / "none")


@pytest.mark.parametrize(("answer", "free"), [("", None), ("[N/A]\n", None), ("12\n", 12 * MIB), ("-1", None)])
def test_nvidia_smi_s_answer(answer: str, free: int | None) -> None:
    assert gpu_free_of(answer) == free
