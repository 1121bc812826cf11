"""The whole line of a bench as something to deploy: recipes at hand in several versions, their files, a deployment.

A line has a word of its own, its scope, before every name on the engine, so that several stand side by side and a
user's own line is not touched.
"""

import copy
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lineside.recipes.bench_components import BENCH
from lineside.recipes.components import COMPONENTS, PREFIX
from lineside.recipes.rendering import Place, model_component, recipes
from lineside.recipes.writing import files, write
from lineside_bench import config, deployment
from lineside_bench.checkout import find_root
from lineside_bench.greengrass.core import configuration
from lineside_bench.greengrass.core.document import Deployment, read_deployment
from lineside_bench.greengrass.core.reading import Node, parsed
from lineside_bench.greengrass.core.recipe import Recipe, read_recipe

SCOPE_VARIABLE = "LINESIDE_TEST_SCOPE"
"""Who starts the core sets it: component.sh puts it before every name on the engine."""
BUCKET = "bench"
PLATFORM = "classic-amd64"
"""The recipes' Triton for the other architecture is a Jetson's."""
WITH_PORTS = ("Inference", "Exporter", "PlcSim")
"""Components that publish a port on this machine."""
CONTAINERS = {each.name.removeprefix(f"{PREFIX}."): each.container for each in (*COMPONENTS, *BENCH)}
"""The containers by their component's name, without what all our components' names begin with."""


class DeployableLine:
    """What can be deployed. Components are named without `com.lineside.`, for instance OpcUaBridge.

    The images are `registry`/name:`version`. Files for the device are put into `bucket`. `ports` are those of
    WITH_PORTS, `rate` the parts a second that come by themselves. `recipes` are by component and version.
    """

    def __init__(
        self,
        bucket: Path,
        *,
        registry: str,
        version: str,
        ports: Mapping[str, int],
        rate: float,
        deadline_ms: float | None = None,
    ) -> None:
        place = Place(registry, BUCKET, version, (PLATFORM,), components=(*COMPONENTS, *BENCH))
        self.recipes: dict[tuple[str, str], Recipe] = {}
        self.document = deployment.document(deadline_ms=deadline_ms)
        """The deployment of all components."""
        self._bucket = bucket
        self._texts = recipes(place, {config.MODEL: deployment.MODEL_VERSION})
        made = files(place, {})
        write(bucket, {name.removeprefix("artifacts/"): made[name] for name in made if "artifacts/" in name})
        for name in (*CONTAINERS, model_component(config.MODEL).removeprefix(f"{PREFIX}.")):
            self.recipe(name, str(self.document["components"][f"{PREFIX}.{name}"]["componentVersion"]))
        self.model(config.MODEL, deployment.MODEL_VERSION, find_root() / "models" / config.MODEL)
        merges = {name: {"container": {"port": str(ports[name])}} for name in WITH_PORTS}
        self.document = self.changed({}, {**merges, "PlcSim": {**merges["PlcSim"], "plc_sim": {"rate": rate}}})

    def recipe(self, component: str, version: str, edit: Callable[[str], str] = lambda text: text) -> None:
        """Have a component's recipe at hand under a version, its text `edit`ed."""
        name = f"{PREFIX}.{component}"
        text = re.sub(r"(?m)^ComponentVersion: .*$", f"ComponentVersion: '{version}'", self._texts[f"{name}.yaml"])
        if component.startswith("Model."):  # its archive is of the component's version
            text = text.replace(f"/{deployment.MODEL_VERSION}/{config.MODEL}.zip", f"/{version}/{config.MODEL}.zip")
        self.recipes[component, version] = read_recipe(parsed(edit(text), f"{name} {version}", is_json=False))

    def model(self, name: str, version: str, folder: Path) -> None:
        """Put a model's folder into the bucket, as the archive of its component's version."""
        into = self._bucket / PREFIX / "models" / name / version
        into.mkdir(parents=True, exist_ok=True)
        shutil.make_archive(str(into / name), "zip", folder)

    def changed(self, versions: Mapping[str, str], merge: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """Return the deployment with other versions and further configuration, by component."""
        made = copy.deepcopy(self.document)
        for name, version in versions.items():
            made["components"][f"{PREFIX}.{name}"]["componentVersion"] = version
        for name, change in merge.items():
            update = made["components"][f"{PREFIX}.{name}"].setdefault("configurationUpdate", {"merge": {}})
            update["merge"] = configuration.merged(update["merge"], change)
        return made

    def with_versions(self, **versions: str) -> Deployment:
        """Return the deployment with other versions, by component, for a core."""
        return read_deployment(Node(self.changed(versions, {}), "deployment"))


def remove(scope: str) -> None:
    """Remove the containers, networks and volumes of a scope, as far as nothing uses them any more."""
    for kind, every, how in (("container", ("--all",), ("--force",)), ("network", (), ()), ("volume", (), ())):
        there = _docker(kind, "ls", "--quiet", *every, "--filter", f"name={scope}-").split()
        if there:
            _docker(kind, "rm", *how, *there)


def _docker(*arguments: str) -> str:
    command = ("docker", *arguments)
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout  # noqa: S603 - our own words
