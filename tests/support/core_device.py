"""A core device of the bench with components that are shell scripts: what a test of deployments needs."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import yaml

from lineside_bench.greengrass.core.document import Deployment, read_deployment
from lineside_bench.greengrass.core.nucleus import Device, Nucleus, Outcome, this_machine
from lineside_bench.greengrass.core.preparing import WAYS
from lineside_bench.greengrass.core.reading import Node
from lineside_bench.greengrass.core.recipe import Recipe, read_recipe
from tests.support.waiting import HANG_S, until

FOREVER = "while :; do sleep 0.05; done"


def recipe(name, version="1.0.0", *, needs=None, default=None, artifacts=None, platform=None, **steps) -> Recipe:
    """A recipe whose steps are scripts or maps; `needs`: `{name: range}` or `{name: (range, kind)}`."""
    dependencies = {
        other: {"VersionRequirement": each, "DependencyType": "HARD"}
        if isinstance(each, str)
        else {"VersionRequirement": each[0], "DependencyType": each[1]}
        for other, each in (needs or {}).items()
    }
    document = {
        "RecipeFormatVersion": "2020-01-25",
        "ComponentName": name,
        "ComponentVersion": version,
        "ComponentConfiguration": {"DefaultConfiguration": default or {}},
        "ComponentDependencies": dependencies,
        "Manifests": [
            {"Platform": platform or {"os": "linux", "runtime": "*"}, "Lifecycle": steps, "Artifacts": artifacts or []}
        ],
    }
    return read_recipe(Node(document, f"{name}-{version}"))


def deployment(name="test", *, on_failure="ROLLBACK", validation_s=HANG_S, **components) -> Deployment:
    """A deployment: each component's version, or version, merge and reset; `_` in a name stands for a dot."""
    made = {}
    for component, wanted in components.items():
        version, merge, reset = wanted if isinstance(wanted, tuple) else (wanted, {}, [])
        made[component] = {"componentVersion": version, "configurationUpdate": {"merge": merge, "reset": reset}}
    return read_deployment(
        Node(
            {
                "deploymentName": name,
                "components": made,
                "deploymentPolicies": {
                    "failureHandlingPolicy": on_failure,
                    "configurationValidationPolicy": {"timeoutInSeconds": validation_s},
                },
            },
            name,
        )
    )


class CoreDevice:
    """A running core, its folder, and every state that a component came to."""

    def __init__(self, nucleus: Nucleus, states: list[tuple[str, str]], scratch: Path) -> None:
        self.nucleus = nucleus
        self.states = states
        self.scratch = scratch

    async def deploy(self, wanted: Deployment, *recipes: Recipe) -> Outcome:
        async with asyncio.timeout(HANG_S):
            return await self.nucleus.deploy(wanted, recipes)

    def state(self, name: str) -> str:
        return str(self.nucleus.components[name].state)

    async def reaches(self, name: str, state: str) -> None:
        await until(lambda: self.state(name) == state, lambda: f"{name} is {self.state(name)}, not {state}")

    def written(self, name: str) -> list[str]:
        """The lines that scripts wrote to `$SCRATCH/<name>`."""
        file = self.scratch / name
        return file.read_text().splitlines() if file.exists() else []


@contextlib.asynccontextmanager
async def core_device(
    folder: Path, *, manner="classic", files=None, grace_s=5.0, **platform
) -> AsyncIterator[CoreDevice]:
    """Run a core in a folder; its scripts find a folder for their notes in `$SCRATCH`."""
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True, parents=True)
    states: list[tuple[str, str]] = []
    nucleus = Nucleus(
        folder / "core",
        ways=WAYS[manner],
        device=Device(thing="press-7", platform={**this_machine(), **platform}, files=files),
        tell=lambda name, state, _why: states.append((name, str(state))),
        grace_s=grace_s,
    )
    async with nucleus:
        yield CoreDevice(nucleus, states, scratch)


def dump(folder: Path, *recipes: Recipe) -> Path:
    """Write recipes into a folder, one file each."""
    folder.mkdir(exist_ok=True)
    for each in recipes:
        (folder / f"{each.name}-{each.version}.yaml").write_text(yaml.safe_dump(dict(each.document)))
    return folder
