"""A deployment as it is written: the fields of Greengrass' CreateDeployment, or the file of a local one. Pure."""

import json
from dataclasses import dataclass, field
from typing import Any

from semantic_version import Version

from lineside_bench.greengrass.core import configuration
from lineside_bench.greengrass.core.configuration import Update
from lineside_bench.greengrass.core.reading import Node

ROLLBACK, DO_NOTHING = "ROLLBACK", "DO_NOTHING"
NOTIFY, SKIP = "NOTIFY_COMPONENTS", "SKIP_NOTIFY_COMPONENTS"
VALIDATION_S = 30.0
"""How long components may take to judge a configuration, where the deployment does not say."""


@dataclass(frozen=True)
class Wanted:
    """One component of a deployment."""

    version: str
    update: Update = field(default_factory=Update)


@dataclass(frozen=True)
class Deployment:
    """What a core device is to become: exactly these components, and what they depend on."""

    name: str
    components: dict[str, Wanted]
    on_failure: str = ROLLBACK
    validation_s: float = VALIDATION_S

    @property
    def interpolates(self) -> bool | None:
        """Whether the nucleus is to replace variables in configurations; None where nothing is said of it."""
        nucleus = self.components.get("aws.greengrass.Nucleus")
        given = nucleus.update.merge.get("interpolateComponentConfiguration") if nucleus else None
        return None if given is None else str(given).lower() == "true"


def read_deployment(root: Node) -> Deployment:
    """Return a deployment; raises BenchError that says where it is wrong."""
    components = root.get("components")
    if not isinstance(components.value, dict) or not components.value:
        raise components.wrong("components by name, each with its componentVersion")
    policies = root.get("deploymentPolicies")
    handling = policies.get("failureHandlingPolicy")
    if handling.optional_text(ROLLBACK) not in {ROLLBACK, DO_NOTHING}:
        raise handling.wrong(f"{ROLLBACK} or {DO_NOTHING}")
    action = policies.get("componentUpdatePolicy").get("action")
    if action.optional_text(NOTIFY) not in {NOTIFY, SKIP}:  # AWS' own tools let another word pass
        raise action.wrong(f"{NOTIFY} or {SKIP}")
    limit = policies.get("configurationValidationPolicy").get("timeoutInSeconds").optional_seconds()
    return Deployment(
        name=root.get("deploymentName").optional_text("deployment"),
        components={name: _wanted(node) for name, node in components.items()},
        on_failure=handling.optional_text(ROLLBACK),
        validation_s=limit if limit is not None else VALIDATION_S,
    )


def _wanted(node: Node) -> Wanted:
    version = node if isinstance(node.value, str) else node.get("componentVersion")
    try:
        Version(version.text())
    except ValueError:
        raise version.wrong("a version of three numbers, for instance '1.2.0'; a deployment takes no ranges") from None
    if isinstance(node.value, str):
        return Wanted(version.text())
    update = node.get("configurationUpdate")
    return Wanted(version.text(), Update(_merge(update.get("merge")), tuple(_resets(update.get("reset")))))


def _merge(node: Node) -> dict[str, Any]:
    """Return what to merge, which the API takes as JSON in text and people write as a map."""
    value = node.value
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise node.wrong("a map, or one as JSON in text") from None
    if value is not None and not isinstance(value, dict):
        raise node.wrong("a map, or one as JSON in text")
    return value or {}


def _resets(node: Node) -> list[str]:
    made = []
    for each in node.entries():
        if not isinstance(each.value, str):
            raise each.wrong("a JSON pointer, for instance '/topics'")
        try:
            configuration.steps(each.value)
        except ValueError:
            raise each.wrong("a JSON pointer, for instance '/topics'") from None
        made.append(each.value)
    return made
