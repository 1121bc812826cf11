"""Settings of the opcua-bridge: the PLC, the triggers, what is judged, and where the verdict is written."""

from collections import Counter
from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

import lineside.settings
from lineside.contract import MAX_DEADLINE_MS, NAME_PATTERN, Name
from lineside.secrecy import hidden
from lineside.settings import HttpSettings, Section, Topic
from lineside_opcua_bridge.settings.access import AccessSettings
from lineside_opcua_bridge.settings.sources import SourceSettings, WindowSourceSettings
from lineside_opcua_bridge.settings.triggers import MAX_MS, Condition, EdgeTrigger, EventTrigger, When, WindowTrigger
from lineside_opcua_bridge.settings.write_back import HeartbeatSettings, WriteBackSettings
from lineside_opcua_bridge.tags import Alias, TagText, index_of, parse

DEFAULT_PORT = 8082
_EDGE_DEBOUNCE_MS = 20.0


def _endpoint(text: str) -> str:
    if "@" in text:
        raise ValueError("the endpoint holds a user name or password: settings files are no place for secrets")
    try:
        parts = urlsplit(text)
        named = parts.scheme == "opc.tcp" and bool(parts.hostname) and bool(parts.port)
    except ValueError:
        named = False
    if not named:
        raise ValueError(f"{hidden(text)!r} is not an endpoint: expected opc.tcp://<host>:<port>")
    return text


