"""Deployments: the latest of a target, new ones, and how devices fared."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lineside_fleet.aws.clients import Api

EXECUTIONS_A_PAGE, DEPLOYMENTS_A_PAGE = 250, 100
_OVER = ("ConflictException", "ResourceNotFoundException")


@dataclass(frozen=True)
class Revision:
    """A deployment as Greengrass has it."""

    id: str
    name: str
    target: str
    job: str
    status: str
    created: float
    parent: str | None = None
    components: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    policies: Mapping[str, Any] = field(default_factory=dict)
    job_settings: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


def latest_id(greengrass: Api, target: str) -> tuple[str, str] | None:
    """Return id and name of the deployment in force for a target, None where it has none; raises AwsError."""
    rows = greengrass.rows(
        "list_deployments", "deployments", size=DEPLOYMENTS_A_PAGE, targetArn=target, historyFilter="LATEST_ONLY"
    )
    found = next((row for row in rows if row.get("isLatestForTarget", True)), None)
    return None if found is None else (str(found["deploymentId"]), str(found.get("deploymentName", "")))


def get(greengrass: Api, deployment_id: str) -> Revision:
    """Return a deployment whole; raises AwsError."""
    return revision(greengrass.ask("get_deployment", deploymentId=deployment_id))


def latest(greengrass: Api, target: str) -> Revision | None:
    """Return the deployment in force for a target, None where it has none; raises AwsError."""
    found = latest_id(greengrass, target)
    return None if found is None else get(greengrass, found[0])


def revision(answer: Mapping[str, Any]) -> Revision:
    """Return what GetDeployment answered, or a row of ListDeployments, as a value."""
    created = answer.get("creationTimestamp")
    return Revision(
        id=str(answer["deploymentId"]),
        name=str(answer.get("deploymentName", "")),
        target=str(answer.get("targetArn", "")),
        job=str(answer.get("iotJobId", "")),
        status=str(answer.get("deploymentStatus", "")),
        created=created.timestamp() if created is not None else 0.0,
        parent=answer.get("parentTargetArn"),
        components=answer.get("components") or {},
        policies=answer.get("deploymentPolicies") or {},
        job_settings=answer.get("iotJobConfiguration") or {},
        tags=answer.get("tags") or {},
    )


def create(greengrass: Api, request: Mapping[str, Any]) -> tuple[str, str]:
    """Make a deployment and return its id and its job's; raises AwsError."""
    answer = greengrass.ask("create_deployment", **request)
    return str(answer["deploymentId"]), str(answer.get("iotJobId", ""))


def cancel(greengrass: Api, deployment_id: str) -> bool:
    """Cancel a deployment; return False where there is nothing to cancel any more. Raises AwsError."""
    return greengrass.call("cancel_deployment", absent=_OVER, deploymentId=deployment_id) is not None


@dataclass(frozen=True)
class Execution:
    """One device's execution of a deployment: its state, and since when (seconds since 1970)."""

    status: str
    updated: float


def executions(iot: Api, job: str) -> dict[str, Execution]:
    """Return each device's execution of a deployment, by thing; raises AwsError."""
    rows = iot.rows("list_job_executions_for_job", "executionSummaries", size=EXECUTIONS_A_PAGE, jobId=job)
    return {row["thingArn"].rpartition("/")[2]: _execution(row["jobExecutionSummary"]) for row in rows}


def _execution(summary: Mapping[str, Any]) -> Execution:
    updated = summary.get("lastUpdatedAt")
    return Execution(str(summary.get("status", "QUEUED")), updated.timestamp() if updated is not None else 0.0)


def reason(greengrass: Api, thing: str, deployment_id: str) -> str:
    """Return why a device failed a deployment, empty where it does not say; raises AwsError."""
    rows = greengrass.rows("list_effective_deployments", "effectiveDeployments", size=50, coreDeviceThingName=thing)
    for row in rows:
        if row["deploymentId"] == deployment_id:
            errors = (row.get("statusDetails") or {}).get("errorStack") or ()
            return " ".join(str(row.get("reason") or ", ".join(errors)).split())
    return ""
