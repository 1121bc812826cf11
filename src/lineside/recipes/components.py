"""The components: what each is made of, needs, may do and is configured by. Data only; `rendering` makes recipes of it.

A container gets here what it gets in compose.yaml: networks, volumes, limits, users (a test compares). What differs is
Greengrass': its socket instead of the broker, and the forwarder on this machine's own network, because Greengrass'
credentials and Stream Manager answer on the loopback only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lineside.contract import (
    OUTCOME_TOPIC,
    REQUEST_TOPIC,
    RESULT_TOPIC,
    policy_topic,
    reported_policy_topic,
    status_topic,
)
from lineside.greengrass.services import DOCKER_MANAGER, MQTT_PROXY, PUBSUB, SHADOWS, TOKEN_EXCHANGE

PREFIX = "com.lineside"
THING = "{iot:thingName}"
SHADOW_NAME = "lineside"
L4T = "36"
"""The L4T release of the JetPack that the image triton-l4t is for: JetPack 6."""
AARCH64, AMD64 = "aarch64", "amd64"
ARCHITECTURES = (AARCH64, AMD64)


@dataclass(frozen=True)
class Noted:
    """A value of the configuration with what a reader would ask about it."""

    value: Any
    note: str


@dataclass(frozen=True)
class Dependency:
    """Another component: in which versions, whether we stop where it stops, why.

    `versions` is a range of npm's, `{version}` in it our own version. `classic_only`: nucleus lite has it not.
    """

    name: str
    versions: str
    why: str
    is_hard: bool = False
    classic_only: bool = False


@dataclass(frozen=True)
class Policy:
    """What a component may do by IPC: operations of one service on listed resources."""

    service: str
    number: int
    description: str
    operations: tuple[str, ...]
    resources: tuple[str, ...]


@dataclass(frozen=True)
class Component:
    """One component. `options` are those of component.sh, `docker` those of `docker create`, behind its hardening."""

    name: str
    description: str
    images: Mapping[str, str]
    """The image by architecture."""
    container: str
    """The container's name."""
    dependencies: tuple[Dependency, ...]
    configuration: Mapping[str, Any]
    on_lite: Mapping[str, Any] = field(default_factory=dict)
    """What is configured otherwise in recipes for nucleus lite alone."""
    policies: tuple[Policy, ...] = ()
    checks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What `install` looks at besides, by architecture."""
    options: tuple[tuple[str, ...], ...] = ()
    docker: tuple[tuple[str, ...], ...] = ()
    only_on: Mapping[str, tuple[tuple[str, ...], ...]] = field(default_factory=dict)
    """What `docker create` gets besides, by architecture."""
    room_gib: int = 2
    install_s: int = 120
    startup_s: int = 180
    """Until RUNNING at the latest; a component that is late is started anew, and the third time it is broken."""
    stop_s: int = 15
    """Longer than `http.drain_s`, so that nobody is killed while it finishes a part."""
    reporter: str | None = None
    """The image that reports RUNNING for a container that cannot."""
    forwarder: str | None = None
    """The image of a forwarder that runs beside it, with the component's configuration, and ends with it."""
    has_clients: bool = False
    """Whether clients load models by it, for which Triton starts without any of its own."""
    fetcher: str | None = None
    """The image that fetches the models of `ModelS3URI` where that is a folder in S3."""
    recover: tuple[str, ...] = ()
    version: str | None = None
    """Its own version; ours where absent."""
    is_classic_only: bool = False


def same(image: str) -> Mapping[str, str]:
    """Return one image for every architecture."""
    return dict.fromkeys(ARCHITECTURES, image)


MANAGER = Dependency(DOCKER_MANAGER, ">=2.0.0 <3.0.0", "It pulls the images", is_hard=True, classic_only=True)
CREDENTIALS = Dependency(
    TOKEN_EXCHANGE, ">=2.0.0 <3.0.0", "Credentials of the device's role, for a private registry", is_hard=True
)
ENGINE = (MANAGER, CREDENTIALS)


