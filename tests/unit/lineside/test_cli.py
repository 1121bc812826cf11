import json
import os
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from lineside.cli import config

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("LINESIDE_")]:
        monkeypatch.delenv(name)


def run(*arguments: str):
    return CliRunner().invoke(config.app, arguments)


def test_the_sample_is_right_for_every_service(tmp_path: Path) -> None:
    sample = tmp_path / "settings.yaml"
    sample.write_text(run("sample").stdout)
    checked = run("check", str(sample))
    assert checked.exit_code == 0, checked.output
    assert "right for inference, topic_bridge, opcua_bridge" in checked.output


def test_the_schema_names_every_section() -> None:
    assert set(json.loads(run("schema").stdout)["properties"]) == {
        "thing",
        "bus",
        "log",
        "inference",
        "topic_bridge",
        "opcua_bridge",
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


def test_the_guide_to_connecting_a_plc_shows_settings_that_are_right(tmp_path: Path) -> None:
    text = (ROOT / "docs/how-to/connect-a-plc.md").read_text(encoding="utf-8")
    path = tmp_path / "settings.yaml"
    path.write_text(text.split("```yaml\n")[1].split("```")[0])
    checked = run("check", str(path))
    assert checked.exit_code == 0, checked.output
