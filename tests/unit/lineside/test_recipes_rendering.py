"""recipes/ is made from the table of components, and says what the settings, compose.yaml and the broker's ACL say."""

import copy
import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from lineside import contract
from lineside.cli.config import installed
from lineside.greengrass.configuration import layer
from lineside.recipes.bench_components import BENCH, PLC_SIM
from lineside.recipes.checking import check, check_together
from lineside.recipes.components import COMPONENTS, L4T, Component, Noted
from lineside.recipes.edge_manager_component import AGENT
from lineside.recipes.rendering import PLATFORMS, Place, model_component, recipes
from lineside.recipes.writing import files, platforms_of
from lineside.settings import load
from lineside_bench.simulators.settings import CameraSim, PlcSim
from tests.support.paths import ROOT

EVERY = (*COMPONENTS, *BENCH)
PLACE = Place("lineside", "lineside-components", "0.1.0", components=(*EVERY, AGENT))
MODELS = {"surface-defect": "1.0.0"}
FOLDER = ROOT / "recipes"
GOLDEN = files(PLACE, MODELS)
DOCUMENTS = {name: yaml.safe_load(text) for name, text in GOLDEN.items() if name.endswith(".yaml")}
OURS = [component for component in EVERY if component.name != "com.lineside.Triton"]
SERVICES = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]
ECR = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/lineside"


