"""What the doctor asks about deployments: what became of the latest one, and whether the desired state can be read."""

import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from lineside.checks import Check, fail, judged, ok, warn
from lineside.settings import load
from lineside_deployer.settings import Settings

DEPLOYMENTS = "deployments"


async def checks(file: Path | None, before: Mapping[str, Check]) -> AsyncIterator[Check]:
    """Yield the check of the deployments; the deployer's own answer is a check before."""
    yield await judged(
        DEPLOYMENTS,
        "deployer",
        lambda: load(Settings, file=file).deployer.http,
        "/v1/deployments",
        lambda body, _where: judge(json.loads(body)),
        before,
    )


def judge(said: Mapping[str, Any]) -> Check:
    """Judge the deployer's word on its deployments."""
    if not said["enabled"]:
        return ok(DEPLOYMENTS, "off: edge_manager.DeploymentEnable is false")
    if said["refused"]:
        return fail(DEPLOYMENTS, str(said["refused"]), "correct the desired state; until then nothing of it is done")
    latest = next(iter(said["deployments"]), None)
    if latest is None:
        return ok(DEPLOYMENTS, "none yet")
    name = latest["deployment"]["DeploymentName"]
    if latest["status"] == "FAIL":
        wrong = next((each for each in latest["models"] if each["status"] == "FAIL"), {"handle": "", "reason": ""})
        return fail(DEPLOYMENTS, f"{name} failed: {wrong['handle']}: {wrong['reason']}", "see docs/how-to")
    if latest["status"] == "INPROGRESS":
        return warn(DEPLOYMENTS, f"{name} is under way", "ask again when it has ended")
    return ok(DEPLOYMENTS, f"{name} succeeded")