def ours(name: str, why: str, *, is_hard: bool = False) -> Dependency:
    """Return the dependency on a component of ours, in the version that it was tested with and its patches."""
    return Dependency(f"{PREFIX}.{name}", "^{version}", why, is_hard=is_hard)


def limits(user: int, pids: int = 128) -> tuple[tuple[str, ...], ...]:
    """Return the container's user and bounds; the memory is the operator's."""
    return (
        ("--user", f"{user}:{user}"),
        ("--memory", '"{configuration:/container/memory}"'),
        ("--pids-limit", str(pids)),
    )


def weight(shares: int) -> tuple[str, str]:
    """Return the container's share of processors that are all wanted; 1024 is the usual one."""
    return ("--cpu-shares", str(shares))


PROCESSORS = ("--cpus", '"{configuration:/container/cpus}"')
"""Bounded by what the machine has: Docker makes no container with more."""


def publish(port: int) -> tuple[str, ...]:
    """Return a port of the container on this machine only."""
    return ("--publish", f'"127.0.0.1:{{configuration:/container/port}}:{port}"')


LOG = {"level": "info", "format": "json"}
CLIENT_MODELS = "/var/lib/lineside/client-models"
PLANS = "/var/lib/lineside/plans"
"""TensorRT engines that a Jetson builds itself: beside Triton, for the inference service."""
SPOOL = {"folder": "/var/lib/lineside/spool"}
IPC = {"transport": Noted("ipc", "Greengrass' own bus instead of an MQTT broker")}
INFERENCE_URL = "http://inference:8080"
TOKEN = "/run/secrets/lineside/inference-token"  # noqa: S105 - a path
TOPICS = {
    "InferenceTopicIn": Noted(
        REQUEST_TOPIC, "A topic of your own needs its line in accessControl, here and in the other components"
    ),
    "InferenceTopicOut": RESULT_TOPIC,
}
SHADOW_TOPIC = f"$aws/things/{THING}/shadow/name/{SHADOW_NAME}"

PUBLISH, SUBSCRIBE = ("aws.greengrass#PublishToTopic",), ("aws.greengrass#SubscribeToTopic",)

TRITON = Component(
    name=f"{PREFIX}.Triton",
    description="NVIDIA Triton: runs the models. Nobody but inference and the exporter reaches it.",
    images={AARCH64: "triton-l4t", AMD64: "triton-cpu"},
    container="lineside-triton",
    dependencies=ENGINE,
    configuration={
        "container": {
            "memory": Noted(
                "6g", "A Jetson's memory is one for processor and GPU: bound it by what the models need of both"
            ),
            "cpus": "4",
            "shared_memory": Noted(
                "256m", "For frames on their way, with inference; it counts for whoever starts first"
            ),
        }
    },
    checks={AARCH64: ("--l4t", L4T, "--gpu")},
    options=(
        ("--internal-network", "lineside-engine", "--alias", "triton"),
        ("--shared-memory", '"{configuration:/container/shared_memory}"', "--needs-model"),
    ),
    docker=(
        *limits(10001, 512),
        ("--volume", "lineside-models:/models:ro"),
        ("--volume", f"lineside-client-models:{CLIENT_MODELS}:ro"),
    ),
    only_on={
        AARCH64: (
            ("--runtime", "nvidia", "--env", "NVIDIA_VISIBLE_DEVICES=all"),
            ("--env", "NVIDIA_DRIVER_CAPABILITIES=compute,utility"),
            ("--volume", f"lineside-plans:{PLANS}"),
            ("--volume", "/etc/nv_tegra_release:/etc/nv_tegra_release:ro"),
        )
    },
    room_gib=12,
    startup_s=300,
    stop_s=20,
    reporter="topic-bridge",
)

