import os
from pathlib import Path

import pytest

from lineside import machine

ALLOWED = len(os.sched_getaffinity(0))
PHYSICAL = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        ("max 100000\n", ALLOWED),
        ("100000 100000\n", 1),
        ("50000 100000\n", 1),
        (f"{(ALLOWED + 7) * 100000} 100000\n", ALLOWED),
        ("nonsense\n", ALLOWED),
        ("0 0\n", ALLOWED),
    ],
)
def test_cores_are_at_most_the_containers_quota(tmp_path: Path, text: str, cores: int) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert machine.cores(tmp_path) == cores


@pytest.mark.parametrize(("quota", "cores"), [("-1\n", ALLOWED), ("100000\n", 1), ("1000\n", 1)])
def test_cores_by_the_first_version_of_control_groups(tmp_path: Path, quota: str, cores: int) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(quota)
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert machine.cores(tmp_path) == cores


def test_without_a_group_there_is_all_of_the_machine(tmp_path: Path) -> None:
    assert machine.cores(tmp_path) == ALLOWED
    assert machine.memory_bytes(tmp_path) == PHYSICAL


@pytest.mark.parametrize(
    ("name", "text", "limit"),
    [
        ("memory.max", "1048576\n", 1048576),
        ("memory.max", "max\n", PHYSICAL),
        ("memory/memory.limit_in_bytes", "2097152\n", 2097152),
        ("memory/memory.limit_in_bytes", "9223372036854771712\n", PHYSICAL),
    ],
)
def test_memory_is_at_most_the_containers(tmp_path: Path, name: str, text: str, limit: int) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    assert machine.memory_bytes(tmp_path) == limit
