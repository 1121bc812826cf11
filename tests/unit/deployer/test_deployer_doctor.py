"""What the doctor says of the deployer's word."""

from typing import Any

import pytest

from lineside.checks import Mark
from lineside_deployer.doctor import judge


def said(*deployments: dict[str, Any], enabled: bool = True, refused: str | None = None) -> dict[str, Any]:
    return {"enabled": enabled, "refused": refused, "deployments": list(deployments)}


def deployment(status: str, *models: dict[str, str]) -> dict[str, Any]:
    return {"status": status, "deployment": {"DeploymentName": "week-48"}, "models": list(models)}


GOOD = {"handle": "first", "status": "SUCCESS", "reason": ""}
BAD = {"handle": "second", "status": "FAIL", "reason": "its signature is not trusted"}


@pytest.mark.parametrize(
    ("answer", "mark", "what"),
    [
        (said(enabled=False), Mark.OK, "off: edge_manager.DeploymentEnable is false"),
        (said(), Mark.OK, "none yet"),
        (said(deployment("SUCCESS", GOOD)), Mark.OK, "week-48 succeeded"),
        (said(deployment("INPROGRESS", GOOD)), Mark.WARN, "week-48 is under way"),
        (
            said(deployment("FAIL", GOOD, BAD), deployment("SUCCESS", GOOD)),
            Mark.FAIL,
            "week-48 failed: second: its signature is not trusted",
        ),
        (said(deployment("SUCCESS", GOOD), refused="State 'MAYBE'"), Mark.FAIL, "State 'MAYBE'"),
    ],
)
def test_the_latest_deployment_is_judged(answer: dict[str, Any], mark: Mark, what: str) -> None:
    check = judge(answer)
    assert (check.mark, check.what) == (mark, what)
