"""The simulated PLC and cameras as components: a line to deploy where there is no plant yet. Data only.

As in compose.yaml's profile `bench`; the PLC watches the bus by Greengrass' IPC, for the report of a run.
"""

from lineside.contract import REQUEST_TOPIC, RESULT_TOPIC
from lineside.greengrass.services import PUBSUB
from lineside.recipes.components import (
    ENGINE,
    IPC,
    LOG,
    PREFIX,
    SUBSCRIBE,
    Component,
    Noted,
    Policy,
    limits,
    publish,
    same,
)

STARTUP_S = 600
"""A PLC's address space takes long on a machine that does much else."""
TOPICS = {"InferenceTopicIn": REQUEST_TOPIC, "InferenceTopicOut": RESULT_TOPIC}

CAMERA_SIM = Component(
    name=f"{PREFIX}.CameraSim",
    description="Simulated cameras: they show the parts that the simulated PLC puts before them.",
    images=same("camera-sim"),
    container="lineside-camera-sim",
    dependencies=ENGINE,
    configuration={
        "container": {"memory": "384m", "cpus": "1"},
        "log": LOG,
        "camera_sim": {"http": {"host": "0.0.0.0", "port": "8090"}},  # noqa: S104 - in the container
    },
    options=(("--ipc", "--network", "lineside-plant", "--alias", "camera-sim"),),
    docker=limits(10001),
    startup_s=STARTUP_S,
)

PLC_SIM = Component(
    name=f"{PREFIX}.PlcSim",
    description="A simulated PLC: it feeds parts, and reports runs to `lineside bench --attach`.",
    images=same("plc-sim"),
    container="lineside-plc-sim",
    dependencies=ENGINE,
    configuration={
        **TOPICS,
        "container": {
            "memory": "256m",
            "cpus": "1",
            "port": Noted("8091", "For `lineside bench --attach http://127.0.0.1:8091`, on 127.0.0.1"),
        },
        "bus": IPC,
        "log": LOG,
        "plc_sim": {
            "http": {"host": "0.0.0.0", "port": "8091"},  # noqa: S104 - in the container; the port is published on 127.0.0.1
            "opcua": {"host": "0.0.0.0", "port": "4840"},  # noqa: S104 - in the container
            "camera_url": "http://camera-sim:8090",
            "evidence": "/var/lib/lineside/evidence",
        },
    },
    policies=(
        Policy(
            PUBSUB,
            1,
            "Watches requests and results, for the report of a run",
            SUBSCRIBE,
            (REQUEST_TOPIC, RESULT_TOPIC, f"{RESULT_TOPIC}/error"),
        ),
    ),
    options=(
        ("--ipc", "--network", "lineside-plant"),
        ("--internal-network", "lineside-inside", "--alias", "plc-sim"),
    ),
    docker=(*limits(10001), publish(8091), ("--volume", "lineside-evidence:/var/lib/lineside/evidence:ro,nocopy")),
    startup_s=STARTUP_S,
)

BENCH = (CAMERA_SIM, PLC_SIM)
