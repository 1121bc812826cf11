"""The deployment of a bench: the committed file is what the code makes, and every component takes it."""

from typing import Any

import pytest

from lineside.cli.config import installed
from lineside.greengrass.configuration import layer
from lineside.recipes.bench_components import BENCH
from lineside.recipes.components import COMPONENTS
from lineside.recipes.rendering import Place, recipes
from lineside.settings import Settings, load
from lineside_bench import deployment
from lineside_bench.greengrass.core import configuration
from lineside_bench.greengrass.core.document import read_deployment
from lineside_bench.greengrass.core.reading import Node, parsed
from lineside_bench.greengrass.core.recipe import read_recipe
from lineside_bench.simulators.settings import CameraSim, PlcSim
from tests.support.paths import ROOT

FILE = ROOT / "docker" / "config" / "bench-deployment.yaml"
EVERY = (*COMPONENTS, *BENCH)
TEXTS = recipes(Place("lineside", "bench", "0.1.0", components=EVERY), {"surface-defect": deployment.MODEL_VERSION})
RECIPES = {each.name: each for each in (read_recipe(parsed(text, name, is_json=False)) for name, text in TEXTS.items())}
KINDS = {kind.section: kind for kind in (*installed(), PlcSim, CameraSim)}
SERVICES = {component.name: component.images["amd64"].replace("-", "_") for component in EVERY[1:]}


def test_the_file_is_what_the_code_makes(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--update"):
        FILE.write_text(deployment.text(), encoding="utf-8")
    assert deployment.text() == FILE.read_text(encoding="utf-8"), (
        f"run .venv/bin/python -m lineside_bench.deployment {FILE.relative_to(ROOT)} and read the diff"
    )


def test_it_has_every_component_that_there_is_a_recipe_for_in_its_version() -> None:
    wanted = read_deployment(Node(deployment.document(), "it"))
    versions = {each.name: each.version for each in RECIPES.values()}
    assert {name: each.version for name, each in wanted.components.items()} == {
        "aws.greengrass.Nucleus": deployment.NUCLEUS,
        **versions,
    }
    assert wanted.interpolates


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_takes_its_configuration(name: str) -> None:
    settings, kind = settings_of(name)
    assert settings.thing == "bench"
    if kind.section == "opcua_bridge":
        assert {each.deadline_ms for each in settings.opcua_bridge.triggers} == {400.0}


def settings_of(name: str) -> tuple[Any, type[Settings]]:
    update = read_deployment(Node(deployment.document(), "it")).components[name].update
    kind = KINDS[SERVICES[name]]
    return load(kind, above=layer(kind, name, configuration.after(None, RECIPES[name].default, update))), kind


def test_the_deadline_is_that_of_the_triggers_and_of_the_plc() -> None:
    components = deployment.document(deadline_ms=3000)["components"]
    merges = {
        name: components[f"com.lineside.{name}"]["configurationUpdate"]["merge"] for name in ("OpcUaBridge", "PlcSim")
    }
    assert {each["deadline_ms"] for each in merges["OpcUaBridge"]["opcua_bridge"]["triggers"]} == {3000}
    assert merges["PlcSim"] == {"plc_sim": {"deadline_ms": 3000}}
