from pathlib import Path

import pytest

from lineside_bench.deployable import CONTAINERS, WITH_PORTS, DeployableLine
from lineside_bench.deployment import MODEL_VERSION
from lineside_bench.greengrass.core import resolution


@pytest.fixture
def line(tmp_path: Path) -> DeployableLine:
    ports = {name: 9000 + number for number, name in enumerate(WITH_PORTS)}
    return DeployableLine(tmp_path, registry="lineside", version="0.1.0", ports=ports, rate=20)


def test_every_component_of_the_deployment_has_its_recipe(line: DeployableLine) -> None:
    wanted = {name: each.version for name, each in line.with_versions().components.items()}
    chosen = resolution.resolve(wanted, list(line.recipes.values()))
    assert {f"com.lineside.{name}" for name in CONTAINERS} <= chosen.keys()


def test_the_files_of_the_recipes_are_in_the_bucket(line: DeployableLine, tmp_path: Path) -> None:
    uris = {
        artifact.uri
        for recipe in line.recipes.values()
        for manifest in recipe.manifests
        for artifact in manifest.artifacts
        if artifact.image is None
    }
    files = {file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*") if file.is_file()}
    assert {uri.removeprefix("s3://bench/") for uri in uris} == files


def test_another_version_is_the_same_recipe_under_its_number_but_for_what_was_edited(line: DeployableLine) -> None:
    line.recipe("OpcUaBridge", "0.1.1")
    line.recipe("OpcUaBridge", "0.1.2", lambda text: text.replace("--stop 15", "--stop 9"))
    before, after, edited = (line.recipes["OpcUaBridge", f"0.1.{number}"] for number in range(3))
    assert after.manifests == before.manifests
    assert "--stop 9" in edited.manifests[0].steps["startup"].script
    chosen = line.with_versions(OpcUaBridge="0.1.2").components
    assert chosen["com.lineside.OpcUaBridge"].version == "0.1.2"
    assert chosen["com.lineside.TopicBridge"].version == "0.1.0"


def test_a_models_version_names_its_own_archive(line: DeployableLine) -> None:
    line.recipe("Model.SurfaceDefect", "1.0.1")
    uris = [artifact.uri for artifact in line.recipes["Model.SurfaceDefect", "1.0.1"].manifests[0].artifacts]
    assert any(uri.endswith("/models/surface-defect/1.0.1/surface-defect.zip") for uri in uris)
    assert not any(f"/{MODEL_VERSION}/" in uri for uri in uris)


def test_ports_and_rate_are_in_the_deployment(line: DeployableLine) -> None:
    components = line.document["components"]
    assert components["com.lineside.PlcSim"]["configurationUpdate"]["merge"]["plc_sim"]["rate"] == 20
    for number, name in enumerate(WITH_PORTS):
        merge = components[f"com.lineside.{name}"]["configurationUpdate"]["merge"]
        assert merge["container"]["port"] == str(9000 + number)
