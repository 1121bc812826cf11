"""Settings of the topic-bridge, section `topic_bridge`."""

from pathlib import Path
from typing import ClassVar, Literal, Self, get_args

from pydantic import Field, model_validator

import lineside.settings
from lineside.addresses import BaseAddress
from lineside.contract import Policy, PolicySource
from lineside.settings import HttpSettings, Section


class ShadowSettings(Section):
    """A named device shadow of this thing as a source of the policy."""

    name: str = Field("lineside", pattern=r"^[A-Za-z0-9:_-]{1,64}$", description="Name of the shadow.")
    by: Literal["ipc", "iot-core", "mqtt"] = Field(
        "ipc",
        description="ipc: the Shadow Manager of the classic Greengrass nucleus; iot-core: AWS IoT's reserved topics "
        "through the nucleus, also the lite one; mqtt: the same topics on the bus's broker, bridged to AWS IoT.",
    )
    max_bytes: int = Field(
        8192,
        ge=1024,
        le=30720,
        description="Largest state of the shadow; more only where its manager allows it.",
    )
    look_s: float = Field(
        60.0, ge=1, le=86400, description="Seconds after which it is read again though nobody told of a change."
    )
    heartbeat_s: float = Field(
        300.0,
        ge=10,
        le=86400,
        description="Seconds after which the line's health is reported again though nothing of it changed.",
    )
    wait_s: float = Field(
        60.0,
        ge=0,
        le=86400,
        description="Seconds after the start for which nothing is applied until the shadow was read.",
    )


class SteeringSettings(Section):
    """Who may steer the policy beside HTTP and the page, and who comes first."""

    order: tuple[PolicySource, ...] = Field(
        ("shadow", "topic", "configuration"),
        description="Each source once. What the first names wins, name by name; what it does not is the next one's.",
    )
    configuration: Policy | None = Field(
        None,
        description="What these settings wish: a part of a policy, as in PUT /v1/policy; applied at once.",
    )
    shadow: ShadowSettings | None = Field(None, description="A named device shadow as a source; absent: none.")

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        known = get_args(PolicySource)
        if sorted(self.order) != sorted(known):
            raise ValueError(f"order: give each of {', '.join(known)} once (got {', '.join(self.order) or 'none'})")
        return self


class TopicBridgeSettings(Section):
    """The topic-bridge."""

    http: HttpSettings = Field(
        default_factory=lambda: HttpSettings(port=8081), description="Health and metrics of the topic-bridge."
    )
    inference_url: BaseAddress = Field(
        "http://127.0.0.1:8080", description="Base address of the inference service, without a path."
    )
    inference_token_file: Path | None = Field(
        None, description="File whose first line is the bearer token for the inference service."
    )
    policy: bool = Field(
        default=True, description="Bring the policy retained on lineside/<thing>/policy to the inference service."
    )
    steering: SteeringSettings = Field(
        default_factory=SteeringSettings, description="Who may steer the policy, and who comes first."
    )
    concurrency: int = Field(
        8, ge=1, le=1024, description="Calls of the inference service at the same time; one at a time a station."
    )
    overload_first: Literal["oldest", "newest"] = Field(
        "oldest",
        description="Whose request is next while all calls are taken: of the stations with the fewest lately, the one "
        "that waits longest, or came last.",
    )
    answer_timeout_s: float = Field(
        10.0,
        gt=0,
        le=600,
        description="Seconds beyond a request's deadline after which an unanswered call is given up and made again.",
    )


class Settings(lineside.settings.Settings):
    """What the topic-bridge reads."""

    section: ClassVar[str] = "topic_bridge"

    topic_bridge: TopicBridgeSettings = Field(
        default_factory=TopicBridgeSettings, description="Requests from the bus to the inference service, results back."
    )

    @model_validator(mode="after")
    def _a_shadow_by_mqtt_needs_a_broker(self) -> Self:
        shadow = self.topic_bridge.steering.shadow
        if shadow is not None and shadow.by == "mqtt" and self.bus.transport != "mqtt":
            raise ValueError(
                f"topic_bridge.steering.shadow.by: mqtt needs bus.transport: mqtt (got {self.bus.transport}); "
                "as a Greengrass component use ipc, or iot-core on the lite nucleus"
            )
        return self
