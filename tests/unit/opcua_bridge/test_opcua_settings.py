"""What is wrong in the settings stops the start, and is named."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from lineside.contract import FileSource
from lineside.errors import SettingsError
from lineside.settings import load
from lineside_opcua_bridge.settings import Settings


def trigger(number: int = 1, **changes: Any) -> dict[str, Any]:
    node = f"nsu=urn:lineside:bench;s=Station{number}"
    return {
        "name": f"station-{number}",
        "when": {"kind": "edge", "node": f"{node}.PartPresent"},
        "station": f"station-{number}",
        "model": "surface-defect",
        "source": {"kind": "camera", "camera": f"station-{number}"},
        "sample": {"part_id": f"{node}.PartId"},
        "write_back": {"verdict": f"{node}.Verdict", "done": f"{node}.Done"},
    } | changes


def read(tmp_path: Path, *triggers: dict[str, Any], **section: Any) -> Settings:
    path = tmp_path / "lineside.yaml"
    path.write_text(yaml.safe_dump({"opcua_bridge": {"triggers": list(triggers)} | section}), encoding="utf-8")
    return load(Settings, file=path)


def test_defaults_need_no_file() -> None:
    settings = load(Settings).opcua_bridge
    assert settings.http.port == 8082
    assert settings.endpoint == "opc.tcp://127.0.0.1:4840"
    assert settings.triggers == ()


def test_a_trigger_as_documented(tmp_path: Path) -> None:
    (read_back,) = read(tmp_path, trigger(deadline_ms=400, margin_ms=20, debounce_ms=20)).opcua_bridge.triggers
    assert read_back.write_back.nodes() == {
        "verdict": "nsu=urn:lineside:bench;s=Station1.Verdict",
        "done": "nsu=urn:lineside:bench;s=Station1.Done",
    }


def test_a_file_of_raw_pixels_says_how_they_lie(tmp_path: Path) -> None:
    kind = "application/x-pfnc; format=Mono12; width=64; height=48"
    source = {"kind": "file", "path": "a.raw", "content_type": kind}
    (with_it, without) = read(
        tmp_path, trigger(1, source=source), trigger(2, source={"kind": "file", "path": "a.png"})
    ).opcua_bridge.triggers
    asked = [FileSource.model_validate(each.source.model_dump()).model_dump() for each in (with_it, without)]
    assert asked == [source, {"kind": "file", "path": "a.png"}]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"when": {"kind": "edge", "node": "ns=2;s=Station1.PartPresent"}},
            "write nsu=<namespace URI>;s=Station1.PartPresent",
        ),
        ({"margin_ms": 400}, "margin_ms 400 leaves no time before deadline_ms 400"),
        ({"deadline_ms": 0}, "greater than 0"),
        (
            {"source": {"kind": "camera", "camera": "x", "url": "http://x"}},
            "triggers.0.source.url: not a setting",
        ),
        ({"source": {"kind": "inline"}}, "triggers.0.source"),
        ({"stations": "x"}, "did you mean 'station'?"),
        ({"name": "a b"}, "triggers.0.name"),
        ({"sample": {"part_id": "PartId"}}, "triggers.0.sample.part_id"),
        ({"write_back": {"verdict": "nsu=u;s=v"}}, "triggers.0.write_back.done: must be given"),
        ({"write_back": {"verdict": "nsu=u;s=v", "done": "nsu=u;s=v"}}, "for two purposes"),
        (
            {"write_back": {"verdict": "nsu=u;s=v", "done": "nsu=urn:lineside:bench;s=Station1.PartPresent"}},
            "is the trigger node of trigger 'station-1' and would be written as write_back.done",
        ),
    ],
)
def test_a_wrong_trigger_is_named(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, trigger(**changes))
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("second", "says"),
    [
        ({"name": "station-1"}, "trigger names must be unique; given more than once: station-1"),
        (
            {"when": {"kind": "edge", "node": "nsu=urn:lineside:bench;s=Station1.PartPresent"}},
            "is the trigger of 'station-1' and of",
        ),
        (
            {"write_back": {"verdict": "nsu=u;s=v", "done": "nsu=urn:lineside:bench;s=Station1.Done"}},
            "Station1.Done would be written for two purposes",
        ),
    ],
)
def test_two_triggers_share_nothing(tmp_path: Path, second: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, trigger(1), trigger(2, **second))
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://127.0.0.1:4840",
        "opc.tcp://127.0.0.1",
        "opc.tcp://:4840",
        "opc.tcp://x:99999",
        "opc.tcp://u:p@x:4840",
        "",
    ],
)
def test_a_wrong_endpoint_is_refused(tmp_path: Path, endpoint: str) -> None:
    with pytest.raises(SettingsError, match=r"opcua_bridge\.endpoint"):
        read(tmp_path, endpoint=endpoint)
