"""What the doctor asks about deployments: what became of the latest one, and whether the desired state can be read."""

import http.client
import json
from collections.abc import AsyncIterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from lineside.checks import HTTP_S, Check, ask, bounded, fail, ok, skip, warn
from lineside.settings import load
from lineside.threads import run_abandonable
from lineside_deployer.settings import DeployerHttpSettings, Settings

DEPLOYMENTS = "deployments"
_SERVICE = "deployer"
_OK = 200


async def checks(file: Path | None, before: Mapping[str, Check]) -> AsyncIterator[Check]:
    """Yield the check of the deployments; the deployer's own answer is a check before."""
    service = before.get(_SERVICE)
    if service is None or "ready on" not in service.what:
        yield skip(DEPLOYMENTS, f"needs: {_SERVICE}")
        return
    settings = load(Settings, file=file).deployer.http
    yield await bounded(DEPLOYMENTS, partial(run_abandonable, partial(_look, settings)), within_s=2 * HTTP_S)


def _look(settings: DeployerHttpSettings) -> Check:
    try:
        where, status, body = ask(_SERVICE, settings, "/v1/deployments")
    except http.client.HTTPException as error:
        return fail(DEPLOYMENTS, f"/v1/deployments is cut off: {error!r}", "see the deployer's log")
    if status != _OK:
        return fail(DEPLOYMENTS, f"{where}/v1/deployments answers {status}", "see the deployer's log")
    return judge(json.loads(body))


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