@pytest.mark.parametrize("name", GOLDEN)
def test_recipes_are_what_the_table_makes(name: str, request: pytest.FixtureRequest) -> None:
    path = FOLDER / name
    if request.config.getoption("--update"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(GOLDEN[name], encoding="utf-8")
    assert path.is_file(), f"{path} is missing: run pytest with --update and read the diff"
    assert GOLDEN[name] == path.read_text(encoding="utf-8"), f"{path} differs: run pytest with --update, read the diff"


def test_there_is_nothing_else_in_the_folder() -> None:
    assert {str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*") if path.is_file()} == {*GOLDEN, "README.md"}


@pytest.mark.parametrize("platform", ["all", "classic", "lite", "amd64", "lite-arm64"])
def test_what_is_rendered_is_right_for_every_platform_by_tag_and_by_digest(platform: str) -> None:
    platforms = platforms_of([] if platform == "all" else [platform])
    digests = {f"{ECR}/{name}": f"sha256:{'a1' * 32}" for name in ("inference", "topic-bridge")}
    for place in (
        Place("lineside", "plant-bucket", "0.1.0", platforms, components=EVERY),
        Place(ECR, "plant-bucket", "1.2.3-rc.1", platforms, digests),
    ):
        found = check_together({name: check(text) for name, text in recipes(place, MODELS).items()})
        assert {name: each for name, each in found.items() if each} == {}


def test_an_image_is_named_by_its_digest_or_its_tag() -> None:
    place = Place(ECR, "plant-bucket", "0.1.0", digests={f"{ECR}/inference": f"sha256:{'a1' * 32}"})
    text = recipes(place, {})["com.lineside.Inference.yaml"]
    assert f"Uri: docker:{ECR}/inference@sha256:{'a1' * 32}\n" in text
    assert f"{ECR}/inference:" not in text
    assert f"Uri: docker:{ECR}/exporter:0.1.0\n" in recipes(place, {})["com.lineside.Exporter.yaml"]


def test_recipes_for_lite_depend_on_nothing_that_lite_has_not() -> None:
    lite = Place("lineside", "plant-bucket", "0.1.0", platforms_of(["lite"]))
    for text in recipes(lite, MODELS).values():
        document = yaml.safe_load(text)
        assert not {"aws.greengrass.DockerApplicationManager", "aws.greengrass.ShadowManager"} & set(
            document["ComponentDependencies"]
        )
        for manifest in document["Manifests"]:
            assert set(manifest["Lifecycle"]) <= {"install", "startup"}
    bridge = yaml.safe_load(recipes(lite, MODELS)["com.lineside.TopicBridge.yaml"])
    own = bridge["ComponentConfiguration"]["DefaultConfiguration"]["topic_bridge"]
    assert own["steering"]["shadow"]["by"] == "iot-core"
    assert own["inference_url"] == "http://inference:8080"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_manifests_stand_strictest_first_and_name_every_image_that_their_steps_use(name: str) -> None:
    manifests = DOCUMENTS[name]["Manifests"]
    is_classic_only = name == f"{AGENT.name}.yaml"
    expected = [each for each in PLATFORMS if not (is_classic_only and each.startswith("lite"))]
    assert [manifest["Name"] for manifest in manifests] == expected
    for manifest in manifests:
        artifacts = [artifact["Uri"] for artifact in manifest["Artifacts"]]
        for step in manifest["Lifecycle"].values():
            used = re.findall(r"lineside/[a-z0-9-]+:0\.1\.0", step["Script"])
            assert {f"docker:{image}" for image in used} <= set(artifacts)


def dependencies(component: Component) -> Iterator[str]:
    yield from (each.name for each in component.dependencies if each.name.startswith("com.lineside."))


def test_components_start_in_the_order_of_their_dependencies() -> None:
    seen: set[str] = set()
    for component in COMPONENTS:
        assert set(dependencies(component)) <= seen
        seen.add(component.name)


@pytest.mark.parametrize("component", OURS, ids=lambda component: component.name)
def test_a_components_configuration_is_settings_that_its_service_takes(
    component: Component, monkeypatch: pytest.MonkeyPatch
) -> None:
    for where in options([word for group in component.options for word in group], "--listen"):
        monkeypatch.setenv(where.partition("=")[0], "172.20.0.1")  # as component.sh does
    section = component.images["amd64"].replace("-", "_")
    [kind] = [kind for kind in (*installed(), PlcSim, CameraSim) if kind.section == section]
    recipe = copy.deepcopy(DOCUMENTS[f"{component.name}.yaml"])
    document = recipe["ComponentConfiguration"]["DefaultConfiguration"]
    if section == "opcua_bridge":  # the plant's own, which a deployment merges
        plant = yaml.safe_load((ROOT / "docker/config/plant.yaml").read_text(encoding="utf-8"))
        document[section] |= {name: plant[section][name] for name in ("endpoint", "triggers")}
    assert ("bus" in document) == bool(component.policies)
    settings = load(kind, above=layer(kind, component.name, document))
    assert settings.bus.request_topic == contract.REQUEST_TOPIC
    http = getattr(settings, section).http
    assert http.port == int(re.findall(r":(\d+)$", _port(component) or f":{http.port}")[0])
    if section == "inference":
        assert settings.inference.model_repository == Path("/models")
        assert settings.inference.policy.thresholds == {"default": 0.75}


def _port(component: Component) -> str | None:
    [*ports] = [group[1].strip('"') for group in component.docker if group[0] == "--publish"]
    return ports[0] if ports else None


def test_no_folder_of_a_nucleus_is_named_so_that_its_root_may_be_anywhere() -> None:
    default = "root_of_default=/greengrass/v2/work"  # the public Edge Manager component's, which ours puts right
    named = {name for name, text in GOLDEN.items() if "/greengrass/" in text.replace(default, "")}
    assert named == {f"{AGENT.name}.yaml"}
    configuration = DOCUMENTS[f"{AGENT.name}.yaml"]["ComponentConfiguration"]["DefaultConfiguration"]
    assert {name for name, value in configuration.items() if "/greengrass/" in str(value)} == {
        "CaptureDataDiskPath",
        "LocalDataRootPath",
    }


def test_edge_managers_component_has_the_public_ones_keys_and_defaults() -> None:
    """The values: the public component's documentation, version 1.3.6."""
    document = DOCUMENTS[f"{AGENT.name}.yaml"]
    assert document["ComponentVersion"] == "1.4.0"
    configuration = document["ComponentConfiguration"]["DefaultConfiguration"]
    work = "/greengrass/v2/work/aws.greengrass.SageMakerEdgeManager"
    assert {name: value for name, value in configuration.items() if name[0].isupper()} == {
        "CaptureDataBase64EmbedLimit": "3072",
        "CaptureDataBatchSize": "10",
        "CaptureDataBufferSize": "30",
        "CaptureDataDestination": "Cloud",
        "CaptureDataDiskPath": f"{work}/capture",
        "CaptureDataPeriodicUpload": "false",
        "CaptureDataPeriodicUploadPeriodSeconds": "8",
        "CaptureDataPushPeriodSeconds": "4",
        "DLRBackendOptions": "",
        "DbEnable": "false",
        "DeploymentEnable": "false",
        "DeploymentPollInterval": "1440",
        "FolderPrefix": "sme-capture",
        "LocalDataRootPath": work,
        "SagemakerEdgeLogVerbose": "false",
        "UnixSocketName": "/tmp/aws.greengrass.SageMakerEdgeManager.sock",
    }


@pytest.mark.parametrize("section", ["inference", "forwarder"])
def test_edge_managers_component_configures_both_its_containers(section: str) -> None:
    document = DOCUMENTS[f"{AGENT.name}.yaml"]["ComponentConfiguration"]["DefaultConfiguration"]
    given = document | {"DeviceFleetName": "press", "BucketName": "sagemaker-press"}
    [kind] = [each for each in installed() if each.section == section]
    made = layer(kind, AGENT.name, given)
    assert (made.problems, made.ignored) == ((), ())
    settings = load(kind, above=made)
    assert settings.edge_manager.serve
    assert settings.edge_manager.BucketName == "sagemaker-press"


def test_no_region_is_named_and_none_is_needed() -> None:
    """The nucleus' variables are handed on by name: one that is not set stays unset."""
    script = GOLDEN["artifacts/com.lineside/0.1.0/component.sh"]
    assert "--env AWS_REGION --env AWS_DEFAULT_REGION " in script
    assert not re.search(r"\b(us|eu|ap|ca|sa|me|af|il|cn)-[a-z]+-\d\b", "".join(GOLDEN.values()))


def test_the_seeds_keys_are_there_with_our_topics() -> None:
    document = DOCUMENTS["com.lineside.Inference.yaml"]["ComponentConfiguration"]["DefaultConfiguration"]
    assert document["ConfidenceThreshold"] == "0.75"
    assert document["InferenceTopicIn"] == contract.REQUEST_TOPIC
    assert document["InferenceTopicOut"] == contract.RESULT_TOPIC
    assert document["ModelS3URI"] == "file:///models"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_value_of_a_configuration_is_text_so_that_both_nuclei_give_the_same(name: str) -> None:
    def leaves(value: Any) -> Iterator[Any]:
        if isinstance(value, dict):
            for each in value.values():
                yield from leaves(each)
        elif isinstance(value, list):
            for each in value:
                yield from leaves(each)
        else:
            yield value

    configuration = DOCUMENTS[name].get("ComponentConfiguration", {})
    assert all(isinstance(each, str) for each in leaves(configuration))


def words(component: Component) -> list[str]:
    """Return the words of the amd64 container's start, the variables replaced by their defaults."""
    steps = next(
        manifest["Lifecycle"]
        for manifest in DOCUMENTS[f"{component.name}.yaml"]["Manifests"]
        if manifest["Name"] == "classic-amd64"
    )
    text = steps["startup"]["Script"].replace("\\\n", " ")
    container = component.configuration["container"]
    defaults = {name: value.value if isinstance(value, Noted) else value for name, value in container.items()}
    return shlex.split(re.sub(r"\{configuration:/container/(\w+)\}", lambda found: defaults[found[1]], text))


def options(given: list[str], name: str) -> list[str]:
    return [value for option, value in pairwise(given) if option == name]


@pytest.mark.parametrize("component", EVERY, ids=lambda component: component.name)
def test_a_container_gets_what_it_gets_in_compose(component: Component) -> None:
    service = component.container.removeprefix("lineside-")
    compose, given = SERVICES[service], words(component)
    assert options(given, "--user") == [compose["user"]]
    assert options(given, "--pids-limit") == [str(compose["pids_limit"])]
    assert options(given, "--cpu-shares") == [str(shares) for shares in [compose.get("cpu_shares")] if shares]
    internal = {"inside", "engine"}
    networks = {name.removeprefix("lineside-") for name in options(given, "--network")}
    inner = {name.removeprefix("lineside-") for name in options(given, "--internal-network")}
    assert inner <= internal
    assert not networks & internal
    if service == "forwarder":
        assert "--host-network" in given
    else:
        assert networks | inner == set(compose["networks"]) - {"outside"}
    if service != "triton":  # Triton's are a Jetson's, as docker/compose.jetson.yaml has them
        memory = re.sub(r"\$\{\w+:-([^}]+)\}", r"\1", str(compose["mem_limit"]))
        assert options(given, "--memory") == [memory]
        assert options(given, "--cpus") == [re.sub(r"\$\{\w+:-([^}]+)\}", r"\1", str(compose["cpus"]))]
    assert set(_volumes(options(given, "--volume"))) == set(_compose_volumes(compose))
    assert ("--shared-memory" in given) == ("shared-memory:/dev/shm" in compose["volumes"])


def _volumes(given: list[str]) -> Iterator[tuple[str, str, bool]]:
    for each in given:
        source, target, *rest = each.split(":")
        yield source.removeprefix("lineside-"), target, "ro" in ",".join(rest).split(",")


def _compose_volumes(service: dict[str, Any]) -> Iterator[tuple[str, str, bool]]:
    """Yield the volumes but the settings, the secrets and the shared memory, which component.sh makes."""
    for each in service["volumes"]:
        if isinstance(each, str):
            source, target = each.split(":")
            is_read_only = False
        else:
            source, target, is_read_only = each["source"], each["target"], bool(each.get("read_only"))
        if target == "/models":
            yield "models", target, True
        elif target not in {"/dev/shm", "/etc/lineside/settings.yaml", "/run/secrets/lineside"}:
            yield source, target, is_read_only


def test_only_triton_gets_the_gpu_and_nothing_is_privileged() -> None:
    for name, text in GOLDEN.items():
        assert "--privileged" not in text
        assert "RequiresPrivilege" not in text
        assert ("--runtime nvidia" in text) == (name == "com.lineside.Triton.yaml")


def test_the_image_for_jetsons_is_for_the_l4t_that_the_preflight_asks_for() -> None:
    versions = (ROOT / "docker/versions.env").read_text(encoding="utf-8")
    image = re.findall(r"^TRITON_L4T_IMAGE=(.+)$", versions, re.MULTILINE)
    assert image == ["nvcr.io/nvidia/tritonserver:24.12-py3-igpu"]  # JetPack 6: docs/reference/images.md
    assert L4T == "36"


def test_what_a_component_may_do_on_topics_is_what_its_account_at_the_broker_may() -> None:
    acl: dict[str, set[tuple[str, str]]] = {}
    user = ""
    for line in (ROOT / "docker/mosquitto/acl").read_text(encoding="utf-8").splitlines():
        match line.lstrip("#").split():
            case ["user", name]:
                user = name
            case ["topic", kind, topic]:
                for each in ("read", "write") if kind == "readwrite" else (kind,):
                    acl.setdefault(user, set()).add((each, topic.replace("+", "{iot:thingName}")))
    verbs = {"aws.greengrass#PublishToTopic": "write", "aws.greengrass#SubscribeToTopic": "read"}
    for component in EVERY:
        may = {
            (verbs[operation], topic)
            for policy in component.policies
            if policy.service == "aws.greengrass.ipc.pubsub"
            for operation in policy.operations
            for topic in policy.resources
            if not topic.startswith("$aws/things/")
        }
        if component is PLC_SIM:  # the account of the bench is a person's too
            assert may < acl["bench"]
        else:
            assert may == acl.get(component.container.removeprefix("lineside-"), set()), component.name


def test_a_models_component_is_named_after_it() -> None:
    assert model_component("surface-defect") == "com.lineside.Model.SurfaceDefect"
    assert model_component("press_7.force") == "com.lineside.Model.Press7Force"


def test_the_repositorys_script_is_the_commands() -> None:
    [script] = [text for name, text in GOLDEN.items() if name.endswith("/component.sh")]
    assert script == (Path(check.__code__.co_filename).parent / "component.sh").read_text(encoding="utf-8")
