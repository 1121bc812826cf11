"""The operations of `greengrassv2` that the stand-in plays."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from lineside.documents import read_json, read_yaml
from lineside_bench.cloud.paging import page
from lineside_bench.cloud.wire import Refused
from lineside_bench.cloud.world import ACCOUNT, REGION, Component, Deployment, World, missing

Operation = Callable[[World, dict[str, Any]], Mapping[str, Any]]
_ARN = re.compile(r"arn:[^:]*:greengrass:[^:]*:(aws|\d+):components:([^:]+)(?::versions:(.+))?")


def create_component_version(world: World, asked: dict[str, Any]) -> Mapping[str, Any]:
    """Take a recipe; the same version twice is a conflict, whatever it holds."""
    if "inlineRecipe" not in asked:
        raise Refused("ValidationException", "The stand-in takes components by their recipe alone: give inlineRecipe")
    if (done := _repeated(world, asked)) is not None:
        return _described(world, world.components[done])
    text = bytes(asked["inlineRecipe"])
    recipe = read_recipe(text)
    name, version = str(recipe["ComponentName"]), str(recipe["ComponentVersion"])
    made = Component(name, version, text, recipe, world.now, dict(asked.get("tags") or {}))
    if made.arn in world.components:
        raise Refused(
            "ConflictException",
            f"Component version {name} {version} already exists",
            resourceId=made.arn,
            resourceType="COMPONENT",
        )
    world.components[made.arn] = made
    _remember(world, asked, made.arn)
    return _described(world, made)


def read_recipe(text: bytes) -> dict[str, Any]:
    """Return a recipe in JSON or YAML; raises Refused."""
    try:
        plain = text.decode()
        recipe = read_json(plain) if plain.lstrip().startswith("{") else read_yaml(plain)
    except ValueError as error:
        raise Refused("ValidationException", f"The recipe cannot be read: {error}") from None
    lacking = [
        key
        for key in ("RecipeFormatVersion", "ComponentName", "ComponentVersion")
        if not isinstance(recipe, dict) or not recipe.get(key)
    ]
    if lacking:
        raise Refused("ValidationException", f"The recipe lacks {', '.join(lacking)}")
    return dict(recipe)


def describe_component(world: World, asked: dict[str, Any]) -> Mapping[str, Any]:
    """Tell of a version."""
    found = _component(world, asked["arn"])
    platforms = [{"attributes": each.get("Platform") or {}} for each in found.recipe.get("Manifests") or []]
    more = {
        "publisher": found.recipe.get("ComponentPublisher"),
        "description": found.recipe.get("ComponentDescription"),
    }
    return {**_described(world, found), **more, "platforms": platforms, "tags": found.tags}


def get_component(world: World, asked: dict[str, Any]) -> Mapping[str, Any]:
    """Return the recipe, in JSON whatever it came in; the stand-in writes no YAML."""
    found = _component(world, asked["arn"])
    if asked.get("recipeOutputFormat") == "YAML":
        raise Refused("ValidationException", "The stand-in gives recipes in JSON: leave recipeOutputFormat out")
    return {"recipeOutputFormat": "JSON", "recipe": json.dumps(found.recipe).encode(), "tags": found.tags}


def list_component_versions(world: World, asked: dict[str, Any]) -> Mapping[str, Any]:
    """List the versions of a component, the newest first."""
    match = _ARN.fullmatch(asked["arn"])
    found = [each for each in world.components.values() if match and (each.owner, each.name) == match.group(1, 2)]
    found.sort(key=_number, reverse=True)
    rows = [{"componentName": each.name, "componentVersion": each.version, "arn": each.arn} for each in found]
    return page("componentVersions", rows, asked)


def list_components(world: World, asked: dict[str, Any]) -> Mapping[str, Any]:
    """List the account's components, or AWS' own, each with its newest version."""
    owner = "aws" if asked.get("scope") == "PUBLIC" else ACCOUNT
    newest: dict[str, Component] = {}
    for each in world.components.values():
        if each.owner == owner and (each.name not in newest or _number(each) > _number(newest[each.name])):
            newest[each.name] = each
    rows = [
        {
            "arn": each.arn.rpartition(":versions:")[0],
            "componentName": each.name,
            "latestVersion": {
                "arn": each.arn,
                "componentVersion": each.version,
                "creationTimestamp": world.time(each.created_at),
            },
        }
        for each in newest.values()
    ]
    return page("components", rows, asked)


def _number(component: Component) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", component.version)]


def delete_component(world: World, asked: dict[str, Any]) -> Mapping[str, Any]:
    """Take a version away."""
    found = _component(world, asked["arn"])
    del world.components[found.arn]
    return {}


def create_deployment(world: World, asked: dict[str, Any]) -> Mapping[str, Any]:
    """Replace a target's set; a client token that came before with the same request gives the same deployment."""
    done = _repeated(world, asked)
    if done is not None:
        made = world.deployments[done]
    else:
        for name, part in (asked.get("components") or {}).items():
            _mergeable(name, part)
        made = world.deploy(asked)
        _remember(world, asked, made.id)
    return {"deploymentId": made.id, "iotJobId": made.id, "iotJobArn": job_arn(made)}


