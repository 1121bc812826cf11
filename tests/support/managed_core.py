"""A core device of the bench among the simulated ones of the stand-in's fleet: it takes its deployments from there.

Recipes come by Greengrass' API, their files from the simulated S3, and what became of a deployment goes back. It
carries out what waits for it when it is told to, so that a test says when.
"""

from collections.abc import Mapping
from typing import Any

from lineside_bench.cloud.devices import OPEN
from lineside_bench.cloud.server import Server
from lineside_bench.cloud.world import ACCOUNT, REGION
from lineside_bench.greengrass.core.lifecycle import State
from lineside_bench.greengrass.core.nucleus import Outcome, Status
from lineside_bench.greengrass.core.reading import parsed
from lineside_bench.greengrass.core.recipe import Recipe, read_recipe
from tests.support.deployed_line import DEVICE, DeployedLine
from tests.support.simulated_s3 import Store
from tests.support.stand_in_cloud import client, steer

_OF_AWS = "aws."
"""How the names of AWS' own components begin, which a core of the bench has."""


class ManagedCore:
    """The core of a line as the device DEVICE, which is in one group and marked as real.

    `local` are images by their name with a digest: an image that was never pushed has none on its engine, so what a
    recipe pins is read as the image that is here.
    """

    def __init__(self, line: DeployedLine, server: Server, store: Store, local: Mapping[str, str]) -> None:
        self.line = line
        self._server, self._store, self._local = server, store, local
        self._greengrass: Any = client(server, "greengrassv2")

    def carry_out(self) -> Outcome:
        """Carry out the deployment that waits for the device, and report it; an assertion fails where none does."""
        waiting = [row for row in self._effective() if row["coreDeviceExecutionStatus"] in OPEN]
        assert len(waiting) == 1, f"{len(waiting)} deployments wait for {DEVICE}, of {self._effective()}"
        found = self._greengrass.get_deployment(deploymentId=waiting[0]["deploymentId"])
        self._report(found, "IN_PROGRESS")
        own = {name: part for name, part in found["components"].items() if not name.startswith(_OF_AWS)}
        recipes = [self._recipe(name, part["componentVersion"]) for name, part in own.items()]
        for recipe in recipes:
            self._fetch(recipe)
        said = ("deploymentName", "components", "deploymentPolicies")
        document = {name: found[name] for name in said if name in found}
        done = self.line.carry_out(document, recipes)
        if done.status is Status.SUCCEEDED:
            self._report(found, "SUCCEEDED")
        else:
            self._report(found, "FAILED", f"{done.status}: {done.why}")
        return done

    def installed(self) -> dict[str, str]:
        """Return the versions that the fleet's service knows of the device, by component."""
        rows = self._greengrass.get_paginator("list_installed_components").paginate(coreDeviceThingName=DEVICE)
        found = [each for page in rows for each in page["installedComponents"]]
        return {each["componentName"]: each["componentVersion"] for each in found}

    def _effective(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._greengrass.list_effective_deployments(coreDeviceThingName=DEVICE)[
            "effectiveDeployments"
        ]
        return rows

    def _recipe(self, name: str, version: str) -> Recipe:
        arn = f"arn:aws:greengrass:{REGION}:{ACCOUNT}:components:{name}:versions:{version}"
        text = self._greengrass.get_component(arn=arn)["recipe"].decode()
        for pinned, here in self._local.items():
            text = text.replace(pinned, here)
        return read_recipe(parsed(text, f"{name} {version}", is_json=True))

    def _fetch(self, recipe: Recipe) -> None:
        """Get a recipe's files from S3, to where this core looks for files."""
        for uri in {each.uri for manifest in recipe.manifests for each in manifest.artifacts if each.image is None}:
            bucket, _, key = uri.removeprefix("s3://").partition("/")
            into = self.line.folder / "bucket" / key
            into.parent.mkdir(parents=True, exist_ok=True)
            into.write_bytes(self._store.get(bucket, key))

    def _report(self, deployment: Mapping[str, Any], status: str, reason: str = "") -> None:
        of_aws = {name: part["componentVersion"] for name, part in deployment["components"].items()}
        given = {name: version for name, version in of_aws.items() if name.startswith(_OF_AWS)}
        nucleus = self.line.nucleus
        report = {
            "thing": DEVICE,
            "deployment_id": deployment["deploymentId"],
            "status": status,
            "components": {**given, **nucleus.versions},
            "broken": [name for name, each in nucleus.components.items() if each.state is State.BROKEN],
            "reason": reason,
        }
        assert steer(self._server, "POST", "report", report) == (200, {"minute": self._server.cloud.world.now})
