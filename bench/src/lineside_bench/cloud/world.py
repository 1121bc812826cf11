"""What the stand-in's account holds: things and their groups, components, deployments; and its time, in ticks.

Deterministic: ids are counted, devices act in the order of their names, and nothing happens but by a call or a tick.
"""

import uuid
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from lineside_bench.cloud.devices import OPEN, Device, Execution, Report, Work
from lineside_bench.cloud.wire import Refused

ACCOUNT, REGION = "123456789012", "eu-central-1"
_START = datetime(2026, 1, 5, 6, 0, tzinfo=UTC)
_IDS = uuid.UUID("0d0f0c84-6a55-4a54-9d3c-2f1f3d2f7a11")


@dataclass
class Group:
    """A thing group and its members, in the order in which they came."""

    name: str
    description: str = ""
    attributes: dict[str, str] = field(default_factory=dict)
    members: dict[str, None] = field(default_factory=dict)

    @property
    def arn(self) -> str:
        """The group as deployments name it."""
        return f"arn:aws:iot:{REGION}:{ACCOUNT}:thinggroup/{self.name}"


@dataclass
class Component:
    """One version of a component: its recipe as it was given, and read."""

    name: str
    version: str
    text: bytes
    recipe: dict[str, Any]
    created_at: int
    tags: dict[str, str] = field(default_factory=dict)
    owner: str = ACCOUNT

    @property
    def arn(self) -> str:
        """The version as the API names it."""
        return f"arn:aws:greengrass:{REGION}:{self.owner}:components:{self.name}:versions:{self.version}"

    def architectures(self) -> frozenset[str] | None:
        """Return those that it has manifests for, None for all."""
        platforms = [each.get("Platform") or {} for each in self.recipe.get("Manifests") or [{}]]
        named = [str(platform.get("architecture", "*")) for platform in platforms]
        return None if "*" in named else frozenset(named)


@dataclass
class Deployment:
    """One revision of a target's set."""

    id: str
    revision: int
    asked: dict[str, Any]
    created_at: int
    status: str = "ACTIVE"
    latest: bool = True
    executions: dict[str, Execution] = field(default_factory=dict)

    @property
    def target(self) -> str:
        """The ARN of the thing or thing group."""
        return str(self.asked["targetArn"])

    @property
    def slot(self) -> str:
        """The target whose set it replaces on a device."""
        return str(self.asked.get("parentTargetArn") or self.target)