def _mergeable(name: str, part: Mapping[str, Any]) -> None:
    merge = (part.get("configurationUpdate") or {}).get("merge")
    if merge is None:
        return
    try:
        is_map = isinstance(read_json(merge), dict)
    except ValueError:
        is_map = False
    if not is_map:
        raise Refused("ValidationException", f"The merge of {name} is no JSON object")


def get_deployment(world: World, asked: dict[str, Any]) -> Mapping[str, Any]:
    """Return a deployment with its components."""
    found = _deployment(world, asked)
    names = ("components", "deploymentPolicies", "iotJobConfiguration", "tags")
    more = {name: found.asked[name] for name in names if name in found.asked}
    return {**_listed(world, found), **more, "iotJobId": found.id, "iotJobArn": job_arn(found)}


def list_deployments(world: World, asked: dict[str, Any]) -> Mapping[str, Any]:
    """List deployments, the newest first."""
    latest_only = asked.get("historyFilter", "LATEST_ONLY") == "LATEST_ONLY"
    rows = [
        _listed(world, each)
        for each in reversed(world.deployments.values())
        if asked.get("targetArn") in {None, each.target}
        and asked.get("parentTargetArn") in {None, each.asked.get("parentTargetArn")}
        and (each.latest or not latest_only)
    ]
    return page("deployments", rows, asked)


def cancel_deployment(world: World, asked: dict[str, Any]) -> Mapping[str, Any]:
    """Cancel what devices have not begun."""
    found = _deployment(world, asked)
    if found.status != "ACTIVE":
        raise Refused(
            "ConflictException",
            f"The deployment is {found.status} and cannot be cancelled",
            resourceId=found.id,
            resourceType="DEPLOYMENT",
        )
    world.cancel(found)
    return {"message": "SUCCESS"}


def list_core_devices(world: World, asked: dict[str, Any]) -> Mapping[str, Any]:
    """List core devices, those of a group where one is named."""
    names = world.members(asked["thingGroupArn"]) if asked.get("thingGroupArn") else list(world.devices)
    rows = [_core(world, name) for name in names if name in world.devices]
    wanted = [
        row
        for row in rows
        if asked.get("status") in {None, row["status"]} and asked.get("runtime") in {None, row["runtime"]}
    ]
    return page("coreDevices", wanted, asked)


def get_core_device(world: World, asked: dict[str, Any]) -> Mapping[str, Any]:
    """Tell of one core device."""
    return {**_core(world, _device(world, asked)), "coreVersion": "2.14.0"}


def list_installed_components(world: World, asked: dict[str, Any]) -> Mapping[str, Any]:
    """List what a device last reported; all are roots here."""
    device = world.devices[_device(world, asked)]
    reported = world.time(device.reported_at)
    rows = [
        {
            "componentName": name,
            "componentVersion": version,
            "lifecycleState": "BROKEN" if name in device.broken else "RUNNING",
            "isRoot": True,
            "lastStatusChangeTimestamp": reported,
            "lastReportedTimestamp": reported,
            "lastInstallationSource": device.sources.get(name, "LOCAL"),
        }
        for name, version in device.installed().items()
    ]
    return page("installedComponents", rows, asked)


def list_effective_deployments(world: World, asked: dict[str, Any]) -> Mapping[str, Any]:
    """List a device's executions of the deployments that are in force."""
    device = _device(world, asked)
    rows = []
    for each in reversed(world.deployments.values()):
        execution = each.executions.get(device)
        if execution is None or not each.latest:
            continue
        row = {
            "deploymentId": each.id,
            "deploymentName": each.asked.get("deploymentName", each.id),
            "iotJobId": each.id,
            "iotJobArn": job_arn(each),
            "targetArn": each.target,
            "coreDeviceExecutionStatus": execution.status,
            "reason": execution.reason or None,
            "creationTimestamp": world.time(each.created_at),
            "modifiedTimestamp": world.time(execution.updated_at),
            "statusDetails": {"errorStack": list(execution.errors)} if execution.errors else None,
        }
        rows.append(row)
    return page("effectiveDeployments", rows, asked)


