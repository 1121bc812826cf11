import re
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Literal

import pytest
import yaml
from pydantic import Field

from lineside.cli.config import installed
from lineside.cli.sample import sample, schema
from lineside.errors import SettingsError
from lineside.settings import SECTIONS, HttpSettings, Section, Settings, load


class Camera(Section):
    url: str = Field(description="Where.")


class Thing(Section):
    kind: Literal["tag"] = "tag"
    node: str


class Own(Section):
    http: HttpSettings = Field(default_factory=lambda: HttpSettings(port=8081), description="Health.")
    cameras: dict[str, Camera] = Field(default_factory=dict, description="By name.")
    things: list[Thing] = Field(default_factory=list, description="Many.")
    mode: Literal["auto", "off"] = Field("auto", description="How.")
    optional: Camera | None = Field(None, description="Perhaps.")


class Sample(Settings):
    section: ClassVar[str] = "topic_bridge"

    topic_bridge: Own = Field(default_factory=Own, description="The subject.")


def write(folder: Path, text: str) -> Path:
    path = folder / "settings.yaml"
    path.write_text(text)
    return path


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], None]:
    def put(variables: dict[str, str]) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return put


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        load(Sample, file=write(folder, text))
    return raised.value.problems


def test_defaults_need_no_file() -> None:
    settings = load(Sample)
    assert (settings.bus.port, settings.topic_bridge.http.port) == (1883, 8081)


def test_the_environment_wins_over_the_file_and_the_file_over_defaults(tmp_path, environ) -> None:
    path = write(tmp_path, "bus: {host: broker, port: 2883}\ntopic_bridge: {mode: 'off'}\n")
    environ({"LINESIDE_BUS__PORT": "3883", "LINESIDE_TOPIC_BRIDGE__CAMERAS": '{"a": {"url": "http://a"}}'})
    settings = load(Sample, file=path)
    assert (settings.bus.host, settings.bus.port, settings.topic_bridge.mode) == ("broker", 3883, "off")
    assert settings.topic_bridge.cameras["a"].url == "http://a"


def test_the_file_can_be_named_by_the_environment(tmp_path, environ) -> None:
    environ({"LINESIDE_CONFIG": str(write(tmp_path, "bus: {port: 2883}\n"))})
    assert load(Sample).bus.port == 2883


def test_other_services_sections_are_left_alone(tmp_path, environ) -> None:
    environ({"LINESIDE_INFERENCE__HTTP__PORT": "1"})
    assert load(Sample, file=write(tmp_path, "inference: {anything: goes}\n")).bus.port == 1883


@pytest.mark.parametrize(
    ("text", "variables", "says"),
    [
        ("bus: {prot: 1}", {}, "bus.prot: not a setting; did you mean 'port'?"),
        ("buss: {port: 1}", {}, "buss: not a setting; did you mean 'bus'?"),
        ("topic_bridge: {cameras: {a: {ulr: x, url: y}}}", {}, "cameras.a.ulr: not a setting; did you mean 'url'?"),
        ("topic_bridge: {things: [{nod: x, node: y}]}", {}, "things.0.nod: not a setting; did you mean 'node'?"),
        ("topic_bridge: {things: [{}]}", {}, "things.0.node: must be given"),
        ("bus: {port: 70000}", {}, "bus.port: must be less than or equal to 65535 (got 70000)"),
        ("topic_bridge: {mode: sideways}", {}, "mode: must be 'auto' or 'off' (got 'sideways')"),
        (
            "",
            {"LINESIDE_BUS__PRT": "1"},
            "environment LINESIDE_BUS__PRT: not a setting; did you mean LINESIDE_BUS__PORT?",
        ),
        (
            "",
            {"LINESIDE_BUS__PORT": "x"},
            "LINESIDE_BUS__PORT: bus.port: expected a whole number (got 'x')",
        ),
        ("", {"LINESIDE_TOPIC_BRIDGE__CAMERAS": "{"}, "give lists and groups as JSON"),
        ("[1, 2]", {}, "expected settings by name, got list"),
        ("a: b: c", {}, "not YAML"),
    ],
)
def test_a_problem_names_path_value_and_what_is_allowed(
    tmp_path, environ, text: str, variables: dict[str, str], says: str
) -> None:
    environ(variables)
    found = problems(tmp_path, text)
    assert any(says in problem for problem in found), found


def test_every_problem_is_told_at_once(tmp_path, environ) -> None:
    environ({"LINESIDE_NONSENSE": "1"})
    assert len(problems(tmp_path, "bus: {port: 0, keepalive_s: 0}")) == 3


def test_a_missing_file_is_named(tmp_path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.yaml: cannot be read: No such file"):
        load(Sample, file=tmp_path / "nowhere.yaml")


def test_the_sample_is_the_defaults(tmp_path) -> None:
    text = sample([Sample])
    assert load(Sample, file=write(tmp_path, text)) == load(Sample)
    assert "# TCP port of the broker.\n  #   LINESIDE_BUS__PORT; at least 1, at most 65535\n  port: 1883" in text
    assert yaml.safe_load(text)["topic_bridge"]["http"]["port"] == 8081


def test_the_schema_describes_the_file() -> None:
    document = schema([Sample])
    assert set(document["properties"]) == {"thing", "bus", "log", "topic_bridge"}


def test_sections_are_the_services_of_the_house() -> None:
    assert SECTIONS == ("inference", "topic_bridge", "opcua_bridge", "forwarder", "exporter", "deployer")


def test_boxes_that_were_configured_alike_have_one_digest(tmp_path: Path) -> None:
    one = load(Sample, file=write(tmp_path, "topic_bridge: {cameras: {a: {url: x}, b: {url: y}}}"))
    same = "thing: other\nlog: {level: debug}\nbus: {port: 1883}\ntopic_bridge: {cameras: {b: {url: y}, a: {url: x}}}"
    assert load(Sample, file=write(tmp_path, same)).digest == one.digest
    other = load(Sample, file=write(tmp_path, "topic_bridge: {cameras: {a: {url: x}, b: {url: z}}}"))
    assert other.digest != one.digest
    assert re.fullmatch("[0-9a-f]{32}", one.digest)


@pytest.mark.parametrize("kind", installed(), ids=lambda kind: kind.section)
def test_every_service_has_a_digest(kind: type[Settings]) -> None:
    assert load(kind).digest == load(kind).digest
