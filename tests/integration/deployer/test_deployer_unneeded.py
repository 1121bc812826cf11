"""A box without deployments needs no deployer, and its doctor does not ask for one."""

import pytest

from lineside.checks import Mark
from lineside.cli import common_checks
from lineside_deployer.settings import Settings
from tests.support.ports import free_port


@pytest.mark.parametrize(
    ("enabled", "mark", "words"),
    [(False, Mark.SKIP, "need not: edge_manager.DeploymentEnable is false"), (True, Mark.WARN, "does not answer")],
)
async def test_one_that_does_not_run_is_a_warning_where_it_is_needed(enabled: bool, mark: Mark, words: str) -> None:
    edge = {"DeploymentEnable": enabled, "DbEnable": True}
    settings = Settings.model_validate({"deployer": {"http": {"port": free_port()}}, "edge_manager": edge})
    found = await common_checks.service("deployer", settings)
    assert found.mark is mark
    assert words in found.what