INFERENCE = Component(
    name=f"{PREFIX}.Inference",
    description="Verdicts: takes the picture, asks the model, applies the policy. Its page: port 8080 of this machine.",
    images=same("inference"),
    container="lineside-inference",
    dependencies=(
        *ENGINE,
        ours("Triton", "It loads the models there, and is started anew with it", is_hard=True),
    ),
    configuration={
        "ModelS3URI": Noted(
            "file:///models",
            "Where com.lineside.Model.<Name> puts models; s3://bucket/models/detector/v1.4/ is fetched by `install`",
        ),
        "ConfidenceThreshold": Noted("0.75", "For every class without a threshold of its own; 0 to 1, as text"),
        **TOPICS,
        "container": {
            "memory": "1g",
            "cpus": "2",
            "port": Noted("8080", "Of the page and the API, on 127.0.0.1"),
            "shared_memory": "256m",
            "cameras": Noted(
                "none",
                "GigE cameras: their card and subnet, and an address there that is nobody's, as "
                "eth1 192.168.100.0/24 192.168.100.9",
            ),
        },
        "log": LOG,
        "spool": SPOOL,
        "inference": {
            "http": {
                "host": Noted("0.0.0.0", "In the container; the port is published on 127.0.0.1"),  # noqa: S104 - same
                "token_file": Noted("/run/secrets/lineside/tokens", "Made at the first start, in a volume"),
                "allowed_hosts": ["inference"],
                "open_metrics": "true",
            },
            "triton": {"url": "triton:8001"},
            "state_dir": "/var/lib/lineside/state",
            "history": {"folder": Noted("/var/lib/lineside/state/history", "The record of every part")},
            "cameras": Noted({}, "By name, as in the settings file: {station-1: {kind: snapshot, url: http://...}}"),
        },
    },
    options=(
        ("--ipc", "--secrets", "inference"),
        ("--network", "lineside-plant", "--internal-network", "lineside-inside"),
        ("--internal-network", "lineside-engine", "--alias", "inference"),
        ("--shared-memory", '"{configuration:/container/shared_memory}"'),
        ("--cameras", '"{configuration:/container/cameras}"'),
    ),
    docker=(
        *limits(10001),
        publish(8080),
        ("--volume", "lineside-models:/models:ro"),
        ("--volume", f"lineside-client-models:{CLIENT_MODELS}"),
        ("--volume", "lineside-spool:/var/lib/lineside/spool"),
        ("--volume", "lineside-state:/var/lib/lineside/state"),
    ),
    only_on={
        AARCH64: (("--volume", f"lineside-plans:{PLANS}", "--env", f"LINESIDE_INFERENCE__TENSORRT__FOLDER={PLANS}"),)
    },
    room_gib=3,
    install_s=1800,
    startup_s=900,
    fetcher="forwarder",
    recover=("--shared-memory",),
)