def list_tags_for_resource(world: World, asked: dict[str, Any]) -> Mapping[str, Any]:
    """Return a deployment's or component's tags."""
    return {"tags": _tags(world, asked["resourceArn"])}


def tag_resource(world: World, asked: dict[str, Any]) -> Mapping[str, Any]:
    """Add tags."""
    _tags(world, asked["resourceArn"]).update(asked["tags"])
    return {}


def _tags(world: World, arn: str) -> dict[str, str]:
    if arn in world.components:
        return world.components[arn].tags
    found = world.deployments.get(arn.rpartition(":")[2])
    if found is None:
        raise missing(arn, "resource")
    tags: dict[str, str] = found.asked.setdefault("tags", {})
    return tags


def _repeated(world: World, asked: dict[str, Any]) -> str | None:
    token = asked.get("clientToken")
    if token is None or token not in world.tokens:
        return None
    before, made = world.tokens[token]
    if before != asked:
        raise Refused(
            "ConflictException",
            "The client token was used with another request",
            resourceId=token,
            resourceType="CLIENT_TOKEN",
        )
    return made


def _remember(world: World, asked: dict[str, Any], made: str) -> None:
    if token := asked.get("clientToken"):
        world.tokens[token] = (asked, made)


def _component(world: World, arn: str) -> Component:
    match = _ARN.fullmatch(arn)
    if match is None or match[3] is None:
        raise Refused("ValidationException", f"{arn} is no component version's ARN")
    # The region and the partition are the account's own, whatever the caller thinks.
    own = f"arn:aws:greengrass:{REGION}:{match[1]}:components:{match[2]}:versions:{match[3]}"
    if own not in world.components or match[1] not in {ACCOUNT, "aws"}:
        raise missing(arn, "component version")
    return world.components[own]


def _described(world: World, found: Component) -> dict[str, Any]:
    return {
        "arn": found.arn,
        "componentName": found.name,
        "componentVersion": found.version,
        "creationTimestamp": world.time(found.created_at),
        "status": {"componentState": "DEPLOYABLE", "message": "NONE"},
    }


def _deployment(world: World, asked: dict[str, Any]) -> Deployment:
    if asked["deploymentId"] not in world.deployments:
        raise missing(asked["deploymentId"], "deployment")
    return world.deployments[asked["deploymentId"]]


def _listed(world: World, found: Deployment) -> dict[str, Any]:
    return {
        "targetArn": found.target,
        "revisionId": str(found.revision),
        "deploymentId": found.id,
        "deploymentName": found.asked.get("deploymentName", found.id),
        "creationTimestamp": world.time(found.created_at),
        "deploymentStatus": found.status,
        "isLatestForTarget": found.latest,
        "parentTargetArn": found.asked.get("parentTargetArn"),
    }


def job_arn(found: Deployment) -> str:
    """Return the ARN of the IoT job that carries a deployment."""
    return f"arn:aws:iot:{REGION}:{ACCOUNT}:job/{found.id}"


def _device(world: World, asked: dict[str, Any]) -> str:
    name = str(asked["coreDeviceThingName"])
    if name not in world.devices:
        raise missing(name, "core device")
    return name


def _core(world: World, name: str) -> dict[str, Any]:
    device = world.devices[name]
    return {
        "coreDeviceThingName": name,
        "status": "UNHEALTHY" if device.broken else "HEALTHY",
        "lastStatusUpdateTimestamp": world.time(device.reported_at),
        "platform": "linux",
        "architecture": device.architecture,
        "runtime": device.runtime,
    }


OPERATIONS: Mapping[str, Operation] = {
    "CreateComponentVersion": create_component_version,
    "DescribeComponent": describe_component,
    "GetComponent": get_component,
    "ListComponentVersions": list_component_versions,
    "ListComponents": list_components,
    "DeleteComponent": delete_component,
    "CreateDeployment": create_deployment,
    "GetDeployment": get_deployment,
    "ListDeployments": list_deployments,
    "CancelDeployment": cancel_deployment,
    "ListCoreDevices": list_core_devices,
    "GetCoreDevice": get_core_device,
    "ListInstalledComponents": list_installed_components,
    "ListEffectiveDeployments": list_effective_deployments,
    "ListTagsForResource": list_tags_for_resource,
    "TagResource": tag_resource,
}
