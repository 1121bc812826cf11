"""Every locked wheel of every image exists for arm64; uv asks its index, so this needs the network and no engine."""

import importlib.util
from types import ModuleType

import pytest

from tests.support.paths import ROOT

PROGRAM = ROOT / "docker" / "check_wheels.py"


@pytest.fixture(scope="module")
def check_wheels() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_wheels", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_wheel_is_missing(check_wheels: ModuleType) -> None:
    assert {lock: gaps for lock in check_wheels.LOCKS if (gaps := check_wheels.missing(lock))} == {}


def test_a_wheel_that_does_not_exist_is_named(check_wheels: ModuleType) -> None:
    assert any("==" in gap for gap in check_wheels.missing("triton", "riscv64-unknown-linux"))