TOPIC_BRIDGE = Component(
    name=f"{PREFIX}.TopicBridge",
    description="Carries requests from local topics to inference and results back, and the operator's policy.",
    images=same("topic-bridge"),
    container="lineside-topic-bridge",
    dependencies=(
        *ENGINE,
        Dependency(
            "aws.greengrass.ShadowManager",
            ">=2.3.0 <3.0.0",
            "The policy by named shadow; nucleus lite has none, and asks the cloud by MQTT",
            classic_only=True,
        ),
        ours("Inference", "It waits for it by itself, and does not stop with it: no request is lost"),
    ),
    configuration={
        **TOPICS,
        "container": {"memory": "256m", "cpus": "1"},
        "bus": IPC,
        "log": LOG,
        "topic_bridge": {
            "http": {"host": "0.0.0.0", "port": "8081"},  # noqa: S104 - in the container, on an internal network
            "inference_url": INFERENCE_URL,
            "inference_token_file": TOKEN,
            "steering": {
                "shadow": Noted(
                    {"name": SHADOW_NAME, "by": "ipc"},
                    "The operator's policy as a named shadow; by iot-core on nucleus lite, which keeps none itself",
                )
            },
        },
    },
    on_lite={"topic_bridge": {"steering": {"shadow": {"name": SHADOW_NAME, "by": "iot-core"}}}},
    policies=(
        Policy(
            PUBSUB,
            1,
            "Takes requests, outcomes, the wanted policy, how the bridges stand, and changes of the shadow",
            SUBSCRIBE,
            (
                REQUEST_TOPIC,
                OUTCOME_TOPIC,
                policy_topic(THING),
                reported_policy_topic(THING),
                status_topic(THING),
                f"{SHADOW_TOPIC}/update/delta",
                f"{SHADOW_TOPIC}/update/accepted",
            ),
        ),
        Policy(
            PUBSUB,
            2,
            "Answers, and tells the policy in force",
            PUBLISH,
            (RESULT_TOPIC, f"{RESULT_TOPIC}/error", reported_policy_topic(THING)),
        ),
        Policy(
            SHADOWS,
            1,
            "Reads the wanted policy from its shadow and reports the one in force (classic nucleus)",
            ("aws.greengrass#GetThingShadow", "aws.greengrass#UpdateThingShadow"),
            (SHADOW_TOPIC,),
        ),
        Policy(
            MQTT_PROXY,
            1,
            "Asks for the same shadow in the cloud (nucleus lite)",
            ("aws.greengrass#PublishToIoTCore",),
            (f"{SHADOW_TOPIC}/get", f"{SHADOW_TOPIC}/update"),
        ),
        Policy(
            MQTT_PROXY,
            2,
            "Takes the cloud's answers (nucleus lite)",
            ("aws.greengrass#SubscribeToIoTCore",),
            tuple(
                f"{SHADOW_TOPIC}/{each}"
                for each in ("get/accepted", "get/rejected", "update/accepted", "update/rejected", "update/delta")
            ),
        ),
    ),
    options=(
        ("--ipc", "--secrets", "topic-bridge"),
        ("--internal-network", "lineside-inside", "--alias", "topic-bridge"),
    ),
    docker=(*limits(10001), weight(4096)),
    startup_s=1200,
)

OPCUA_BRIDGE = Component(
    name=f"{PREFIX}.OpcUaBridge",
    description="The plant floor: a PLC's trigger becomes a request, the verdict goes back to the PLC.",
    images=same("opcua-bridge"),
    container="lineside-opcua-bridge",
    dependencies=(*ENGINE, ours("TopicBridge", "Without it every part is unknown; it still answers the PLC")),
    configuration={
        **TOPICS,
        "container": {"memory": "256m", "cpus": "1"},
        "bus": IPC,
        "log": LOG,
        "opcua_bridge": Noted(
            {
                "http": {"host": "0.0.0.0", "port": "8082"},  # noqa: S104 - in the container
                "security": {"pki_dir": "/var/lib/lineside/opcua-bridge/pki"},
            },
            "Merge endpoint and triggers at the deployment: they are the plant's, and it does not start without them",
        ),
    },
    policies=(
        Policy(
            PUBSUB,
            1,
            "Asks, and tells what the PLC got and how it stands",
            PUBLISH,
            (REQUEST_TOPIC, OUTCOME_TOPIC, status_topic(THING)),
        ),
        Policy(
            PUBSUB,
            2,
            "Takes results, errors, and the policy in force, which can pause it",
            SUBSCRIBE,
            (RESULT_TOPIC, f"{RESULT_TOPIC}/error", reported_policy_topic(THING)),
        ),
    ),
    options=(
        ("--ipc", "--network", "lineside-plant"),
        ("--internal-network", "lineside-inside", "--alias", "opcua-bridge"),
    ),
    docker=(*limits(10001), weight(8192), ("--volume", "lineside-pki:/var/lib/lineside/opcua-bridge")),
)

