"""The deployment of a bench's line as Greengrass components: what a plant's deployment merges, for the simulated plant.

`docker/config/bench-deployment.yaml` is this, written by `python -m lineside_bench.deployment FILE`; the recipes are
those of `lineside recipe render --bench --model surface-defect=1.0.0`.
"""

import sys
from pathlib import Path
from typing import Any

from lineside import __version__
from lineside_bench import containers
from lineside_bench.config import as_yaml, settings_document
from lineside_bench.options import Options
from lineside_bench.simulators.settings import STATIONS

HEAD = """\
# The whole line of a bench as Greengrass components: for `lineside greengrass rehearse`, or a core without a plant.
# Written by `python -m lineside_bench.deployment docker/config/bench-deployment.yaml`; what is in it is decided there.
"""
MODEL_VERSION = "1.0.0"
THRESHOLDS = {"thresholds": {"default": 0.75}}
NUCLEUS = "2.12.6"


def document(*, deadline_ms: float | None = None) -> dict[str, Any]:
    """Return the deployment; `deadline_ms` of a part, the bench's own where None."""
    deadline_ms = Options().deadline_ms if deadline_ms is None else deadline_ms
    settings = settings_document(containers.LAYOUT, stations=STATIONS, deadline_ms=deadline_ms, windows=False)
    inference, bridge = settings["inference"], settings["opcua_bridge"]
    merges = {
        # The bench's CPU Triton, and no Jetson's.
        "Triton": {"container": {"memory": "2g", "cpus": "2"}},
        "Inference": {"inference": {"cameras": inference["cameras"]}},
        # Here the shadow changes one name of the policy and leaves the others.
        "TopicBridge": {"topic_bridge": {"steering": {"configuration": {**inference["policy"], **THRESHOLDS}}}},
        "OpcUaBridge": {"opcua_bridge": {name: value for name, value in bridge.items() if name != "http"}},
        "Forwarder": {"edge_manager": settings["edge_manager"]},
        "Exporter": {},
        "CameraSim": {},
        "PlcSim": {"plc_sim": {"deadline_ms": deadline_ms}},
    }
    components = {f"com.lineside.{name}": _wanted(__version__, merge) for name, merge in merges.items()}
    return {
        "deploymentName": "bench",
        "components": {
            "aws.greengrass.Nucleus": _wanted(NUCLEUS, {"interpolateComponentConfiguration": True}),
            "com.lineside.Model.SurfaceDefect": _wanted(MODEL_VERSION, {}),
            **components,
        },
        "deploymentPolicies": {"failureHandlingPolicy": "ROLLBACK"},
    }


def text() -> str:
    """Return the file's content."""
    return HEAD + as_yaml(document())


def _wanted(version: str, merge: dict[str, Any]) -> dict[str, Any]:
    return {"componentVersion": version, **({"configurationUpdate": {"merge": merge}} if merge else {})}


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(text(), encoding="utf-8")
