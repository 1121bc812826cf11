import json
import re
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel
from typer.testing import CliRunner

from lineside import __version__
from lineside.cli import config
from lineside.settings import SECTIONS, SHARED_SECTIONS
from lineside.wording import PATTERNS
from lineside_inference.models.card import Card
from tests.support.paths import ROOT

GUIDES = ROOT / "docs/how-to"


def run(*arguments: str):
    return CliRunner().invoke(config.app, arguments)


def test_the_sample_is_right_for_every_service(tmp_path: Path) -> None:
    sample = tmp_path / "settings.yaml"
    sample.write_text(run("sample").stdout)
    checked = run("check", str(sample))
    assert checked.exit_code == 0, checked.output
    assert "right for inference, topic_bridge, opcua_bridge, forwarder, exporter, deployer" in checked.output


def test_the_schema_names_every_section() -> None:
    assert set(json.loads(run("schema").stdout)["properties"]) == {
        "thing",
        "bus",
        "log",
        "spool",
        "edge_manager",
        "inference",
        "topic_bridge",
        "opcua_bridge",
        "forwarder",
        "exporter",
        "deployer",
    }


def test_every_problem_of_every_service_is_told_once(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "bus": {"prot": 1883},
                "inference": {"limits": {"pixel": 5}},
                "opcua_bridge": {"triggers": [{"name": "a", "when": {"kind": "edge", "node": "ns=2;s=Part"}}]},
            }
        )
    )
    checked = run("check", str(path))
    assert checked.exit_code == 1
    told = checked.stderr
    assert told.count("bus.prot: not a setting; did you mean 'port'?") == 1
    assert "inference.limits.pixel: not a setting; did you mean 'pixels'?" in told
    assert "nsu=" in told
    assert "Traceback" not in told


def settings_shown(page: str) -> list[str]:
    """Return the parts of settings files that a guide shows."""
    blocks = [block.split("```")[0] for block in (GUIDES / page).read_text(encoding="utf-8").split("```yaml\n")[1:]]
    return [
        block for block in blocks if set(yaml.safe_load(block)) <= {"thing", "bus", "log", *SHARED_SECTIONS, *SECTIONS}
    ]


@pytest.mark.parametrize("page", sorted(page.name for page in GUIDES.glob("*.md") if settings_shown(page.name)))
def test_a_guide_shows_settings_that_are_right(tmp_path: Path, page: str) -> None:
    shown = settings_shown(page)
    assert shown
    for block in shown:
        path = tmp_path / "settings.yaml"
        path.write_text(block, encoding="utf-8")
        checked = run("check", str(path))
        assert checked.exit_code == 0, checked.output


def test_the_sample_shows_what_a_trigger_holds() -> None:
    lines = run("sample").stdout.splitlines()
    start = lines.index("  triggers: []") + 1
    shown = "\n".join(line.removeprefix("  # ") for line in lines[start:])
    for said in (
        "- name:  # Must be given. Name in logs, metrics and /readyz; unique",
        "    kind: counter  # A counter goes up",
        "    # or",
        "    - node:  # Must be given. The other tag",
        '  overrun: "newest"',
        "newest | queue | skip",
    ):
        assert said in shown
    edge = shown.split("    # or")[0]
    assert yaml.safe_load(edge)[0]["when"] == {"kind": "edge", "node": None, "edge": "rising"}


@pytest.mark.parametrize(
    ("when", "told"),
    [
        (
            {"kind": "egde"},
            "when.kind: expected one of edge, change, limit, counter, period, event, window (got 'egde')",
        ),
        ({"kind": "egde"}, "; did you mean 'edge'?"),
        ({"node": "/Objects/Part"}, "when.kind: must be given, one of edge, change, limit,"),
        ({"kind": "edge", "node": "Part"}, "when.node: 'Part' is not a tag: expected"),
        ({"kind": "edge", "nod": "/Objects/Part"}, "when.nod: not a setting; did you mean 'node'?"),
        ({"kind": "limit", "node": "/Objects/T"}, "triggers.0.when: give exactly one of above and below\n"),
    ],
)
def test_a_problem_stands_at_its_place_in_the_file(tmp_path: Path, when: dict[str, str], told: str) -> None:
    trigger = {"name": "a", "when": when, "station": "a", "model": "m", "source": {"kind": "camera", "camera": "c"}}
    path = tmp_path / "settings.yaml"
    path.write_text(yaml.safe_dump({"opcua_bridge": {"triggers": [trigger]}}))
    assert told in run("check", str(path)).stderr


