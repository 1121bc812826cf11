"""A fleet to try things with: core devices of a line, most of them well, some slow, some away, and what they run."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from lineside_bench.cloud.devices import LITE, Device, Manner
from lineside_bench.cloud.world import ACCOUNT, Component, Group, World

FLEET, STAGING = "line-fleet", "line-staging"
BASE = {
    "aws.greengrass.Nucleus": "2.14.0",
    "com.lineside.Triton": "0.1.0",
    "com.lineside.Inference": "0.1.0",
    "com.lineside.Model.SurfaceDefect": "1.0.0",
}
NEW_MODEL = "1.1.0"


@dataclass(frozen=True)
class Sizes:
    """How many devices, and of how many each so-manieth is slow, away at first, or of nucleus lite; 0 for none."""

    devices: int = 12
    staging: int = 2
    slow_every: int = 7
    away_every: int = 11
    lite_every: int = 5


def make_world(sizes: Sizes = Sizes()) -> World:
    """Return an account with a fleet, a staging group beside it, and one deployment that all have carried out."""
    world = World()
    for name, version in [*BASE.items(), ("com.lineside.Model.SurfaceDefect", NEW_MODEL)]:
        add_component(world, name, version)
    fleet = [f"core-{number:04d}" for number in range(1, sizes.devices + 1)]
    staging = [f"staging-{number:02d}" for number in range(1, sizes.staging + 1)]
    for number, name in enumerate(fleet, 1):
        slow, lite = _each(number, sizes.slow_every), _each(number, sizes.lite_every)
        manner = Manner(pace=5 if slow else 1)
        world.devices[name] = Device(name, runtime=LITE if lite else Device.runtime, manner=manner)
    for name in staging:
        world.devices[name] = Device(name)
    for group, members in ((FLEET, fleet), (STAGING, staging)):
        add_group(world, group, members)
        components = {name: {"componentVersion": version} for name, version in BASE.items()}
        asked = {"targetArn": world.groups[group].arn, "deploymentName": "first", "components": components}
        world.deploy(asked)
    world.tick(10)
    for number, name in enumerate(fleet, 1):
        if _each(number, sizes.away_every):
            device = world.devices[name]
            device.manner = Manner(pace=device.manner.pace, offline_until=world.now + 30)
    return world


def _each(number: int, every: int) -> bool:
    return bool(every) and number % every == 0


def add_group(world: World, name: str, members: list[str]) -> None:
    """Add a group of things that are there."""
    world.groups[name] = Group(name, members=dict.fromkeys(members))


def recipe(name: str, version: str, **more: Any) -> dict[str, Any]:
    """Return a small recipe; an image of it is pinned by digest."""
    digest = hashlib.sha256(f"{name} {version}".encode()).hexdigest()
    artifact = {"URI": f"docker:registry.example.com/{name.rpartition('.')[2].lower()}@sha256:{digest}"}
    own = {} if name.startswith("aws.") or ".Model." in name else {"Artifacts": [artifact]}
    manifests = [{"Platform": {"os": "linux", "architecture": each}, **own} for each in ("aarch64", "amd64")]
    return {
        "RecipeFormatVersion": "2020-01-25",
        "ComponentName": name,
        "ComponentVersion": version,
        "ComponentDescription": f"{name}, as the stand-in has it",
        "Manifests": manifests,
        **more,
    }


def add_component(world: World, name: str, version: str, **more: Any) -> Component:
    """Add a version of a component; AWS' own belong to AWS."""
    made = recipe(name, version, **more)
    text = json.dumps(made).encode()
    component = Component(name, version, text, made, world.now, owner="aws" if name.startswith("aws.") else ACCOUNT)
    world.components[component.arn] = component
    return component
