"""One deployer for a model repository."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lineside_deployer import lock
from lineside_deployer.errors import RepositoryInUse
from tests.support.waiting import HANG_S


def test_a_second_one_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    held = lock.take(tmp_path)
    slept: list[float] = []
    with pytest.raises(RepositoryInUse, match="another deployer uses the model repository"):
        lock.take(tmp_path, wait_s=0.0, sleep=slept.append)
    assert slept == []
    os.close(held)
    os.close(lock.take(tmp_path, wait_s=0.0))


def test_it_waits_for_what_a_killed_one_left_running(tmp_path: Path) -> None:
    """A command has the lock from the deployer that started it, and keeps it when that is gone."""
    held = lock.take(tmp_path)
    command = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, pass_fds=(held,)
    )
    os.close(held)
    waits: list[float] = []

    def end_it(seconds: float) -> None:
        if not waits:
            command.communicate(timeout=HANG_S)
        waits.append(seconds)

    os.close(lock.take(tmp_path, wait_s=HANG_S, sleep=end_it))
    assert waits  # it was held


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(RepositoryInUse, match=r"absent cannot be written: No such file or directory") as refused:
        lock.take(tmp_path / "absent")
    assert "deployer.model_repository" in str(refused.value)
