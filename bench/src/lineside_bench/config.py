"""The one settings file of the simulated box, which every service reads."""

from pathlib import Path
from typing import Any

import yaml

from lineside_bench.plc import NAMESPACE, SPINDLE_TAGS
from lineside_bench.ports import HOST, Ports
from lineside_bench.spindle import RATE, TAGS, UNITS, WINDOW

MODEL = "surface-defect"
SPINDLE = "spindle"
"""The station whose windows of samples are judged all the time, beside the parts."""
SPINDLE_MODEL = "spindle-anomaly"
MARGIN_MS = 40
"""Kept for the write-back: it, and the publishing interval that a trigger may have waited for, must fit in."""

IMAGES, SPOOL, CAPTURE = "images", "spool", "capture"
"""Folders of a run: where requests may name files, where evidence waits, where it is shipped to."""
CAPTURE_RATE = 0.05
"""Share of the parts whose evidence is kept beside that of each fail and unknown."""
SPOOL_BYTES = 256 * 1024 * 1024


def station_names(stations: int) -> list[str]:
    """Return the stations' names, as messages and cameras carry them."""
    return [f"station-{number}" for number in range(1, stations + 1)]


def settings_document(
    ports: Ports, *, stations: int, deadline_ms: float, repository: Path, work: Path
) -> dict[str, Any]:
    """Return the settings; `repository` is the model repository, `work` the run's own folder."""
    camera = f"http://{HOST}:{ports['camera']}"
    return {
        "thing": "lineside-bench",
        "bus": {"host": HOST, "port": ports["mqtt"]},
        "log": {"format": "json"},
        "spool": {"folder": str(work / SPOOL), "max_bytes": SPOOL_BYTES},
        "edge_manager": {"CaptureDataPushPeriodSeconds": 1},
        "inference": {
            "http": {"host": HOST, "port": ports["inference"]},
            "triton": {"url": f"{HOST}:{ports['triton_grpc']}", "shared_memory": "auto"},
            "model_repository": str(repository),
            "cameras": {name: {"url": f"{camera}/{name}/snapshot.jpg"} for name in station_names(stations)},
            "file_roots": [str(work / IMAGES)],
            "policy": {"capture": {"rate": CAPTURE_RATE, "always": ["fail", "unknown"]}},
        },
        "topic_bridge": {
            "http": {"host": HOST, "port": ports["topic_bridge"]},
            "inference_url": f"http://{HOST}:{ports['inference']}",
        },
        "opcua_bridge": {
            "http": {"host": HOST, "port": ports["opcua_bridge"]},
            "endpoint": f"opc.tcp://{HOST}:{ports['opcua']}",
            "security": {"policy": "none"},
            "publishing_interval_ms": 20,
            "triggers": [
                _trigger(name, f"nsu={NAMESPACE};s=Station{number}", deadline_ms)
                for number, name in enumerate(station_names(stations), start=1)
            ]
            + [_spindle_trigger(deadline_ms)],
        },
        "forwarder": {
            "http": {"host": HOST, "port": ports["forwarder"]},
            "destinations": [{"name": "disk", "kind": "disk", "path": str(work / CAPTURE)}],
        },
        "exporter": {"http": {"host": HOST, "port": ports["exporter"]}},
    }


def write_settings(path: Path, document: dict[str, Any]) -> None:
    """Write the settings as YAML."""
    path.write_text(yaml.safe_dump(document, sort_keys=False, width=120), encoding="utf-8")


def _trigger(name: str, node: str, deadline_ms: float) -> dict[str, Any]:
    return {
        "name": name,
        "when": {"kind": "edge", "node": f"{node}.PartPresent"},
        "debounce_ms": 20,
        "station": name,
        "model": MODEL,
        "source": {"kind": "camera", "camera": name},
        "deadline_ms": deadline_ms,
        "margin_ms": MARGIN_MS,
        "sample": {"part_id": f"{node}.PartId"},
        "write_back": {
            "verdict": f"{node}.Verdict",
            "confidence": f"{node}.Confidence",
            "request_id": f"{node}.RequestId",
            "done": f"{node}.Done",
        },
    }


def _spindle_trigger(deadline_ms: float) -> dict[str, Any]:
    """Return the trigger of one window after the other; the spindle has no nodes for verdicts."""
    columns = zip(TAGS, SPINDLE_TAGS, UNITS, strict=True)
    return {
        "name": SPINDLE,
        "when": {"kind": "window"},
        "station": SPINDLE,
        "model": SPINDLE_MODEL,
        "source": {
            "kind": "window",
            "input": "window",
            "tags": {name: {"node": f"nsu={NAMESPACE};s=Spindle.{tag}", "unit": unit} for name, tag, unit in columns},
            "rate_hz": RATE,
            "samples": WINDOW,
        },
        "deadline_ms": deadline_ms,
        "margin_ms": MARGIN_MS,
    }
