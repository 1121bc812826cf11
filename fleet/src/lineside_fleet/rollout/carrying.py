"""Carries one target's set out, or gives it its old one back. Each may be run again after any interruption.

Before anything is made it looks at what is there: a deployment that bears this rollout's mark was made by a run that
was cut off, and is taken as made. One that neither the plan saw nor this rollout made is somebody else's work: nothing
is put over it.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lineside_fleet.aws import deployments, things
from lineside_fleet.aws.clients import Aws
from lineside_fleet.errors import Refused
from lineside_fleet.rollout_file import FailureSettings, JobSettings
from lineside_fleet.state.document import RolloutState, StageState

_TOKENS = uuid.UUID("c1b0c5e4-3a0b-4f3b-9df3-4a0a3c7f3a52")
MARK = things.MARK


def token(rollout_id: str, *what: str) -> str:
    """Return the client token of one step: the same for the same step of the same rollout."""
    return str(uuid.uuid5(_TOKENS, "/".join((rollout_id, *what))))


@dataclass(frozen=True)
class Made:
    """A deployment that is there now; `is_new` where this call made it."""

    deployment_id: str
    job_id: str
    is_new: bool


def deploy(aws: Aws, state: RolloutState, stage: StageState, failures: FailureSettings, job: JobSettings) -> Made:
    """Give a stage's target its new set; raises Refused, AwsError.

    `stage.target_arn` is filled in where the stage's group is made here.
    """
    if stage.owns_group:
        stage.target_arn = things.make_group(aws.iot, stage.group, f"{state.name}/{state.id}", stage.things).arn
    if stage.parent_arn is not None:
        base = state.stages[-1].before
        _hold_still(aws, stage.parent_arn, base.deployment_id if base else None, "the target")
    name = f"{state.name}/{stage.name}"
    ours = _ours(aws, state, stage.target_arn, name)
    if ours is not None:
        return ours
    _hold_still(aws, stage.target_arn, stage.before.deployment_id if stage.before else None, f"stage {stage.name}")
    request = _request(state, stage, name, stage.components, "deploy")
    before = stage.before.policies if stage.before else {}
    request["deploymentPolicies"] = {**before, "failureHandlingPolicy": failures.handling}
    request["iotJobConfiguration"] = job_configuration(job)
    return Made(*deployments.create(aws.greengrass, request), is_new=True)


def undo(aws: Aws, state: RolloutState, stage: StageState) -> Made | str:
    """Give a target its old set back; return why not where there is nothing to give back. Raises AwsError."""
    if not stage.target_arn:
        group = things.find_group(aws.iot, stage.group)
        if group is None:
            return "its group was never made"
        stage.target_arn = group.arn
    name = f"{state.name}/{stage.name}/rollback"
    done = _ours(aws, state, stage.target_arn, name)
    if done is not None:
        return done
    ours = _ours(aws, state, stage.target_arn, f"{state.name}/{stage.name}")
    if ours is None:
        return "this rollout's deployment is not in force there"
    if stage.parent_arn is not None and (other := _foreign_parent(aws, state, stage.parent_arn)):
        return f"the target was revised since by deployment {other}, which is in force on its devices"
    deployments.cancel(aws.greengrass, ours.deployment_id)
    request = _request(state, stage, name, stage.restores, "undo")
    if stage.before is not None:
        request["deploymentPolicies"] = stage.before.policies
        request["iotJobConfiguration"] = stage.before.job_settings
    return Made(*deployments.create(aws.greengrass, _without_empty(request)), is_new=True)


def is_back(state: RolloutState, stage: StageState) -> bool:
    """Return whether the target's rollback gave a stage its set again: the parent's newer revision takes its place."""
    fleet = state.stages[-1]
    return stage.parent_arn is not None and bool(fleet.undo_id) and stage.restores == fleet.restores


def cancel(aws: Aws, state: RolloutState, stage: StageState) -> bool:
    """Cancel a stage's deployment where there is one of this rollout; raises AwsError."""
    if not stage.target_arn:
        group = things.find_group(aws.iot, stage.group)
        if group is None:
            return False
        stage.target_arn = group.arn
    ours = _ours(aws, state, stage.target_arn, f"{state.name}/{stage.name}")
    return ours is not None and deployments.cancel(aws.greengrass, ours.deployment_id)


def job_configuration(job: JobSettings) -> dict[str, Any]:
    """Return the job's settings as the API has them."""
    made: dict[str, Any] = {}
    if job.per_minute is not None:
        made["jobExecutionsRolloutConfig"] = {"maximumPerMinute": job.per_minute}
    if job.in_progress_minutes is not None:
        made["timeoutConfig"] = {"inProgressTimeoutInMinutes": job.in_progress_minutes}
    if job.abort_percent is not None:
        criterion = {
            "failureType": "ALL",
            "action": "CANCEL",
            "thresholdPercentage": job.abort_percent,
            "minNumberOfExecutedThings": job.abort_after_devices,
        }
        made["abortConfig"] = {"criteriaList": [criterion]}
    return made


def _request(
    state: RolloutState, stage: StageState, name: str, components: Mapping[str, Any], step: str
) -> dict[str, Any]:
    request: dict[str, Any] = {
        "targetArn": stage.target_arn,
        "deploymentName": name,
        "components": dict(components),
        "tags": {MARK: state.id},
        "clientToken": token(state.id, stage.name, step),
    }
    if stage.parent_arn is not None:
        request["parentTargetArn"] = stage.parent_arn
    return request


def _without_empty(request: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in request.items() if value or name == "components"}


def _ours(aws: Aws, state: RolloutState, target: str, name: str) -> Made | None:
    """Return the deployment in force for a target where this rollout made it under this name."""
    found = deployments.latest_id(aws.greengrass, target)
    if found is None or found[1] != name:
        return None
    revision = deployments.get(aws.greengrass, found[0])
    return Made(revision.id, revision.job, is_new=False) if revision.tags.get(MARK) == state.id else None


def _hold_still(aws: Aws, target: str, expected: str | None, what: str) -> None:
    """Raise Refused where a target has another deployment than the plan saw."""
    found = deployments.latest_id(aws.greengrass, target)
    there = found[0] if found else None
    if there != expected:
        raise Refused(
            f"{what} was revised by deployment {there} ({found[1] if found else 'none'}) since the plan, which saw "
            f"{expected or 'none'}",
            remedy="Nothing was put over it: abort or roll this rollout back, and plan a new one on what is there",
        )


def _foreign_parent(aws: Aws, state: RolloutState, parent: str) -> str | None:
    found = deployments.latest_id(aws.greengrass, parent)
    base = state.stages[-1].before
    own = {f"{state.name}/{state.stages[-1].name}", f"{state.name}/{state.stages[-1].name}/rollback"}
    known = found is None or (base is not None and found[0] == base.deployment_id) or found[1] in own
    return None if known or found is None else found[0]
