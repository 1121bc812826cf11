"""RUNNING reported for a component whose program speaks no IPC, as a process of its own."""

import os
import subprocess
import sys

import pytest

from lineside_bench.greengrass.ipc_server import CLASSIC, LITE, Manner
from tests.support.greengrass import COMPONENT, core_device
from tests.support.waiting import HANG_S


def report(**environment: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "lineside.greengrass.state", "RUNNING"]
    return subprocess.run(
        argv, env={**os.environ, **environment}, capture_output=True, text=True, timeout=HANG_S, check=False
    )


@pytest.mark.parametrize("manner", [CLASSIC, LITE], ids=lambda manner: manner.name)
def test_the_nucleus_is_told_once_with_the_components_token(manner: Manner) -> None:
    with core_device(manner) as server:
        done = report(**server.environment(COMPONENT))
        assert done.returncode == 0, done.stderr
        assert server.core.components[COMPONENT].states == ["RUNNING"]


def test_a_token_that_is_refused_is_said() -> None:
    with core_device(CLASSIC) as server:
        server.refuse_tokens = True
        done = report(**server.environment(COMPONENT))
        assert done.returncode == 1
        assert "the nucleus starts it with a fresh token" in done.stderr
        assert server.core.components[COMPONENT].states == []


def test_a_process_that_is_no_component_is_said_so() -> None:
    done = report()
    assert done.returncode == 1
    assert "reporting RUNNING needs a process that Greengrass started" in done.stderr