class TriggerSettings(Section):
    """One trigger: what asks for an inference, and what is done with the answer."""

    name: str = Field(pattern=NAME_PATTERN, description="Name in logs, metrics and /readyz; unique.")
    when: When = Field(description="What the trigger is: edge, change, limit, counter, period, event or window.")
    only_if: tuple[Condition, ...] = Field(
        (), max_length=16, description="Conditions on other tags; all must hold, or the trigger is counted and ignored."
    )
    debounce_ms: float | None = Field(
        None,
        ge=0,
        le=60_000,
        description="Milliseconds after a trigger in which further ones are ignored and counted; else 20 for an edge, "
        "which may bounce, and 0 for all others, which may not.",
    )
    min_interval_ms: float = Field(
        0.0,
        ge=0,
        le=MAX_MS,
        description="Least milliseconds from one request to the next; what comes sooner is counted.",
    )
    station: str = Field(min_length=1, max_length=128, description="Station that the result is about.")
    model: Name = Field(description="Model that judges.")
    source: SourceSettings = Field(description="What the model judges.")
    deadline_ms: float = Field(
        400.0, gt=0, le=MAX_DEADLINE_MS, description="Milliseconds from the trigger to the verdict in the PLC."
    )
    margin_ms: float = Field(
        20.0,
        ge=0,
        le=MAX_DEADLINE_MS,
        description="Least milliseconds kept for the write-back: `unknown` is begun so long before the deadline, and "
        "longer before it where writes took longer lately, up to half of it.",
    )
    overrun: Literal["newest", "queue", "skip"] = Field(
        "newest",
        description="A part comes while another waits. newest: the older one gets no verdict. queue: both are judged "
        "and answered in order. skip: the newer one is not judged and answered `unknown` after the older.",
    )
    overrun_limit: int = Field(
        8, ge=1, le=1000, description="Parts that may wait at once with queue and skip; one more ends the oldest."
    )
    sample: dict[Annotated[str, Field(pattern=NAME_PATTERN)], TagText] = Field(
        default_factory=dict,
        max_length=32,
        description="Tags sampled with the trigger, by name; `part_id` identifies the part, the others travel as tags.",
    )
    write_back: WriteBackSettings | None = Field(
        None, description="Nodes that the verdict is written to; without it only the result topic has the verdict."
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.margin_ms >= self.deadline_ms:
            raise ValueError(
                f"margin_ms {self.margin_ms:g} leaves no time before deadline_ms {self.deadline_ms:g}: it must be less"
            )
        if isinstance(self.when, WindowTrigger) and not isinstance(self.source, WindowSourceSettings):
            raise ValueError(  # noqa: TRY004 - pydantic turns ValueError into its own
                f"when.kind 'window' needs source.kind 'window', not {self.source.kind!r}"
            )
        if isinstance(self.when, EventTrigger) and (both := sorted(set(self.when.fields) & set(self.sample))):
            raise ValueError(f"{', '.join(both)}: given both in when.fields and in sample")
        fields = self.when.fields if isinstance(self.when, EventTrigger) else {}
        if self.write_back and self.write_back.part_id and "part_id" not in {*self.sample, *fields}:
            raise ValueError("write_back.part_id needs sample.part_id: there would be nothing to write to it")
        if self.write_back and self.write_back.part_id and self.write_back.part_id == self.sample.get("part_id"):
            raise ValueError("write_back.part_id and sample.part_id are one node: the PLC could not compare the two")
        if self.write_back and self.overrun != "newest" and self.write_back.part_id is None:
            raise ValueError(
                f"overrun {self.overrun!r} needs write_back.part_id (and sample.part_id): several parts wait at once, "
                "and only its id tells the PLC whose a verdict is"
            )
        if self.write_back and self.write_back.clear_done == "bridge" and self.request_node() is None:
            raise ValueError(
                f"write_back.clear_done 'bridge' needs write_back.request where the trigger is of kind "
                f"{self.when.kind!r}: nothing else says that the PLC has taken the verdict"
            )
        return self

    def debounce_s(self) -> float:
        """Return the debounce in seconds."""
        usual = _EDGE_DEBOUNCE_MS if isinstance(self.when, EdgeTrigger) else 0.0
        return (usual if self.debounce_ms is None else self.debounce_ms) / 1000

    def times_s(self) -> dict[str, float]:
        """Return the margin and the deadline in seconds, as `Margin` takes them."""
        return {"least_s": self.margin_ms / 1000, "deadline_s": self.deadline_ms / 1000}

    def request_node(self) -> str | None:
        """Return the Boolean that is high while the PLC waits for a verdict, where there is one."""
        if self.write_back and self.write_back.request:
            return self.write_back.request
        if isinstance(self.when, EdgeTrigger) and self.when.edge == "rising":
            return self.when.node
        return None

    def trigger_node(self) -> str | None:
        """Return the tag whose values or events are the trigger; None for period and window."""
        return getattr(self.when, "node", None)

    def tags(self) -> dict[str, str]:
        """Return every tag that the trigger listens to or reads, by role: trigger, sample.*, only_if.*, window.*."""
        found = {"trigger": self.trigger_node(), "request": self.write_back.request if self.write_back else None}
        found |= {f"sample.{name}": tag for name, tag in self.sample.items()}
        found |= {f"only_if.{place}": condition.node for place, condition in enumerate(self.only_if)}
        if isinstance(self.source, WindowSourceSettings):
            found |= {f"window.{name}": tag.node for name, tag in self.source.columns().items()}
        return {role: tag for role, tag in found.items() if tag is not None}

    def elements(self) -> dict[str, int]:
        """Return which element of its array a tag is, by role, for each that is read or written as an element."""
        tags = self.tags() | (self.write_back.nodes() if self.write_back else {})
        return {role: index for role, tag in tags.items() if (index := index_of(tag)) is not None}

    def needs_plc(self) -> bool:
        """Whether it needs an OPC UA session: for a tag that is a node, or to write the verdict back."""
        return self.write_back is not None or any(not isinstance(parse(tag), Alias) for tag in self.tags().values())


class CollectorSettings(Section):
    """Tags by a collector's messages instead of a session of our own: BatchPutAssetPropertyValue as JSON."""

    topics: tuple[Topic, ...] = Field(
        (), max_length=16, description="Topics on which the collector publishes; tags are then named alias=<alias>."
    )


class OpcuaBridgeSettings(AccessSettings):
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
    request_timeout_ms: float = Field(
        2000.0, ge=50, le=60_000, description="Milliseconds that one OPC UA call may take; longer is a lost connection."
    )
    keepalive_ms: float = Field(
        1000.0, ge=100, le=60_000, description="Milliseconds between signs of life; three missed are a lost connection."
    )
    lifetime_s: float = Field(
        60.0,
        ge=1,
        le=86_400,
        description="Seconds for which the server keeps subscription and session while the link is down.",
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
    overload_first: Literal["oldest", "newest"] = Field(
        "oldest",
        description="Which part is judged first while more come than can be judged in time: of the stations with the "
        "fewest verdicts lately that whose part waits longest, or came last. The others are told `unknown` early.",
    )
    heartbeat: HeartbeatSettings | None = Field(None, description="A node that shows the PLC that the bridge lives.")
    simulate: bool = Field(
        default=False, description="Do everything but the writes: for a first run beside a running line."
    )
    collector: CollectorSettings = Field(
        default_factory=CollectorSettings, description="Tags by the messages of a SiteWise OPC UA collector."
    )
    triggers: tuple[TriggerSettings, ...] = Field(
        (),
        max_length=256,
        description="The triggers. Their nodes are named nsu=<namespace URI>;s=<id> (or i=, g=, b=) or by a browse "
        "path; index=<n>; before that names one element of an array, from 0.",
    )

    @model_validator(mode="after")
    def _one_name_for_each(self) -> Self:
        names = Counter(trigger.name for trigger in self.triggers)
        if twice := [name for name, count in names.items() if count > 1]:
            raise ValueError(f"trigger names must be unique; given more than once: {', '.join(twice)}")
        return self

    @model_validator(mode="after")
    def _one_purpose_for_every_node(self) -> Self:
        written = [
            (node, f"write_back.{role} of trigger {trigger.name!r}")
            for trigger in self.triggers
            if trigger.write_back
            for role, node in trigger.write_back.nodes().items()
        ]
        written += [(self.heartbeat.node, "heartbeat")] if self.heartbeat else []
        targets: dict[tuple[str, str], str] = {}
        for node, purpose in written:
            if (other := targets.setdefault(parse(node).key, purpose)) != purpose:
                raise ValueError(
                    f"node {node} would be written for two purposes, {other} and {purpose}: each needs one of its own"
                )
        edges: dict[tuple[str, str], str] = {}
        for trigger in self.triggers:
            if isinstance(trigger.when, EdgeTrigger):
                node = trigger.when.node
                if (other := edges.setdefault(parse(node).key, trigger.name)) != trigger.name:
                    raise ValueError(
                        f"node {node} is the trigger of {other!r} and of {trigger.name!r}: one part, one request"
                    )
        for trigger in self.triggers:
            for role, tag in trigger.tags().items():
                if role in {"trigger", "request"} and parse(tag).key in targets:
                    raise ValueError(
                        f"node {tag} is the {role} node of trigger {trigger.name!r} and would be written as "
                        f"{targets[parse(tag).key]}: a write-back would ask again"
                    )
        return self

    @model_validator(mode="after")
    def _aliases_have_a_collector(self) -> Self:
        for trigger in self.triggers:
            for tag in trigger.tags().values():
                if isinstance(parse(tag), Alias) and not self.collector.topics:
                    raise ValueError(f"{tag} of trigger {trigger.name!r} needs collector.topics")
        return self


class Settings(lineside.settings.Settings):
    """Settings of the opcua-bridge's process."""

    section: ClassVar[str] = "opcua_bridge"

    opcua_bridge: OpcuaBridgeSettings = Field(
        default_factory=OpcuaBridgeSettings, description="PLC triggers to requests, verdicts back to the PLC."
    )

    @model_validator(mode="after")
    def _windows_fit_the_bus(self) -> Self:
        for trigger in self.opcua_bridge.triggers:
            if isinstance(trigger.source, WindowSourceSettings):
                try:
                    trigger.source.check_fits(self.bus.max_message_bytes)
                except ValueError as error:
                    raise ValueError(f"trigger {trigger.name!r}: {error}") from None
        return self
