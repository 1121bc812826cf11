"""Settings of the topic-bridge, section `topic_bridge`."""

from pathlib import Path
from typing import ClassVar

from pydantic import Field

import lineside.settings
from lineside.addresses import BaseAddress
from lineside.settings import HttpSettings, Section


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
    concurrency: int = Field(
        8, ge=1, le=1024, description="Calls of the inference service at the same time; one at a time a station."
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
