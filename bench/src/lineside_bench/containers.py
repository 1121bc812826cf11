"""The settings of the containers on a bench: the same line as ever, its peers by the names that compose gives them.

`docker/config/bench.yaml` is this, written by `python -m lineside_bench.containers FILE`. User names and passwords of
the broker are not in it: each service gets its own by the environment.
"""

import sys
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lineside_bench.config import BoxLayout, as_yaml, settings_document
from lineside_bench.options import Options
from lineside_bench.processes.ports import DEFAULTS
from lineside_bench.simulators.settings import CONTROL_PORT, STATIONS

HEAD = """\
# Settings of all services in the containers of a bench: the simulated PLC and cameras, one file for the whole box.
# Written by `python -m lineside_bench.containers docker/config/bench.yaml`; what is in it is decided there.
"""
EVERYWHERE = "0.0.0.0"  # noqa: S104 - inside a container; compose publishes the ports of loopback only
LIB = Path("/var/lib/lineside")
LAYOUT = BoxLayout(
    http=MappingProxyType(
        {
            "inference": {
                "host": EVERYWHERE,
                "port": DEFAULTS["inference"],
                "auth": "none",
                # Nobody needs a token here, so only these names are answered: a page of a browser beside it has none.
                "allowed_hosts": ["inference"],
            },
            "topic_bridge": {"host": EVERYWHERE, "port": DEFAULTS["topic_bridge"]},
            "opcua_bridge": {"host": EVERYWHERE, "port": DEFAULTS["opcua_bridge"]},
            "forwarder": {"host": EVERYWHERE, "port": DEFAULTS["forwarder"]},
            "exporter": {"host": EVERYWHERE, "port": DEFAULTS["exporter"]},
        }
    ),
    broker=("broker", DEFAULTS["mqtt"]),
    triton=f"triton:{DEFAULTS['triton_grpc']}",
    triton_http=f"http://triton:{DEFAULTS['triton_http']}",
    triton_metrics=f"http://triton:{DEFAULTS['triton_metrics']}",
    inference=f"http://inference:{DEFAULTS['inference']}",
    services=MappingProxyType(
        {
            "inference": f"http://inference:{DEFAULTS['inference']}",
            "topic-bridge": f"http://topic-bridge:{DEFAULTS['topic_bridge']}",
            "opcua-bridge": f"http://opcua-bridge:{DEFAULTS['opcua_bridge']}",
            "forwarder": f"http://forwarder:{DEFAULTS['forwarder']}",
        }
    ),
    camera=f"http://camera-sim:{DEFAULTS['camera']}",
    plc=f"opc.tcp://plc-sim:{DEFAULTS['opcua']}/",
    models=Path("/models"),
    images=LIB / "images",
    spool=LIB / "spool",
    evidence=LIB / "evidence",
    state=LIB / "state",
    history=LIB / "state" / "history",
)


def document() -> dict[str, Any]:
    """Return the settings of the containers on a bench, the simulators' among them."""
    deadline_ms = Options().deadline_ms
    return {
        **settings_document(LAYOUT, stations=STATIONS, deadline_ms=deadline_ms),
        "plc_sim": {
            "http": {"host": EVERYWHERE, "port": CONTROL_PORT},
            "opcua": {"host": EVERYWHERE, "port": DEFAULTS["opcua"]},
            "camera_url": LAYOUT.camera,
            "inference_url": LAYOUT.inference,
            "evidence": str(LAYOUT.evidence),
            "stations": STATIONS,
            "deadline_ms": deadline_ms,
        },
        "camera_sim": {"http": {"host": EVERYWHERE, "port": DEFAULTS["camera"]}, "stations": STATIONS},
    }


def text() -> str:
    """Return the file's content."""
    return HEAD + as_yaml(document())


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(text(), encoding="utf-8")
