"""The bridge's settings for the load: windows over all tags, and edges beside them."""

from typing import Any

COLUMNS = 20
"""Tags of one window."""
SAMPLES = 10
STRIDE_S = 5.0
DEADLINE_MS = 400


def bridge_settings(
    endpoint: str, uri: str, *, nodes: int, rate_hz: float, edges: int = 0, publishing_ms: float | None = None
) -> dict[str, Any]:
    """Return the section `opcua_bridge`: a window of 20 tags x 10 samples every 5 s each, so that all tags are read."""
    windows = [
        {
            "name": f"window-{first // COLUMNS}",
            "when": {"kind": "window", "stride": max(1, round(STRIDE_S * rate_hz))},
            "station": f"window-{first // COLUMNS}",
            "model": "spindle",
            "source": {
                "kind": "window",
                "input": "window",
                "tags": {f"c{n}": f"nsu={uri};s=C{n}" for n in range(first, min(first + COLUMNS, nodes))},
                "rate_hz": rate_hz,
                "samples": SAMPLES,
            },
            "deadline_ms": DEADLINE_MS,
        }
        for first in range(0, nodes, COLUMNS)
    ]
    triggers = [
        {
            "name": f"edge-{number}",
            "when": {"kind": "edge", "node": f"nsu={uri};s=T{number}"},
            "debounce_ms": 0,
            "station": f"edge-{number}",
            "model": "surface-defect",
            "source": {"kind": "camera", "camera": f"edge-{number}"},
            "deadline_ms": DEADLINE_MS,
        }
        for number in range(edges)
    ]
    publishing = {} if publishing_ms is None else {"publishing_interval_ms": publishing_ms}
    return {"endpoint": endpoint, "security": {"policy": "none"}, "triggers": windows + triggers, **publishing}