FORWARDER = Component(
    name=f"{PREFIX}.Forwarder",
    description="Evidence leaves the box: to a folder, S3, or Stream Manager.",
    images=same("forwarder"),
    container="lineside-forwarder",
    dependencies=(
        *ENGINE,
        Dependency(
            "aws.greengrass.StreamManager",
            ">=2.1.0 <3.0.0",
            "For a destination of kind stream_manager (path /var/lib/lineside/exports); others do without",
        ),
    ),
    configuration={
        "container": {"memory": "256m", "cpus": "1"},
        "log": LOG,
        "spool": SPOOL,
        "forwarder": {
            "http": {"port": Noted("8083", "On this machine's address in the network lineside-inside")},
            "destinations": Noted(
                [{"name": "disk", "kind": "disk", "path": "/var/lib/lineside/evidence"}],
                "To S3: {name: s3, kind: s3, bucket: ..., region: ...}; the credentials are the device's",
            ),
        },
    },
    options=(
        ("--ipc", "--host-network"),
        ("--listen", "LINESIDE_FORWARDER__HTTP__HOST=lineside-inside"),
        # What Stream Manager reads, under the same path for both.
        ("--share-if-there", "/var/lib/lineside/exports"),
    ),
    docker=(
        *limits(10001),
        weight(256),
        ("--volume", "lineside-spool:/var/lib/lineside/spool"),
        ("--volume", "lineside-evidence:/var/lib/lineside/evidence"),
    ),
)

EXPORTER = Component(
    name=f"{PREFIX}.Exporter",
    description="Metrics of the whole box on port 9109 of this machine, and in CloudWatch where that is configured.",
    images=same("exporter"),
    container="lineside-exporter",
    dependencies=(*ENGINE, ours("Inference", "It shows who is away")),
    configuration={
        "InferenceTopicOut": RESULT_TOPIC,
        "container": {"memory": "256m", "cpus": "1", "port": Noted("9109", "Of /metrics, on 127.0.0.1")},
        "bus": IPC,
        "log": LOG,
        "spool": SPOOL,
        "exporter": {
            "http": {"host": "0.0.0.0"},  # noqa: S104 - in the container; the port is published on 127.0.0.1
            "inference_token_file": TOKEN,
            "services": {
                "inference": INFERENCE_URL,
                "topic-bridge": "http://topic-bridge:8081",
                "opcua-bridge": "http://opcua-bridge:8082",
                "forwarder": "http://forwarder:8083",
            },
            "triton": {"url": "http://triton:8000", "metrics_url": "http://triton:8002"},
        },
    },
    policies=(
        Policy(
            PUBSUB,
            1,
            "Counts results, and compares the policy with the wanted one",
            SUBSCRIBE,
            (RESULT_TOPIC, policy_topic(THING), reported_policy_topic(THING), "cloudwatch/metric/put/status"),
        ),
        Policy(
            PUBSUB, 2, "Figures for aws.greengrass.Cloudwatch, where that is used", PUBLISH, ("cloudwatch/metric/put",)
        ),
    ),
    options=(
        ("--ipc", "--secrets", "exporter"),
        ("--network", "lineside-watch", "--internal-network", "lineside-inside"),
        ("--internal-network", "lineside-engine", "--alias", "exporter"),
        # On a Jetson: which L4T it is.
        ("--neighbour", "forwarder=lineside-inside", "--if-there", "/etc/nv_tegra_release"),
    ),
    docker=(
        # A user of its own: it sees how full the spool's disk is, and can read no evidence in it.
        *limits(10002),
        weight(256),
        publish(9109),
        ("--volume", "lineside-spool:/var/lib/lineside/spool:ro,nocopy"),
    ),
)

COMPONENTS = (TRITON, INFERENCE, TOPIC_BRIDGE, OPCUA_BRIDGE, FORWARDER, EXPORTER)
"""In the order in which they start."""
