"""A component made ready to run: its steps with their variables replaced, in one nucleus' manner. Pure."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

from lineside_bench.greengrass.core import variables
from lineside_bench.greengrass.core.plan import Release
from lineside_bench.greengrass.core.recipe import LITE, Manifest, Recipe, Step
from lineside_bench.greengrass.core.variables import Scope, Unresolved


@dataclass(frozen=True)
class Ways:
    """What the two nuclei do differently with a recipe."""

    name: str
    runtime: str
    expand: Callable[[str, Scope], str]
    without: tuple[str, ...]
    """Steps that it does not carry out."""
    rolls_back: bool


WAYS: Mapping[str, Ways] = MappingProxyType(
    {
        "classic": Ways("classic", "aws_nucleus_classic", variables.expand_classic, (), rolls_back=True),
        "lite": Ways("lite", LITE, variables.expand_lite, ("shutdown", "recover", "uninstall"), rolls_back=False),
    }
)


@dataclass(frozen=True)
class Prepared:
    """One step ready to run; `failure` says why it cannot be: a variable that nucleus lite does not resolve."""

    script: str
    timeout_s: float | None
    skip_if: str
    environment: Mapping[str, str]
    failure: str = ""


def prepare(manifest: Manifest, scope: Scope, ways: Ways) -> dict[str, Prepared]:
    """Return the steps that a nucleus carries out, by name."""
    return {name: _prepared(step, scope, ways) for name, step in manifest.steps.items() if name not in ways.without}


def interpolated(document: Mapping[str, Any], scope: Scope, ways: Ways, *, whole: bool) -> dict[str, Any]:
    """Return a configuration with the variables in its texts replaced; those that nothing is known of stay.

    The classic nucleus does so where its own `interpolateComponentConfiguration` is true, which `whole` says; nucleus
    lite does so in `accessControl`, always.
    """
    if ways.name == "lite":
        return {name: _expanded(value, scope) if name == "accessControl" else value for name, value in document.items()}
    return {name: _expanded(value, scope) if whole else value for name, value in document.items()}


def _expanded(value: Any, scope: Scope) -> Any:
    if isinstance(value, Mapping):
        return {name: _expanded(each, scope) for name, each in value.items()}
    if isinstance(value, list):
        return [_expanded(each, scope) for each in value]
    return variables.expand_classic(value, scope) if isinstance(value, str) else value


def release(recipe: Recipe, steps: Mapping[str, Prepared], configuration: Mapping[str, object]) -> Release:
    """Return a component as it is deployed, to be compared with what it was."""
    shown = {name: json.dumps(asdict(step), sort_keys=True, default=str) for name, step in steps.items()}
    written = json.dumps(recipe.document, sort_keys=True, default=str)
    return Release(recipe.version, configuration, shown, written)


def _prepared(step: Step, scope: Scope, ways: Ways) -> Prepared:
    try:
        script = ways.expand(step.script, scope)
        skip = ways.expand(step.skip_if, scope)
        environment = {name: ways.expand(value, scope) for name, value in step.environment.items()}
    except Unresolved as error:
        return Prepared(step.script, step.timeout_s, "", {}, str(error))
    return Prepared(script, step.timeout_s, skip, environment)