@dataclass
class World:
    """The account."""

    now: int = 0
    start: datetime = _START
    devices: dict[str, Device] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    components: dict[str, Component] = field(default_factory=dict)
    deployments: dict[str, Deployment] = field(default_factory=dict)
    tokens: dict[str, tuple[Any, str]] = field(default_factory=dict)
    """What was asked under a client token, and what came of it."""

    def time(self, minute: int | None = None) -> datetime:
        """Return a minute, this one by default, as the API has it."""
        return self.start + timedelta(minutes=self.now if minute is None else minute)

    def members(self, target: str) -> list[str]:
        """Return the things of a target; raises Refused where there is no such."""
        kind, _, name = target.rpartition(":")[2].partition("/")
        if kind == "thing" and name in self.devices:
            return [name]
        if kind == "thinggroup" and name in self.groups:
            return list(self.groups[name].members)
        raise missing(name, kind)

    def latest_of(self, target: str) -> Deployment | None:
        """Return the deployment in force for a target."""
        return next((each for each in self.deployments.values() if each.latest and each.target == target), None)

    def deploy(self, asked: dict[str, Any]) -> Deployment:
        """Replace a target's set; raises Refused where a component or the target is not there."""
        things = self.members(asked["targetArn"])
        if parent := asked.get("parentTargetArn"):
            self.members(parent)
        for name, part in (asked.get("components") or {}).items():
            if self.component(name, part["componentVersion"]) is None:
                raise missing(f"{name}@{part['componentVersion']}", "component version")
        number = len(self.deployments) + 1
        revision = sum(each.target == asked["targetArn"] for each in self.deployments.values()) + 1
        made = Deployment(str(uuid.uuid5(_IDS, str(number))), revision, asked, self.now)
        for other in self.deployments.values():
            if other.target == made.target and other.latest:
                other.latest = False
                other.status = "INACTIVE"
        self.deployments[made.id] = made
        for thing in things:
            self.queue(made, thing)
        return made

    def queue(self, deployment: Deployment, thing: str) -> None:
        """Have a device carry a deployment out, instead of an older one for the same set that it has not begun."""
        if thing in deployment.executions:
            return
        for other in self.deployments.values():
            execution = other.executions.get(thing)
            if execution is not None and execution.status in OPEN and other.slot == deployment.slot:
                execution.end("CANCELED", self.now, "A newer deployment replaced it")
        deployment.executions[thing] = Execution(deployment.id, self.now, updated_at=self.now)

    def report(self, said: Report) -> None:
        """Take what a real core says; raises Refused where the device or the deployment is no such.

        What it runs counts in any case. A deployment that ended meanwhile, by a newer one or its time limit, is refused
        and stays as it ended, as a job's execution does.
        """
        device, deployment = self.devices.get(said.thing), self.deployments.get(said.deployment_id)
        if device is None or not device.is_real:
            raise missing(said.thing, "real core device")
        if deployment is None or said.thing not in deployment.executions:
            raise missing(said.deployment_id, f"deployment to {said.thing}")
        device.reported, device.broken, device.reported_at = dict(said.components), set(said.broken), self.now
        execution = deployment.executions[said.thing]
        if execution.status not in OPEN:
            raise Refused("ConflictException", f"The deployment is {execution.status} on {said.thing} already")
        if said.status in OPEN:
            execution.begin(self.now)
            return
        execution.end(said.status, self.now, said.reason)
        if said.status == "SUCCEEDED":
            device.sources.update(dict.fromkeys(deployment.asked.get("components") or {}, deployment.id))

    def cancel(self, deployment: Deployment) -> None:
        """Take a deployment away from the devices that have not begun it."""
        deployment.status = "CANCELED"
        for execution in deployment.executions.values():
            if execution.status == "QUEUED":
                execution.end("CANCELED", self.now, "The deployment was cancelled")

    def component(self, name: str, version: str) -> Component | None:
        """Return a version of the account's own component, or of AWS' where the account has none."""
        for owner in (ACCOUNT, "aws"):
            arn = f"arn:aws:greengrass:{REGION}:{owner}:components:{name}:versions:{version}"
            if arn in self.components:
                return self.components[arn]
        return None

    def tick(self, minutes: int = 1) -> None:
        """Let minutes go by."""
        for _ in range(minutes):
            self.now += 1
            for deployment in [each for each in self.deployments.values() if each.status == "ACTIVE"]:
                self._advance(deployment)
            for device in self.devices.values():
                if device.acts(self.now):
                    device.reported_at = self.now

    def _advance(self, deployment: Deployment) -> None:
        job = deployment.asked.get("iotJobConfiguration") or {}
        limit = (job.get("timeoutConfig") or {}).get("inProgressTimeoutInMinutes")
        room = (job.get("jobExecutionsRolloutConfig") or {}).get("maximumPerMinute", len(deployment.executions))
        work: Work | None = None
        for thing, execution in sorted(deployment.executions.items()):
            device = self.devices[thing]
            if execution.status == "QUEUED" and room > 0 and device.acts(self.now):
                execution.begin(self.now)
                room -= 1
            elif execution.status == "IN_PROGRESS" and execution.started_at is not None:
                minutes = self.now - execution.started_at
                if device.acts(self.now) and minutes >= device.manner.pace:
                    work = work or self._work(deployment)
                    device.carry_out(execution, work, self.now)
                elif limit is not None and minutes >= limit:
                    execution.end("TIMED_OUT", self.now, f"It was in progress for {limit} minutes")
        if self._is_aborted(deployment, (job.get("abortConfig") or {}).get("criteriaList") or ()):
            self.cancel(deployment)
        elif not any(each.status in OPEN for each in deployment.executions.values()):
            deployment.status = "COMPLETED"  # which says nothing of whether devices succeeded

    @staticmethod
    def _is_aborted(deployment: Deployment, criteria: Any) -> bool:
        counts = Counter(each.status for each in deployment.executions.values())
        ended = sum(counts[status] for status in ("SUCCEEDED", "FAILED", "REJECTED", "TIMED_OUT"))
        for each in criteria:
            kinds = ("FAILED", "REJECTED", "TIMED_OUT") if each["failureType"] == "ALL" else (each["failureType"],)
            failed = sum(counts[kind] for kind in kinds)
            share = 100 * failed / ended if ended else 0
            if ended >= each["minNumberOfExecutedThings"] and share >= each["thresholdPercentage"]:
                return True
        return False

    def _work(self, deployment: Deployment) -> Work:
        components = deployment.asked.get("components") or {}
        found = {name: self.component(name, part["componentVersion"]) for name, part in components.items()}
        policies = deployment.asked.get("deploymentPolicies") or {}
        return Work(
            slot=deployment.slot,
            components=components,
            rolls_back=policies.get("failureHandlingPolicy", "ROLLBACK") == "ROLLBACK",
            architectures={name: each.architectures() for name, each in found.items() if each is not None},
        )

    def snapshot(self) -> dict[str, Any]:
        """Return what the account holds, as JSON has it: to compare two runs by."""
        return {
            "groups": {name: sorted(group.members) for name, group in sorted(self.groups.items())},
            "deployments": [
                {
                    "target": each.target,
                    "asked": {name: value for name, value in each.asked.items() if name != "clientToken"},
                    "status": each.status,
                    "executions": dict(sorted(Counter(e.status for e in each.executions.values()).items())),
                }
                for each in self.deployments.values()
            ],
            "components": sorted(self.components),
            "installed": {name: device.installed() for name, device in sorted(self.devices.items())},
        }


def missing(name: str, kind: str) -> Refused:
    """Return the refusal of what is not there."""
    return Refused("ResourceNotFoundException", f"{kind} {name} does not exist", resourceId=name, resourceType=kind)
