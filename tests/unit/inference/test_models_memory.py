"""Triton's memory, read from a /proc of the test's own."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from pydantic import ValidationError

from lineside_inference.models.memory import TritonMemory, resident_of
from lineside_inference.settings import TritonSettings
from tests.support.waiting import HANG_S

MIB = 1024 * 1024


def proc(folder: Path, pid: int, name: str = "tritonserver", kib: int = 204_800) -> Path:
    (folder / str(pid)).mkdir()
    (folder / str(pid) / "comm").write_text(f"{name}\n")
    (folder / str(pid) / "status").write_text(f"Name:\t{name}\nVmPeak:\t 999999 kB\nVmRSS:\t  {kib} kB\n")
    (folder / "triton.pid").write_text(f"{pid}\n")
    return folder / "triton.pid"


def settings(pid_file: Path, **fields: object) -> TritonSettings:
    return TritonSettings.model_validate({"pid_file": pid_file, **fields})


def test_the_resident_memory_is_shown(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    TritonMemory(settings(proc(tmp_path, 77)), registry, tmp_path)
    assert registry.get_sample_value("lineside_inference_triton_resident_bytes") == 200 * MIB


def test_another_process_under_the_number_is_not_triton(tmp_path: Path) -> None:
    assert TritonMemory(settings(proc(tmp_path, 77, "bash")), proc=tmp_path).resident() is None
    assert TritonMemory(settings(tmp_path / "absent"), proc=tmp_path).resident() is None


def test_above_the_bound_it_is_counted(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    memory = TritonMemory(settings(proc(tmp_path, 77), recycle_above_bytes=100 * MIB), registry, tmp_path)
    memory.check("a test")
    assert registry.get_sample_value("lineside_inference_triton_recycles_total", {"action": "report"}) == 1


def test_triton_is_ended_where_the_settings_say_so(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    try:
        file = proc(tmp_path, child.pid)
        below = settings(file, recycle_above_bytes=300 * MIB, recycle="terminate")
        TritonMemory(below, proc=tmp_path).check("a test")
        assert child.poll() is None
        above = settings(file, recycle_above_bytes=100 * MIB, recycle="terminate")
        TritonMemory(above, proc=tmp_path).check("a test")
        assert child.wait(HANG_S) == -signal.SIGTERM
    finally:
        child.kill()


def test_a_bound_without_a_process_is_refused() -> None:
    with pytest.raises(ValidationError, match="pid_file is not"):
        TritonSettings.model_validate({"recycle_above_bytes": 100 * MIB})


def test_a_status_without_the_line_says_nothing() -> None:
    assert resident_of("Name: x\n") is None
