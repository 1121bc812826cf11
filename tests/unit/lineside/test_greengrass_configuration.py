"""A component's configuration as settings: what values mean, which names are known, what is said of a wrong one."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from pydantic import BaseModel, Field

from lineside.cli.config import installed
from lineside.contract import Policy
from lineside.errors import SettingsError
from lineside.greengrass.configuration import layer
from lineside.settings import Section, Settings, load
from tests.support.paths import ROOT

COMPONENT = "com.lineside.Inference"


class Camera(Section):
    url: str = Field(description="Where.")
    timeout_ms: float = Field(2000.0, description="How long.")


class Window(Section):
    ports: tuple[int, ...] = Field((), description="Some.")


class Own(Section):
    policy: Policy = Field(default_factory=Policy, description="What the operator chose.")
    model_repository: Path = Field(Path("models"), description="Where.")
    cameras: dict[str, Camera] = Field(default_factory=dict, description="By name.")
    windows: list[Window] = Field(default_factory=list, description="Many.")
    size: int = Field(10, description="How many.")
    share: float = Field(0.5, description="How much.")
    is_on: bool = Field(default=False, description="Whether.")


class Inference(Settings):
    section: ClassVar[str] = "inference"

    inference: Own = Field(default_factory=Own, description="The subject.")


class Bridge(Settings):
    section: ClassVar[str] = "topic_bridge"

    topic_bridge: Own = Field(default_factory=Own, description="Another.")


def read(configuration: dict[str, Any], kind: type[Settings] = Inference, file: Path | None = None) -> Any:
    return load(kind, file=file, above=layer(kind, COMPONENT, configuration))


def problems(configuration: dict[str, Any], kind: type[Settings] = Inference, file: Path | None = None) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        read(configuration, kind, file)
    return raised.value.problems


def own(**values: Any) -> dict[str, Any]:
    return {"inference": values}


def test_it_stands_above_the_file_and_below_the_environment(tmp_path, monkeypatch) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("bus: {host: file, port: 1, keepalive_s: 7}\ninference: {cameras: {a: {url: 'http://a'}}}\n")
    monkeypatch.setenv("LINESIDE_BUS__PORT", "3")
    settings = read({"bus": {"host": "component", "port": 2}, **own(cameras={"b": {"url": "http://b"}})}, file=file)
    assert (settings.bus.host, settings.bus.port, settings.bus.keepalive_s) == ("component", 3, 7)
    assert sorted(settings.inference.cameras) == ["a", "b"]


@pytest.mark.parametrize("ten", [10, 10.0, "10", "10.0", " 10 "])
@pytest.mark.parametrize("true", [True, "true", "True"])
def test_a_value_means_the_same_however_it_is_delivered(ten: Any, true: Any) -> None:
    settings = read(
        own(
            size=ten,
            share=ten,
            is_on=true,
            cameras={"a": {"url": "x", "timeout_ms": ten}},
            windows=[{"ports": [ten, 11]}],
            policy={"enabled": true, "thresholds": {"scratch": ten}},
        )
    ).inference
    assert (settings.size, settings.share, settings.is_on) == (10, 10.0, True)
    assert (settings.cameras["a"].timeout_ms, settings.windows[0].ports) == (10.0, (10, 11))
    assert (settings.policy.enabled, settings.policy.thresholds) == (True, {"scratch": 10.0})


@pytest.mark.parametrize(
    ("configuration", "says"),
    [
        (own(size="ten"), "inference.size: expected a whole number (got 'ten')"),
        (own(size=10.5), "inference.size: expected a whole number (got 10.5)"),
        (own(size="10.5"), "inference.size: expected a whole number (got '10.5')"),
        (own(size=True), "inference.size: expected a number (got true)"),
        (own(policy={"thresholds": {"scratch": False}}), "policy.thresholds.scratch: expected a number (got false)"),
        (own(share="much"), "inference.share: expected a number (got 'much')"),
        (own(is_on="perhaps"), "inference.is_on: expected true or false (got 'perhaps')"),
        (own(is_on=10), "inference.is_on: expected true or false (got 10)"),
        (own(size=2.0**60), "inference.size: a whole number above 2^53 does not arrive exactly as a number"),
        (own(share=float("nan")), "inference.share: must be a finite number"),
        (own(windows=[{"ports": ["ten"]}]), "inference.windows.0.ports.0: expected a whole number (got 'ten')"),
        (own(cameras={"a": {"url": "x", "timeout": 1}}), "cameras.a.timeout: not a setting; did you mean 'timeout_ms'"),
        (own(policy={"zoom": 1}), "inference.policy.zoom: not a setting; known here: "),
        (own(cameras="none"), "inference.cameras: expected names and values (got 'none')"),
        ({"inference": "off"}, "inference: expected a group of names and values (got 'off')"),
        ({"bus": {"prot": 1}}, "bus.prot: not a setting; did you mean 'port'?"),
        ({"buss": {}}, "buss: not a setting; did you mean 'bus'?"),
        ({"confidencethreshold": "0.75"}, "confidencethreshold: not a setting; did you mean 'ConfidenceThreshold'?"),
        ({"ConfidenceThreshold": "ten"}, "ConfidenceThreshold: expected a number (got 'ten')"),
        ({"ConfidenceThreshold": True}, "ConfidenceThreshold: expected a number (got true)"),
        ({"ConfidenceThreshold": "-0.5"}, "ConfidenceThreshold: must be greater than or equal to 0 (got '-0.5')"),
        ({"InferenceTopicIn": "local/#"}, "InferenceTopicIn: expected a topic without + and # (got 'local/#')"),
        ({"InferenceTopicOut": 7}, "InferenceTopicOut: expected text; put it in quotes (got 7)"),
        ({"ModelS3URI": 7}, "ModelS3URI: expected text (got 7)"),
        ({"ModelS3URI": "https://x/y"}, "ModelS3URI: expected s3://bucket/folder/"),
        ({"ModelS3URI": "s3://B/m/"}, "ModelS3URI: expected s3://bucket/folder/, the bucket's name as S3 allows it"),
        ({"ModelS3URI": "s3://models/a/../b/"}, "ModelS3URI: expected a folder without empty names, '.' and '..'"),
    ],
)
def test_what_is_wrong_is_named_by_its_key(configuration: dict[str, Any], says: str) -> None:
    found = problems(configuration)
    assert len(found) == 1, found
    assert found[0].startswith(f"configuration of {COMPONENT}: ")
    assert says in found[0]


def test_a_key_that_is_like_no_setting_is_ignored_at_any_depth_and_listed() -> None:
    given = {"ModelBucket": "b", "inference": {"size": 11, "zoom": {"x": 1}}, "log": {"level": "debug", "rotate": "9"}}
    found = layer(Inference, COMPONENT, given)
    assert found.ignored == ("ModelBucket", "inference.zoom", "log.rotate")
    settings = load(Inference, above=found)
    assert (settings.inference.size, settings.log.level) == (11, "debug")


def test_a_section_of_another_service_is_neither_read_nor_listed() -> None:
    assert layer(Inference, COMPONENT, {"opcua_bridge": {"zoom": 1}, "plc_sim": {}}).ignored == ()


def test_everything_that_is_wrong_is_told_at_once_and_by_its_own_place(tmp_path, monkeypatch) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("bus: {port: 0}\ninference: {size: none}\n")
    monkeypatch.setenv("LINESIDE_BUS__KEEPALIVE_S", "0")
    found = problems({"bus": {"host": ""}, "thing": 7, "ConfidenceThreshold": "ten"}, file=file)
    places = {" ".join(problem.split(": ")[:2]) for problem in found}
    assert len(found) == len(places)
    assert places == {
        "configuration of com.lineside.Inference ConfidenceThreshold",
        "configuration of com.lineside.Inference bus.host",
        "configuration of com.lineside.Inference thing",
        "environment LINESIDE_BUS__KEEPALIVE_S bus.keepalive_s",
        f"{file} bus.port",
        f"{file} inference.size",
    }


PUBLISHED = {
    "ConfidenceThreshold": "0.75",
    "InferenceTopicIn": "plant/asked",
    "InferenceTopicOut": "plant/judged",
}


def test_the_short_names_stand_for_settings() -> None:
    settings = read({**PUBLISHED, "ModelS3URI": "file:///greengrass/models"})
    assert settings.inference.policy.thresholds == {"default": 0.75}
    assert (settings.bus.request_topic, settings.bus.result_topic) == ("plant/asked", "plant/judged")
    assert settings.inference.model_repository == Path("/greengrass/models")


def test_a_folder_of_s3_is_where_the_components_install_puts_it() -> None:
    """As a published example of an inference component writes it."""
    seed = {**PUBLISHED, "ModelS3URI": "s3://your-bucket/models/detector/v1.4/"}
    assert read(seed).inference.model_repository == Path("/models")
    assert read({**seed, **own(model_repository="/models")}) == read(seed)
    assert "both say the same setting" in str(problems({**seed, **own(model_repository="/elsewhere")}))


def test_a_short_name_of_another_services_setting_is_left_alone() -> None:
    settings = read({**PUBLISHED, "ModelS3URI": "s3://models/1/", "inference": {"any": 1}}, Bridge)
    assert (settings.bus.request_topic, settings.topic_bridge) == ("plant/asked", Own())


def test_a_short_name_leaves_the_other_thresholds_and_wins_over_the_file(tmp_path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("bus: {request_topic: file}\ninference: {policy: {thresholds: {default: 0.1, scratch: 0.2}}}\n")
    settings = read({**PUBLISHED, **own(policy={"thresholds": {"dent": "0.3"}})}, file=file)
    assert settings.inference.policy.thresholds == {"default": 0.75, "scratch": 0.2, "dent": 0.3}
    assert settings.bus.request_topic == "plant/asked"


@pytest.mark.parametrize("same", [0.75, "0.75", "0.750"])
def test_the_same_said_twice_is_no_matter_and_two_different_ones_are_refused(same: Any) -> None:
    both = own(policy={"thresholds": {"default": same}})
    assert read({**PUBLISHED, **both}).inference.policy.thresholds == {"default": 0.75}
    twice = "both say the same setting; give one of them"
    found = problems({**both, "ConfidenceThreshold": 0.8, "InferenceTopicIn": "a", "bus": {"request_topic": "b"}})
    where = "inference.policy.thresholds.default"
    assert found == [
        f"configuration of {COMPONENT}: ConfidenceThreshold: is 0.8 and {where} is {same!r}: {twice}",
        f"configuration of {COMPONENT}: InferenceTopicIn: is 'a' and bus.request_topic is 'b': {twice}",
    ]


def test_a_short_name_below_a_group_that_is_none_is_said_of_the_group() -> None:
    assert problems({"ConfidenceThreshold": 1, **own(policy="strict")}) == [
        f"configuration of {COMPONENT}: inference.policy: expected a group of names and values (got 'strict')"
    ]


def test_what_greengrass_and_the_recipe_read_is_no_setting_and_no_error() -> None:
    assert read({"accessControl": {"aws.greengrass.ipc.pubsub": {}}, "container": {"memory": "2g"}}) == Inference()
    assert load(Inference, above=layer(Inference, COMPONENT, {})) == load(Inference)


def test_no_secret_of_an_address_is_repeated() -> None:
    assert "hunter2" not in str(problems({"ModelS3URI": "https://me:hunter2@store/models"}))


def as_text(value: Any) -> Any:
    """Return a document as a recipe in YAML arrives on the lite nucleus: every scalar as text."""
    if isinstance(value, dict):
        return {name: as_text(each) for name, each in value.items()}
    if isinstance(value, list):
        return [as_text(each) for each in value]
    return value if value is None or isinstance(value, str) else json.dumps(value)


def as_floats(value: Any) -> Any:
    """Return a document as JSON may arrive on the classic nucleus: every number as a float."""
    if isinstance(value, dict):
        return {name: as_floats(each) for name, each in value.items()}
    if isinstance(value, list):
        return [as_floats(each) for each in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def cases() -> Iterator[Any]:
    for kind in installed():
        for form in (as_text, as_floats):
            yield pytest.param(kind, form, id=f"{kind.section}-{form.__name__}")


@pytest.mark.parametrize(("kind", "form"), list(cases()))
def test_every_setting_of_every_service_reads_its_default_in_every_form(kind: type[Settings], form: Any) -> None:
    document = load(kind).model_dump(mode="json")
    assert read(form(document), kind) == load(kind)


def recipes() -> list[Any]:
    """Return the recipe of each service that is a component, with the service's settings."""
    sections = {kind.section.replace("_", ""): kind for kind in installed()}
    found = []
    for path in sorted((ROOT / "recipes").glob("com.lineside.*.yaml")):
        recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
        if kind := sections.get(recipe["ComponentName"].removeprefix("com.lineside.").lower()):
            found.append(pytest.param(recipe, kind, id=kind.section))
    return found


def test_every_service_has_a_recipe_but_the_one_that_does_without_greengrass() -> None:
    with_one = {case.values[1].section for case in recipes()}
    assert {kind.section for kind in installed()} - with_one == {"deployer"}
    assert len(with_one) == len(recipes())


@pytest.mark.parametrize("form", [dict, as_text, as_floats])
@pytest.mark.parametrize(("recipe", "kind"), recipes())
def test_the_recipes_configuration_is_right_for_its_service(
    recipe: dict[str, Any], kind: type[Settings], form: Any
) -> None:
    given = recipe["ComponentConfiguration"]["DefaultConfiguration"]
    assert load(kind, above=layer(kind, recipe["ComponentName"], form(given)))


def test_the_forms_are_what_the_settings_would_refuse_as_messages() -> None:
    class Strict(BaseModel, strict=True):
        size: int

    for form in (as_text, as_floats):
        with pytest.raises(ValueError, match="size"):
            Strict.model_validate(form({"size": 10}))
