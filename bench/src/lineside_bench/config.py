"""The one settings file of the simulated box, which every service reads."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lineside_bench.options import station_names
from lineside_bench.parts.spindle import NODES, RATE, TAGS, UNITS, WINDOW
from lineside_bench.plcs.station import NAMESPACE
from lineside_bench.processes.ports import HOST, Ports

MODEL = "surface-defect"
SERVICES = ("inference", "topic_bridge", "opcua_bridge", "forwarder", "exporter")
"""The services of the line, by their sections; the deployer is none: nothing is deployed to a bench."""
SPINDLE = "spindle"
"""The station whose windows of samples are judged all the time, beside the parts."""
SPINDLE_MODEL = "spindle-anomaly"
MARGIN_MS = 40
"""Kept for the write-back: it, and the publishing interval that a trigger may have waited for, must fit in."""

IMAGES, SPOOL, CAPTURE, HISTORY = "images", "spool", "capture", "history"
"""Folders of a run: where requests may name files, where evidence waits, where it is shipped to, the parts' record."""
CAPTURE_RATE = 0.05
"""Share of the parts whose evidence is kept beside that of each fail and unknown."""
SPOOL_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True)
class BoxLayout:
    """The addresses of the peers and the folders of one box, as its services see them."""

    http: Mapping[str, Mapping[str, Any]]
    """What each service's HTTP server listens on, by the service's section."""
    broker: tuple[str, int] | None
    """Host and port; None: the services are Greengrass components, and Greengrass carries their messages."""
    triton: str
    """Host and port of its gRPC endpoint."""
    triton_http: str
    triton_metrics: str
    inference: str
    services: Mapping[str, str]
    """The services that the exporter reads, by name."""
    camera: str
    """Address of the HTTP cameras; empty: there are none."""
    plc: str
    models: Path
    images: Path
    """Where requests may name files."""
    spool: Path
    evidence: Path
    """Where evidence is shipped to."""
    state: Path | None = None
    """Where inference keeps the policy in force; None: nowhere."""
    history: Path | None = None
    """Where inference keeps the record of every part; None: nowhere."""


def on_loopback(ports: Ports, *, repository: Path, work: Path) -> BoxLayout:
    """Return the layout of a line of processes here; `repository` holds the models, `work` is the run's folder."""
    return BoxLayout(
        http={section: {"host": HOST, "port": ports[section]} for section in SERVICES},
        broker=(HOST, ports["mqtt"]) if "mqtt" in ports.chosen else None,
        triton=f"{HOST}:{ports['triton_grpc']}",
        triton_http=f"http://{HOST}:{ports['triton_http']}",
        triton_metrics=f"http://{HOST}:{ports['triton_metrics']}",
        inference=f"http://{HOST}:{ports['inference']}",
        services={name.replace("_", "-"): f"http://{HOST}:{ports[name]}" for name in SERVICES if name != "exporter"},
        camera=f"http://{HOST}:{ports['camera']}" if "camera" in ports.chosen else "",
        plc=f"opc.tcp://{HOST}:{ports['opcua']}",
        models=repository,
        images=work / IMAGES,
        spool=work / SPOOL,
        evidence=work / CAPTURE,
        history=work / HISTORY,
    )


def settings_document(
    layout: BoxLayout,
    *,
    stations: int,
    deadline_ms: float,
    windows: bool = True,
    concurrency: int | None = None,
    margin_ms: float = MARGIN_MS,
    cameras: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """Return the settings of a box of this layout; with `windows` the spindle's windows are judged all the time.

    `concurrency` is how many requests the inference service works on at once; None leaves that to it. `cameras` are
    other cameras than the layout's, by station; then the evidence of every part is kept, by which its picture is
    compared with the part.
    """
    named = cameras or {name: {"url": f"{layout.camera}/{name}/snapshot.jpg"} for name in station_names(stations)}
    state: dict[str, Any] = {"state_dir": str(layout.state)} if layout.state else {}
    history = {"history": {"folder": str(layout.history)}} if layout.history else {}
    return {
        "thing": "lineside-bench",
        "bus": {"host": layout.broker[0], "port": layout.broker[1]} if layout.broker else {"transport": "ipc"},
        "log": {"format": "json"},
        "spool": {"folder": str(layout.spool), "max_bytes": SPOOL_BYTES},
        "edge_manager": {"CaptureDataPushPeriodSeconds": 1},
        "inference": {
            "http": dict(layout.http["inference"]),
            "triton": {"url": layout.triton, "shared_memory": "auto"},
            "model_repository": str(layout.models),
            **state,
            **({"limits": {"concurrency": concurrency}} if concurrency is not None else {}),
            **history,
            "cameras": {name: dict(camera) for name, camera in named.items()},
            "file_roots": [str(layout.images)],
            "policy": {"capture": {"rate": 1.0 if cameras else CAPTURE_RATE, "always": ["fail", "unknown"]}},
        },
        "topic_bridge": {"http": dict(layout.http["topic_bridge"]), "inference_url": layout.inference},
        "opcua_bridge": {
            "http": dict(layout.http["opcua_bridge"]),
            "endpoint": layout.plc,
            "security": {"policy": "none"},
            "publishing_interval_ms": 20,
            "triggers": [
                _trigger(name, f"nsu={NAMESPACE};s=Station{number}", deadline_ms, margin_ms)
                for number, name in enumerate(station_names(stations), start=1)
            ]
            + [_spindle_trigger(deadline_ms, margin_ms)] * windows,
        },
        "forwarder": {
            "http": dict(layout.http["forwarder"]),
            "destinations": [{"name": "disk", "kind": "disk", "path": str(layout.evidence)}],
        },
        "exporter": {
            "http": dict(layout.http["exporter"]),
            "services": dict(layout.services),
            "triton": {"url": layout.triton_http, "metrics_url": layout.triton_metrics},
        },
    }


def write_settings(path: Path, document: Mapping[str, Any]) -> None:
    """Write the settings as YAML."""
    path.write_text(as_yaml(document), encoding="utf-8")


def as_yaml(document: Mapping[str, Any]) -> str:
    """Return the settings as YAML, in their order."""
    return yaml.safe_dump(dict(document), sort_keys=False, width=120)


def _trigger(name: str, node: str, deadline_ms: float, margin_ms: float) -> dict[str, Any]:
    return {
        "name": name,
        "when": {"kind": "edge", "node": f"{node}.PartPresent"},
        "debounce_ms": 20,
        "station": name,
        "model": MODEL,
        "source": {"kind": "camera", "camera": name},
        "deadline_ms": deadline_ms,
        "margin_ms": margin_ms,
        "sample": {"part_id": f"{node}.PartId"},
        "write_back": {
            "verdict": f"{node}.Verdict",
            "confidence": f"{node}.Confidence",
            "request_id": f"{node}.RequestId",
            "part_id": f"{node}.JudgedId",
            "done": f"{node}.Done",
        },
    }


def _spindle_trigger(deadline_ms: float, margin_ms: float) -> dict[str, Any]:
    """Return the trigger of one window after the other; the spindle has no nodes for verdicts."""
    columns = zip(TAGS, NODES, UNITS, strict=True)
    return {
        "name": SPINDLE,
        "when": {"kind": "window"},
        "station": SPINDLE,
        "model": SPINDLE_MODEL,
        "source": {
            "kind": "window",
            "input": "window",
            "tags": {name: {"node": f"nsu={NAMESPACE};s={node}", "unit": unit} for name, node, unit in columns},
            "rate_hz": RATE,
            "samples": WINDOW,
        },
        "deadline_ms": deadline_ms,
        "margin_ms": margin_ms,
    }
