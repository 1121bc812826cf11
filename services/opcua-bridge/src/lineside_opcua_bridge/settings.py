"""Settings of the opcua-bridge: which PLC, which triggers, what is asked of whom, where the verdict goes."""

from collections import Counter
from itertools import chain
from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

import lineside.settings
from lineside.contract import MAX_DEADLINE_MS, NAME_PATTERN, Name
from lineside.settings import HttpSettings, Section
from lineside_opcua_bridge.nodes import NodeText, parse

DEFAULT_PORT = 8082


def _endpoint(text: str) -> str:
    try:
        parts = urlsplit(text)
        named = parts.scheme == "opc.tcp" and bool(parts.hostname) and bool(parts.port)
    except ValueError:
        named = False
    if not named:
        raise ValueError(f"{text!r} is not an endpoint: expected opc.tcp://<host>:<port>")
    if parts.username is not None:
        raise ValueError("the endpoint holds a user name or password: settings files are no place for secrets")
    return text


class CameraSourceSettings(Section):
    """The frame that a camera of the inference service shows."""

    kind: Literal["camera"] = Field(description="A camera's frame.")
    camera: Name = Field(description="Name of the camera in the inference service's settings.")


class FileSourceSettings(Section):
    """An image file that the machine writes over for every part."""

    kind: Literal["file"] = Field(description="An image file.")
    path: str = Field(min_length=1, max_length=1024, description="Path below an allowed root of the inference service.")


class UrlSourceSettings(Section):
    """An image fetched over HTTP."""

    kind: Literal["url"] = Field(description="An image at a URL.")
    url: str = Field(min_length=1, max_length=2048, description="URL at an allowed host of the inference service.")


SourceSettings = Annotated[CameraSourceSettings | FileSourceSettings | UrlSourceSettings, Field(discriminator="kind")]


class WriteBackSettings(Section):
    """The nodes that a verdict is written to, and the only nodes that are ever written."""

    verdict: NodeText = Field(description="String: pass, fail or unknown.")
    confidence: NodeText | None = Field(None, description="Double or Float, 0 to 1; 0 with unknown.")
    request_id: NodeText | None = Field(None, description="String: the id of the request that was answered.")
    done: NodeText = Field(description="Boolean: raised last, once the verdict is written.")

    def nodes(self) -> dict[str, str]:
        """Return the nodes that are set, by what is written to them."""
        given = {
            "verdict": self.verdict,
            "confidence": self.confidence,
            "request_id": self.request_id,
            "done": self.done,
        }
        return {name: node for name, node in given.items() if node is not None}


class TriggerSettings(Section):
    """One trigger: the edge that asks for an inference, and what is done with the answer."""

    name: str = Field(pattern=NAME_PATTERN, description="Name in logs, metrics and /readyz; unique.")
    node: NodeText = Field(description="Boolean node whose rising edge is the trigger.")
    debounce_ms: float = Field(
        20.0, ge=0, le=60_000, description="Milliseconds after an edge in which further edges are ignored and counted."
    )
    station: str = Field(min_length=1, max_length=128, description="Station that the result is about.")
    model: Name = Field(description="Model that judges.")
    source: SourceSettings = Field(description="Where the inference service takes the image from.")
    deadline_ms: float = Field(
        400.0, gt=0, le=MAX_DEADLINE_MS, description="Milliseconds from the edge to the verdict in the PLC."
    )
    margin_ms: float = Field(
        20.0,
        ge=0,
        le=MAX_DEADLINE_MS,
        description="Milliseconds kept for the write-back: `unknown` is written this long before the deadline.",
    )
    sample: dict[Annotated[str, Field(pattern=NAME_PATTERN)], NodeText] = Field(
        default_factory=dict,
        max_length=32,
        description="Nodes read at the edge, by name; `part_id` identifies the part, the others travel as tags.",
    )
    write_back: WriteBackSettings = Field(description="Nodes that the verdict is written to.")

    @model_validator(mode="after")
    def _the_margin_leaves_time(self) -> Self:
        if self.margin_ms >= self.deadline_ms:
            raise ValueError(
                f"margin_ms {self.margin_ms:g} leaves no time before deadline_ms {self.deadline_ms:g}: it must be less"
            )
        return self


class OpcuaBridgeSettings(Section):
    """The opcua-bridge."""

    http: HttpSettings = Field(
        default_factory=lambda: HttpSettings(port=DEFAULT_PORT), description="Health and metrics."
    )
    endpoint: Annotated[str, AfterValidator(_endpoint)] = Field(
        "opc.tcp://127.0.0.1:4840", description="The PLC's OPC UA server."
    )
    publishing_interval_ms: float = Field(
        20.0, ge=0, le=10_000, description="Milliseconds between notifications; 0 asks for the server's fastest."
    )
    sampling_interval_ms: float = Field(
        0.0, ge=0, le=10_000, description="Milliseconds between samples of a trigger; 0 asks for the server's fastest."
    )
    queue_size: int = Field(
        20, ge=2, le=10_000, description="Changes of a trigger that the server keeps between two notifications."
    )
    request_timeout_ms: float = Field(
        2000.0, ge=50, le=60_000, description="Milliseconds that one OPC UA call may take; longer is a lost connection."
    )
    keepalive_ms: float = Field(
        1000.0, ge=100, le=60_000, description="Milliseconds between signs of life; three missed are a lost connection."
    )
    grace_ms: float = Field(
        1000.0,
        ge=0,
        le=60_000,
        description="Milliseconds after the deadline for which a refused write is tried again.",
    )
    backlog: int = Field(
        256, ge=16, le=100_000, description="Changes of one trigger that wait inside; one more is dropped and counted."
    )
    triggers: tuple[TriggerSettings, ...] = Field((), max_length=256, description="The triggers.")

    @model_validator(mode="after")
    def _one_meaning_for_every_name_and_node(self) -> Self:
        names = Counter(trigger.name for trigger in self.triggers)
        if twice := [name for name, count in names.items() if count > 1]:
            raise ValueError(f"trigger names must be unique; given more than once: {', '.join(twice)}")
        edges = Counter(parse(trigger.node).key for trigger in self.triggers)
        for trigger in self.triggers:
            if edges[parse(trigger.node).key] > 1:
                raise ValueError(f"node {trigger.node} is the trigger of more than one entry: one part, one request")
        written = list(chain.from_iterable(trigger.write_back.nodes().values() for trigger in self.triggers))
        targets = Counter(parse(node).key for node in written)
        for node in written:
            if targets[parse(node).key] > 1:
                raise ValueError(f"node {node} would be written for two purposes: each needs a node of its own")
            if parse(node).key in edges:
                raise ValueError(f"node {node} is a trigger and would be written: a write-back would ask again")
        return self


class Settings(lineside.settings.Settings):
    """Settings of the opcua-bridge's process."""

    section: ClassVar[str] = "opcua_bridge"

    opcua_bridge: OpcuaBridgeSettings = Field(
        default_factory=OpcuaBridgeSettings, description="PLC triggers to requests, verdicts back to the PLC."
    )
