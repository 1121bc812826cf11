"""What is wrong with a trigger's kind or its conditions stops the start, with the path to it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from lineside.errors import SettingsError
from lineside.settings import load
from lineside_opcua_bridge.settings import Settings

NODE = "nsu=urn:plant;s=Tag"
WINDOW = {"kind": "window", "input": "x", "tags": {"a": "nsu=urn:plant;s=A"}, "rate_hz": 10, "samples": 4}
WRITTEN = {"verdict": "nsu=u;s=v", "done": "nsu=u;s=d"}


def read(tmp_path: Path, **changes: Any) -> Settings:
    trigger = {
        "name": "t",
        "station": "s",
        "model": "m",
        "source": {"kind": "camera", "camera": "c"},
        "when": {"kind": "edge", "node": NODE},
    }
    path = tmp_path / "lineside.yaml"
    path.write_text(yaml.safe_dump({"opcua_bridge": {"triggers": [trigger | changes]}}), encoding="utf-8")
    return load(Settings, file=path)


@pytest.mark.parametrize(
    ("changes", "seconds"),
    [
        ({}, 0.02),
        ({"debounce_ms": 5}, 0.005),
        ({"when": {"kind": "counter", "node": NODE}}, 0.0),
        ({"when": {"kind": "counter", "node": NODE}, "debounce_ms": 7}, 0.007),
    ],
)
def test_only_an_edge_bounces(tmp_path: Path, changes: dict[str, Any], seconds: float) -> None:
    (trigger,) = read(tmp_path, **changes).opcua_bridge.triggers
    assert trigger.debounce_s() == pytest.approx(seconds)


@pytest.mark.parametrize(
    "when",
    [
        {"kind": "edge", "node": NODE, "edge": "falling"},
        {"kind": "change", "node": "/Objects/Press/PartId"},
        {"kind": "limit", "node": NODE, "below": -5, "hysteresis": 0.5},
        {"kind": "counter", "node": NODE, "wraps_at": 65535},
        {"kind": "period", "every_ms": 100},
        {"kind": "event", "event_type": "i=2130", "fields": {"part_id": "Message"}, "min_severity": 200},
        {"kind": "window", "stride": 2},
    ],
)
def test_every_kind(tmp_path: Path, when: dict[str, Any]) -> None:
    (trigger,) = read(tmp_path, when=when, source=WINDOW).opcua_bridge.triggers
    assert trigger.when.model_dump(exclude_unset=True) == when


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"when": {"kind": "edge", "node": NODE, "edge": "both"}},
            "triggers.0.when.edge: must be 'rising' or 'falling' (got 'both')",
        ),
        ({"when": {"kind": "limit", "node": NODE}}, "give exactly one of above and below"),
        ({"when": {"kind": "limit", "node": NODE, "above": 1, "below": 2}}, "give exactly one of above and below"),
        ({"when": {"kind": "limit", "node": NODE, "above": float("nan")}}, "triggers.0.when.above"),
        ({"when": {"kind": "counter", "node": NODE, "wraps_at": 0}}, "triggers.0.when.wraps_at"),
        ({"when": {"kind": "period", "every_ms": 1}}, "triggers.0.when.every_ms"),
        ({"when": {"kind": "event", "min_severity": 0}}, "triggers.0.when.min_severity"),
        ({"when": {"kind": "window"}}, "needs source.kind 'window', not 'camera'"),
        ({"only_if": [{"node": NODE}]}, "give at least one of equals, not_equals, above and below"),
        ({"only_if": [{"node": NODE, "above": 5, "below": 5}]}, "nothing is above 5 and below 5"),
        ({"source": WINDOW | {"tags": {"a": NODE, "b": NODE}}}, f"given for more than one column: {NODE}"),
        ({"source": WINDOW | {"samples": 4096}}, "trigger 't': 4096 samples of 1 tags are 4096 values"),
        ({"overrun": "queue", "write_back": WRITTEN}, "overrun 'queue' needs write_back.part_id"),
        ({"overrun": "skip", "write_back": WRITTEN}, "overrun 'skip' needs write_back.part_id"),
        ({"write_back": WRITTEN | {"part_id": "nsu=u;s=p"}}, "write_back.part_id needs sample.part_id"),
        (
            {"write_back": WRITTEN | {"part_id": "nsu=u;s=p"}, "sample": {"part_id": "nsu=u;s=p"}},
            "write_back.part_id and sample.part_id are one node",
        ),
    ],
)
def test_a_wrong_one_is_named(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, **changes)
    assert says in str(caught.value)
