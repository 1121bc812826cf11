"""The names that Greengrass itself has: its components, and the services of IPC with their operations.

Sources: the interprocess communication and the component pages of the Greengrass V2 developer guide.
"""

import re
from collections.abc import Mapping

DOCKER_MANAGER = "aws.greengrass.DockerApplicationManager"
TOKEN_EXCHANGE = "aws.greengrass.TokenExchangeService"  # noqa: S105 - a component's name

PUBSUB = "aws.greengrass.ipc.pubsub"
MQTT_PROXY = "aws.greengrass.ipc.mqttproxy"
SHADOWS = "aws.greengrass.ShadowManager"
CLI = "aws.greengrass.Cli"
OPERATIONS: Mapping[str, tuple[str, ...]] = {
    PUBSUB: ("aws.greengrass#PublishToTopic", "aws.greengrass#SubscribeToTopic"),
    MQTT_PROXY: ("aws.greengrass#PublishToIoTCore", "aws.greengrass#SubscribeToIoTCore"),
    SHADOWS: (
        "aws.greengrass#GetThingShadow",
        "aws.greengrass#UpdateThingShadow",
        "aws.greengrass#DeleteThingShadow",
        "aws.greengrass#ListNamedShadowsForThing",
    ),
    "aws.greengrass.SecretManager": ("aws.greengrass#GetSecretValue",),
    "aws.greengrass.ipc.lifecycle": ("aws.greengrass#PauseComponent", "aws.greengrass#ResumeComponent"),
    "aws.greengrass.ipc.componentmetric": ("aws.greengrass#PutComponentMetric",),
    CLI: (
        "aws.greengrass#CreateLocalDeployment",
        "aws.greengrass#CancelLocalDeployment",
        "aws.greengrass#GetLocalDeploymentStatus",
        "aws.greengrass#ListLocalDeployments",
        "aws.greengrass#GetComponentDetails",
        "aws.greengrass#ListComponents",
        "aws.greengrass#RestartComponent",
        "aws.greengrass#StopComponent",
        "aws.greengrass#CreateDebugPassword",
    ),
    "aws.greengrass.clientdevices.Auth": (
        "aws.greengrass#VerifyClientDeviceIdentity",
        "aws.greengrass#GetClientDeviceAuthToken",
        "aws.greengrass#AuthorizeClientDeviceAction",
        "aws.greengrass#SubscribeToCertificateUpdates",
    ),
}
"""The operations of each service of IPC that asks for a policy."""

PRIVATE_REGISTRY = re.compile(r"[0-9]{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(?:\.cn)?")
"""A private registry of ECR, for which the device needs credentials."""
