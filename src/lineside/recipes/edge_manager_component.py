"""SageMaker Edge Manager's component under its own name, so that its dependants and their deployments stay as they are.

A private component takes the place of the public one of its name for every dependant (AWS IoT Greengrass' reference of
component recipes). Its version is above the last public one, 1.3.6, and its configuration has the keys and the
defaults of the public one. What it runs is the inference service, which serves the agent's API on `UnixSocketName`,
and a forwarder beside it, which carries captures to `BucketName`; both as the user that components run as, to whom
clients' sockets, models and segments of shared memory belong. Triton is another user, who opens no memory of theirs:
tensors go to it as bytes.
"""

from lineside.edge_manager.settings import EdgeManagerSettings
from lineside.greengrass.configuration import EDGE_MANAGER
from lineside.recipes.components import CLIENT_MODELS, ENGINE, LOG, Component, Noted, ours, same

VERSION = "1.4.0"
WORK = f"/greengrass/v2/work/{EDGE_MANAGER}"
"""The public component's work folder, which two of its defaults name."""


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


DEFAULTS = {
    **{
        name: _text(field.default)
        for name, field in EdgeManagerSettings.model_fields.items()
        if name[0].isupper() and name not in {"DeviceFleetName", "BucketName"}
    },
    "CaptureDataDiskPath": f"{WORK}/capture",
    "LocalDataRootPath": WORK,
}
"""The public component's keys and defaults, as text; a deployment must give DeviceFleetName and BucketName itself."""

AGENT = Component(
    name=EDGE_MANAGER,
    description="The API of SageMaker Edge Manager's agent, served by Lineside on a unix socket of this machine.",
    images=same("inference"),
    container="lineside-edge-manager",
    dependencies=(*ENGINE, ours("Triton", "It runs the models that clients load", is_hard=True)),
    configuration={
        **DEFAULTS,
        "container": {"memory": "1g", "cpus": "2"},
        "log": LOG,
        "edge_manager": {"model_folder": Noted(CLIENT_MODELS, "Copies of clients' models, for Triton")},
        "inference": {"triton": {"url": "triton:8001"}},
        "forwarder": {"http": {"port": Noted("8089", "Of the forwarder's health, on 127.0.0.1")}},
    },
    options=(
        ("--ipc", "--work", "{work:path}", "--socket-file", '"{configuration:/UnixSocketName}"'),
        ("--share-if-there", '"{configuration:/CaptureDataDiskPath}"'),
        ("--share-if-there", '"{configuration:/LocalDataRootPath}"'),
        ("--internal-network", "lineside-engine"),
    ),
    docker=(
        # Clients' System V shared memory is this machine's.
        ("--ipc", "host"),
        ("--memory", '"{configuration:/container/memory}"', "--pids-limit", "128"),
        ("--volume", f"lineside-client-models:{CLIENT_MODELS}"),
    ),
    forwarder="forwarder",
    has_clients=True,
    room_gib=3,
    install_s=1800,
    startup_s=900,
    stop_s=30,
    version=VERSION,
    is_classic_only=True,
)