def test_a_wrong_column_of_a_window_is_told_as_it_is_written(tmp_path: Path) -> None:
    source = {"kind": "window", "input": "x", "rate_hz": 10, "samples": 4, "tags": {"a": {"nod": "/Objects/A"}}}
    trigger = {"name": "a", "when": {"kind": "window"}, "station": "a", "model": "m", "source": source}
    path = tmp_path / "settings.yaml"
    path.write_text(yaml.safe_dump({"opcua_bridge": {"triggers": [trigger]}}))
    assert "triggers.0.source.tags.a.nod: not a setting; did you mean 'node'?" in run("check", str(path)).stderr


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("bus: 1883", "bus: expected a group of names and values (got 1883)"),
        ("bus:", "bus: expected a group of names and values (got None)"),
        ("thing: press 7", "thing: expected 1 to 128 letters, digits and : _ - (got 'press 7')"),
        ("thing: 7", "thing: expected text; put it in quotes (got 7)"),
        ("bus: {tls: yes please}", "bus.tls: expected a group of names and values"),
        ("inference: {cameras: [a]}", "inference.cameras: expected names and values (got ['a'])"),
        (
            "inference: {hardware: {cc: '8'}}",
            "cc: expected two numbers with a dot, in quotes, for instance '8.7'",
        ),
        ("forwarder: {destinations: [{name: s, kind: s3, bucket: A}]}", "bucket: expected a bucket's name"),
        ("inference: {triton: {slots: many}}", "triton.slots: expected a whole number (got 'many')"),
        ("opcua_bridge: {triggers: {}}", "opcua_bridge.triggers: expected a list (got {})"),
    ],
)
def test_what_is_wrong_is_said_without_names_of_our_classes(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    said = run("check", str(path)).stderr
    assert told in said
    assert not re.search(r"instance of|Settings|valid dictionary|match pattern|Input should", said)


def patterns(annotation: Any) -> Iterator[str]:
    """Yield every pattern that a setting of this type, or what is in it, must match."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for field in annotation.model_fields.values():
            yield from (item.pattern for item in field.metadata if getattr(item, "pattern", None))
            yield from patterns(field.annotation)
    for part in typing.get_args(annotation):
        for item in (part, *getattr(part, "metadata", ())):
            if isinstance(found := getattr(item, "pattern", None), str):
                yield found
        yield from patterns(part)


def test_every_pattern_of_the_settings_and_the_card_is_said_in_words() -> None:
    used = {pattern for kind in (*config.installed(), Card) for pattern in patterns(kind)}
    assert len(used) > 15
    assert used <= set(PATTERNS)


def test_the_version_is_asked_for_as_everywhere() -> None:
    command = Path(sys.executable).with_name("lineside")
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"lineside {__version__}\n")


def test_an_unknown_variable_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINESIDE_BUS__PRT", "1")
    path = tmp_path / "settings.yaml"
    path.write_text("{}")
    assert run("check", str(path)).stderr == (
        "environment LINESIDE_BUS__PRT: not a setting; did you mean LINESIDE_BUS__PORT?\n"
    )


BOX = """
inference:
  cameras:
    station-1: {url: "http://camera.plant/one.jpg"}
  urls: {hosts: ["pictures.plant:8000"]}
  capture: {masks: {%(mask)s: [[0, 0, 0.5, 0.5]]}}
opcua_bridge:
  triggers:
    - name: a
      when: {kind: edge, node: "/Objects/Part"}
      station: press
      model: m
      source: %(source)s
"""


@pytest.mark.parametrize(
    ("source", "mask", "told"),
    [
        (
            "{kind: camera, camera: station-2}",
            "press",
            "camera: 'station-2' is no camera of inference.cameras; did you",
        ),
        (
            "{kind: url, url: 'http://picture.plant:8000/a.jpg'}",
            "press",
            "host 'picture.plant' is not in inference.urls",
        ),
        ("{kind: file, path: a.jpg}", "press", "inference.file_roots is empty"),
        (
            "{kind: camera, camera: station-1}",
            "statoin-1",
            "masks.statoin-1: is neither a camera nor a station of this",
        ),
    ],
)
def test_what_one_section_names_and_the_other_lacks_is_told(tmp_path: Path, source: str, mask: str, told: str) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(BOX % {"source": source, "mask": mask})
    checked = run("check", str(path))
    assert checked.exit_code == 1, checked.output
    assert told in checked.stderr
    assert checked.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "source", ["{kind: camera, camera: station-1}", "{kind: url, url: 'http://pictures.plant:8000/'}"]
)
@pytest.mark.parametrize("mask", ["press", "station-1", "another-machines"])
def test_what_the_other_section_has_is_right(tmp_path: Path, source: str, mask: str) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(BOX % {"source": source, "mask": mask})
    checked = run("check", str(path))
    assert checked.exit_code == 0, checked.output


def test_a_section_of_another_machines_file_is_not_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "settings.yaml"
    bridge = BOX.partition("opcua_bridge")
    path.write_text((bridge[1] + bridge[2]) % {"source": "{kind: camera, camera: station-2}"})
    assert run("check", str(path)).exit_code == 0
    monkeypatch.setenv("LINESIDE_INFERENCE__CAMERAS", '{"station-2": {"url": "http://camera.plant/"}}')
    assert run("check", str(path)).exit_code == 0
    monkeypatch.setenv("LINESIDE_INFERENCE__CAMERAS", '{"station-3": {"url": "http://camera.plant/"}}')
    assert "'station-2' is no camera" in run("check", str(path)).stderr


def test_a_section_given_twice_is_refused_by_every_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("bus: {port: 2883}\nbus: {host: broker}\n")
    checked = run("check", str(path))
    assert checked.exit_code == 1
    assert (
        checked.stderr
        == f"{path}: 'bus' is given twice, in lines 1 and 2: the first would be lost; write one of them\n"
    )
    path.write_text("{}")
    monkeypatch.setenv("LINESIDE_INFERENCE__CAMERAS", '{"a": {"url": "http://a/"}, "a": {"url": "http://b/"}}')
    assert "'a' is given twice in one group" in run("check", str(path)).stderr
