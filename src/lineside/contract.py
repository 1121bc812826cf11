"""The messages on the bus: Request, Result, Outcome, ServiceStatus, Policy and the error report, as versioned JSON.

Unknown fields are ignored, so that a newer peer can say more; a missing or wrong known field is an error.
Times are UTC (RFC 3339, `Z`). This module imports nothing of ours.
"""

import base64
import binascii
import json
import os
import re
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import from_json

from lineside.described import Described

REQUEST_SCHEMA = "lineside/request/1"
RESULT_SCHEMA = "lineside/result/1"
POLICY_SCHEMA = "lineside/policy/1"
ERROR_SCHEMA = "lineside/error/1"
OUTCOME_SCHEMA = "lineside/outcome/1"
STATUS_SCHEMA = "lineside/status/1"

REQUEST_TOPIC = "local/inference/request"
RESULT_TOPIC = "local/inference/result"
OUTCOME_TOPIC = "local/inference/outcome"

TRY_STATION = "try-it"
"""Requests of this station are answered like any other and are no parts of the line: neither shown nor counted."""

MAX_MESSAGE_BYTES = 6 * 1024
"""Largest message on the bus. Greengrass nucleus lite closes the connection above about 7 KB."""

MAX_DEADLINE_MS = 600_000.0

ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$"
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"

Identifier = Annotated[str, Field(pattern=ID_PATTERN)]
"""1 to 128 characters of `A-Z a-z 0-9 . _ : -`; ours are UUIDv7."""

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
"""A model's or camera's name: 1 to 128 characters of `A-Z a-z 0-9 . _ -`, so that it is safe in a path."""

Status = Literal["ok", "rejected", "failed", "expired", "disabled"]
Verdict = Literal["pass", "fail", "unknown"]
Datatype = Literal[
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64"
]


def uuid7() -> str:
    """Return a UUIDv7 (RFC 9562, section 5.7): 48 bits of Unix milliseconds, then random bits."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10))
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return str(uuid.UUID(int=value))


def utc_now() -> datetime:
    """Return the present instant, aware, in UTC."""
    return datetime.now(UTC)


_SHOWN = 80
_MAX_CHECKED_BYTES = 64 * 1024
"""Up to here names that are given twice are looked for: ten times what the bus carries; tensors in JSON are longer."""


def _decode_base64(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise ValueError("expected a base64 string")  # noqa: TRY004 - pydantic turns ValueError into its own
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise ValueError(f"not base64: {error}") from None


Base64 = Annotated[
    bytes,
    BeforeValidator(_decode_base64),
    PlainSerializer(lambda raw: base64.b64encode(raw).decode(), return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "byte", "contentEncoding": "base64"}),
]


def _is_absent(value: object) -> bool:
    return value is None


def _is_off(value: object) -> bool:
    return value is False


def _is_empty(value: object) -> bool:
    return value == ()


def _is_only_the_image(value: object) -> bool:
    return value == ("image",)


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("outside the years 1 to 9999 in UTC") from None


Instant = Annotated[AwareDatetime, AfterValidator(_in_utc)]
Scalar = str | bool | int | float | None


class Part(Described, BaseModel):
    """Base of every part of a message: immutable, unknown fields ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False, serialize_by_alias=True)


class CameraSource(Part):
    """The frame that a configured camera shows now."""

    kind: Literal["camera"] = "camera"
    camera: Name


class FileSource(Part):
    """An image file, named relative to an allowed root of the inference service.

    `content_type` is for a file of raw pixels, which says nothing of itself: `application/x-pfnc; format=Mono8; ...`.
    """

    kind: Literal["file"] = "file"
    path: Annotated[str, Field(min_length=1, max_length=1024)]
    content_type: Annotated[str, Field(min_length=1, max_length=128)] | None = Field(None, exclude_if=_is_absent)


class UrlSource(Part):
    """An image fetched from an allowed host."""

    kind: Literal["url"] = "url"
    url: Annotated[str, Field(min_length=1, max_length=2048)]


class InlineSource(Part):
    """The image's own bytes, base64; over HTTP, or over MQTT behind the message limit."""

    kind: Literal["inline"] = "inline"
    content_type: Annotated[str, Field(min_length=1, max_length=128)]
    data: Base64


class Tensor(Part):
    """One named input: `values` flat, in row-major order, `shape` without the batch dimension."""

    name: Annotated[str, Field(min_length=1, max_length=256)]
    datatype: Datatype
    shape: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(max_length=16)]
    values: list[bool | int | float]
    columns: Annotated[tuple[str, ...], Field(max_length=4096)] | None = Field(default=None, exclude_if=_is_absent)
    """What the last axis is, name by name, in the order of the values; left out where the model's own order is kept."""
    units: Annotated[tuple[Annotated[str, Field(max_length=32)] | None, ...], Field(max_length=4096)] | None = Field(
        default=None, exclude_if=_is_absent
    )
    """The unit of each column, null where it has none or nobody said; left out where none is known."""

    @model_validator(mode="after")
    def _one_name_a_column(self) -> Self:
        if self.columns is not None and (not self.shape or len(self.columns) != self.shape[-1]):
            raise ValueError(
                f"columns has {len(self.columns)} names; the last axis of shape {list(self.shape)} differs"
            )
        if self.columns is not None and len(set(self.columns)) < len(self.columns):
            raise ValueError("columns names one twice")
        if self.units is not None and (self.columns is None or len(self.units) != len(self.columns)):
            raise ValueError("units needs columns, and one unit or null for each")
        return self


class TensorsSource(Part):
    """Numbers instead of pixels, for instance a window of a machine's tags."""

    kind: Literal["tensors"] = "tensors"
    tensors: Annotated[tuple[Tensor, ...], Field(min_length=1, max_length=16)]


Source = Annotated[CameraSource | FileSource | UrlSource | InlineSource | TensorsSource, Field(discriminator="kind")]


class Context(Described, BaseModel):
    """What the line knows about the part; anything more that is given here comes back in the result."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    station: Annotated[str, Field(max_length=128)] | None = None
    """The station; requests of one station are answered in order."""
    part_id: Annotated[str, Field(max_length=128)] | None = None
    """The part, as the line names it."""
    tags: dict[str, Scalar] = {}
    """Further tags, read when the trigger was seen."""


class Times(Part):
    """The timestamps of a message, never made up from one another; absent where nobody measured it."""

    source: Instant | None = None
    """The PLC's clock when the value changed."""
    server: Instant | None = None
    """The OPC UA server's clock."""
    received: Instant | None = None
    """When the service that made this message got what it was made from."""
    published: Instant | None = None
    """When the message was handed to the bus."""


class Request(Part):
    """Ask for one inference. `deadline_ms` counts from `time.received`, or from arrival where that is absent."""

    schema_: Literal["lineside/request/1"] = Field(alias="schema")
    """Which version of this message it is."""
    id: Identifier
    """The key of everything that follows: the same id asked again gets the same answer. Ours are UUIDv7."""
    model: Name
    """Name of the model, as its card has it."""
    model_version: Annotated[str, Field(pattern=r"^[1-9][0-9]{0,17}$")] | None = None
    """The version; the one in force where absent."""
    source: Source
    """Where the pixels or numbers come from."""
    context: Context = Context()
    """What the line knows about the part; comes back in the result."""
    time: Times = Times()
    """When the trigger rose and was seen."""
    deadline_ms: Annotated[float, Field(gt=0, le=MAX_DEADLINE_MS)] | None = None
    """Milliseconds from `time.received`; the setting `inference.default_deadline_ms` where absent."""
    capture: bool = Field(default=False, exclude_if=_is_off)
    """Whether the evidence is kept whatever the policy says; left out where not."""
    traceparent: Annotated[str, Field(pattern=r"^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")] | None = None
    """W3C trace context; comes back in the result."""

    @classmethod
    def new(cls, *, model: str, source: Source, **fields: Any) -> Self:
        """Make a request with a new id."""
        return cls.model_validate({"schema": REQUEST_SCHEMA, "id": uuid7(), "model": model, "source": source, **fields})

    def expires(self, arrived: datetime) -> datetime | None:
        """Return the instant of the deadline, or None without one.

        A `time.received` later than `arrived` comes from a clock ahead of ours: arrival counts instead.
        """
        if self.deadline_ms is None:
            return None
        start = min(self.time.received or arrived, arrived)
        return start + timedelta(milliseconds=self.deadline_ms)


class ModelRef(Part):
    """Which model judged: its version, and the SHA-256 of its file where that is known."""

    name: str
    version: str | None = None
    digest: str | None = None


_Point = tuple[float, float]


class Finding(Part):
    """One thing found on the part."""

    label: str
    """What it is, by the model's card."""
    confidence: float
    """How sure the model is: 0 to 1, or the score of a model that gives one."""
    box: tuple[float, float, float, float] | None = None
    """x0, y0, x1, y1 in pixels of the original image."""
    corners: tuple[_Point, _Point, _Point, _Point] | None = Field(default=None, exclude_if=_is_absent)
    """x, y of each corner of a turned box, which `box` encloses, in pixels; left out where it is not turned."""
    pixels: int | None = Field(default=None, exclude_if=_is_absent)
    """How many pixels of the original image a region covers; left out where the finding is no region."""
    area: float | None = Field(default=None, exclude_if=_is_absent)
    """The same as a share of the image, 0 to 1."""


class Timing(Part):
    """Milliseconds spent in each stage; a stage that did not run is absent."""

    queued: float | None = None
    """From arrival until the work began."""
    source: float | None = None
    """Fetching the frame or file."""
    decode: float | None = None
    """Decoding, and preparing the model's input in its slot."""
    infer: float | None = None
    """Triton, from the call to the output."""
    interpret: float | None = None
    """From the output to the verdict."""
    capture: float | None = Field(default=None, exclude_if=_is_absent)
    """Waiting for the evidence to be on the disk; left out where none was kept."""
    total: float | None = None
    """From arrival to the answer."""

    def waited(self, capture: float) -> Self:
        """Return it with a wait for the evidence, which counts in the total."""
        total = None if self.total is None else round(self.total + capture, 3)
        return self.model_copy(update={"capture": capture, "total": total})


class Result(Part):
    """The answer to one request. `status` says what became of the request, `verdict` what to do with the part."""

    schema_: Literal["lineside/result/1"] = Field(alias="schema", default="lineside/result/1")
    """Which version of this message it is."""
    id: Identifier
    """Id of this result."""
    request_id: Identifier
    """Id of the request that it answers."""
    status: Status
    """ok; rejected (the request is wrong); failed (something it needs is not there); expired; disabled."""
    verdict: Verdict
    """`unknown` wherever `status` is not ok."""
    reason: str
    """Why, for people: `scratch 0.93 >= 0.60`."""
    code: str | None = None
    """Stable name of the cause where `status` is not ok, for instance `image-truncated`."""
    model: ModelRef | None = None
    """Which model judged."""
    findings: tuple[Finding, ...] = ()
    """What was found, surest first."""
    findings_omitted: int = 0
    """How many findings were left out to keep the message below the bus's limit."""
    scores: dict[str, float] = {}
    """Every label with its score."""
    timing_ms: Timing = Timing()
    """Where the time went."""
    frame_age_ms: float | None = None
    """Milliseconds for which a camera's frame had been here when its decoding began; absent for other sources."""
    evidence_id: str | None = None
    """Key of the evidence, the request's id, where it was on the disk before the answer left; else null: none is kept,
    or it is still on its way, which `GET /v1/capture/<request id>` says."""
    context: Context = Context()
    """The request's own."""
    time: Times = Times()
    """When the request arrived and the result was published."""
    traceparent: str | None = None
    """The request's own."""

    @model_validator(mode="after")
    def _a_part_passes_only_when_judged(self) -> Self:
        if self.status != "ok" and self.verdict != "unknown":
            raise ValueError(f"verdict {self.verdict!r} with status {self.status!r}: only ok carries pass or fail")
        return self


ANSWERED_ELSEWHERE = frozenset({"not_owner", "answered_elsewhere"})
"""Causes of an outcome without a verdict whose part another bridge answers, and tells of."""

Origin = Literal["judged", "deadline", "disabled", "recovered", "refused"]


class Outcome(Part):
    """What the PLC got for one part: the truth about it, told by the opcua-bridge once for each part.

    The Result is what the inference service thought; this is what was written. The same `request_id` told again is
    the same outcome.
    """

    schema_: Literal["lineside/outcome/1"] = Field(alias="schema", default="lineside/outcome/1")
    """Which version of this message it is."""
    request_id: Identifier
    """Id of the part's request; of a part that nobody was asked about, an id of the bridge's own."""
    asked: bool = True
    """Whether there is a request of this id."""
    trigger: str
    """The trigger's name in the bridge's settings."""
    model: Name
    """The model that judges the parts of this trigger."""
    station: Annotated[str, Field(max_length=128)] | None = None
    """The station."""
    part_id: Annotated[str, Field(max_length=128)] | None = None
    """The part, as the line names it."""
    verdict: Verdict | None
    """What the PLC got; null: no verdict from us, which `write_error` explains."""
    origin: Origin
    """Who decided. judged: the inference service's answer; deadline: the bridge, for no answer came in time; disabled:
    judging is off; recovered: the bridge, about a part that came unseen or was held over an outage; refused: the
    bridge, for the part could not be asked about or came too fast."""
    cause: str
    """Stable name of the cause, as it is written to the PLC's `code`: ok, deadline, camera-stale, paused."""
    reason: Annotated[str, Field(max_length=600)]
    """Why, for people."""
    written_at: Instant | None = None
    """When done was raised, by the bridge's clock; null where nothing was written to a PLC."""
    late: bool = False
    """Whether the deadline was over by then."""
    write_error: str | None = None
    """Why the PLC got no verdict, or what of the write-back failed before it did."""
    trigger_to_verdict_ms: float | None = None
    """Milliseconds from the trigger as the bridge saw it to the end of the write-back."""
    deadline_ms: float | None = None
    """Within how many milliseconds of the trigger the PLC wants its verdict."""
    time: Times = Times()
    """`source` and `received` are the trigger's; `published` is when this message was made."""


class LinkState(Part):
    """One connection as its service sees it, see `/readyz`."""

    name: Annotated[str, Field(max_length=256)]
    target: Annotated[str, Field(max_length=1024)]
    state: Literal["CONNECTING", "ONLINE", "BACKOFF", "PAUSED"]
    required: bool = True
    """Whether the service is not ready without it."""
    since: Instant
    detail: Annotated[str, Field(max_length=1024)] = ""
    attempts: int = 0
    next_try: Instant | None = None


PolicySource = Literal["shadow", "topic", "configuration"]
"""Who may steer the policy through the topic-bridge."""


class PolicyStanding(Part):
    """Who steers the policy, as the topic-bridge knows it."""

    source: Literal["shadow", "topic", "configuration", "other"] | None = None
    """Whose policy is in force: of several sources the first. other: it was put over HTTP or by the page; null: it was
    in force before the bridge's start."""
    order: tuple[PolicySource, ...] = ()
    """The sources that may wish something; what the first names comes first."""
    steering: tuple[PolicySource, ...] = ()
    """Those that wish something now."""
    awaited: tuple[PolicySource, ...] = ()
    """Those that were not heard since the start and without which nothing is applied yet."""
    etag: str | None = None
    """ETag of the policy that `source` is about."""
    errors: dict[str, tuple[str, ...]] = {}
    """What is wrong with the newest wish of a source, the first errors of it; its last good one stands."""


class ServiceStatus(Part):
    """How a service stands, told every few seconds: who stops telling is not well either."""

    schema_: Literal["lineside/status/1"] = Field(alias="schema", default="lineside/status/1")
    """Which version of this message it is."""
    service: Literal["opcua_bridge", "topic_bridge"]
    """Which service."""
    ready: bool
    """Whether it can do its work now."""
    connections: tuple[LinkState, ...] = ()
    """Its connections, those that do not work first."""
    omitted: int = 0
    """How many connections were left out to keep the message below the bus's limit."""
    policy: PolicyStanding | None = Field(default=None, exclude_if=_is_absent)
    """Of the topic-bridge: who steers the policy; left out by others, and where the message would be too long."""
    version: Annotated[str, Field(pattern=r"^[a-zA-Z0-9 _.]{1,64}$")] | None = Field(
        default=None, exclude_if=_is_absent
    )
    """The service's version."""
    settings_hash: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None = Field(default=None, exclude_if=_is_absent)
    """Which settings it runs by: services that were configured alike, but for thing and log, have the same."""
    time: Times = Times()
    """When this message was made."""


Threshold = Annotated[float, Field(ge=0)]


class Capture(Described, BaseModel):
    """Which evidence is kept, and what of it. Like the policy that it is part of it refuses unknown fields.

    Always kept, and never dropped later: what was asked for by the request, the verdicts of `always`, and `labels`.
    Sampled: confidences in `band`, one of `every` parts, and `rate` of all, at most `per_hour`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    rate: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of all parts, 0 to 1; the same request id decides the same."""
    every: Annotated[int, Field(ge=1)] | None = Field(default=None, exclude_if=_is_absent)
    """One of so many parts of a model, counted from the service's start; null: none."""
    per_hour: Annotated[int, Field(ge=0)] | None = Field(default=None, exclude_if=_is_absent)
    """Most sampled parts of a model in an hour; null: no bound. What is always kept does not count."""
    always: tuple[Verdict, ...] = ("fail", "unknown")
    """Verdicts that are always kept."""
    band: tuple[Threshold, Threshold] | None = Field(default=None, exclude_if=_is_absent)
    """Lowest and highest confidence, of the surest finding or else the best label, that is kept; null: none."""
    labels: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=256)], ...], Field(max_length=256)] = Field(
        default=(), exclude_if=_is_empty
    )
    """Parts with a finding of one of these, or one of these as the best label, are always kept."""
    keep: tuple[Literal["image", "input", "outputs", "overlay"], ...] = Field(
        default=("image",), exclude_if=_is_only_the_image
    )
    """What is kept of a part beside result and context. image: the picture, or the request's tensors, as they came;
    input: the prepared tensor; outputs: the model's; overlay: the picture with what was found drawn on it."""

    @model_validator(mode="after")
    def _band_goes_up(self) -> Self:
        if self.band is not None and self.band[0] > self.band[1]:
            raise ValueError(f"band: {self.band[0]:g} is above {self.band[1]:g}; give the lower confidence first")
        return self


class Policy(Described, BaseModel):
    """The operator's live settings. Unlike other messages it refuses unknown fields: a typo must not go unseen."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    enabled: bool = True
    """Whether parts are judged; else every request is answered `disabled`."""
    thresholds: dict[str, Threshold] = {}
    """By label; `default` for the others. They override the model card's. 0 to 1, unless the scores have no end."""
    models: dict[Name, Annotated[str, Field(pattern=r"^[1-9][0-9]{0,17}$")]] = {}
    """The version to use of each model; the card's where it is not named."""
    capture: Capture = Capture()
    """Which evidence is kept."""


def policy_topic(thing: str) -> str:
    """Return the topic on which the policy that a thing shall have is retained."""
    return f"lineside/{thing}/policy"


def reported_policy_topic(thing: str) -> str:
    """Return the topic on which the topic-bridge retains the policy in force, and what became of the desired one."""
    return f"{policy_topic(thing)}/reported"


def status_topic(thing: str) -> str:
    """Return the topic on which the services of a thing tell how they stand."""
    return f"lineside/{thing}/status"


class ErrorReport(Part):
    """What is published on `<result topic>/error` for a message that could not be understood."""

    schema_: Literal["lineside/error/1"] = Field(alias="schema", default="lineside/error/1")
    """Which version of this message it is."""
    id: Identifier
    """Id of this report."""
    request_id: str | None = None
    """The message's own id, where it could be read."""
    code: str
    """Stable name of the cause."""
    reason: str
    """What was wrong, for people."""
    topic: str
    """Where the message came from."""
    excerpt: str
    """The message's first 256 bytes, undecodable bytes as backslash escapes."""
    digest: str | None = Field(default=None, exclude_if=_is_absent)
    """SHA-256 of the whole message, in hex: it tells whose message this is about where two have the same id."""
    time: Times = Times()
    """When the report was published."""


def to_json(message: BaseModel) -> bytes:
    """Return the message as UTF-8 JSON, fields in the order of the model, aliases as on the wire."""
    return message.model_dump_json(by_alias=True).encode()


_Message = TypeVar("_Message", Request, Result, Outcome, ServiceStatus, ErrorReport)


class Unreadable(ValueError):
    """A message cannot be read: `code` is `not-json`, `schema-unsupported` or `message-invalid`."""

    def __init__(self, code: str, reason: str, request_id: str | None = None) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.request_id = request_id


def parse_request(payload: bytes) -> Request:
    """Read a Request from UTF-8 JSON; raises Unreadable."""
    return _parse(Request, REQUEST_SCHEMA, payload)


def parse_result(payload: bytes) -> Result:
    """Read a Result from UTF-8 JSON; raises Unreadable."""
    return _parse(Result, RESULT_SCHEMA, payload)


def parse_outcome(payload: bytes) -> Outcome:
    """Read an Outcome from UTF-8 JSON; raises Unreadable."""
    return _parse(Outcome, OUTCOME_SCHEMA, payload)


def parse_status(payload: bytes) -> ServiceStatus:
    """Read a ServiceStatus from UTF-8 JSON; raises Unreadable."""
    return _parse(ServiceStatus, STATUS_SCHEMA, payload)


def parse_error_report(payload: bytes) -> ErrorReport:
    """Read an ErrorReport from UTF-8 JSON; raises Unreadable."""
    return _parse(ErrorReport, ERROR_SCHEMA, payload)


def explain(error: ValidationError) -> str:
    """Return every problem of a validation as `path: what (got value)`, joined by `; `."""
    return "; ".join(
        f"{'.'.join(map(str, item['loc'])) or 'message'}: {item['msg']}{_got(item)}" for item in error.errors()
    )


def _got(item: Any) -> str:
    if item["type"] == "missing":
        return ""
    shown = repr(item["input"])
    return f" (got {shown if len(shown) <= _SHOWN else shown[:_SHOWN] + '...'})"


class _GivenTwice(Exception):
    """A name stands twice in one object."""


def _check_names(pairs: list[tuple[str, object]]) -> None:
    if len(dict(pairs)) < len(pairs):
        names = [name for name, _value in pairs]
        raise _GivenTwice(next(name for name in names if names.count(name) > 1))


def _given_twice(payload: bytes) -> str | None:
    """Return a name that stands twice in one object of a JSON text, of which any reader takes another value."""
    if len(payload) > _MAX_CHECKED_BYTES:
        return None
    try:
        json.loads(payload, object_pairs_hook=_check_names)
    except _GivenTwice as error:
        return str(error)
    except ValueError:  # a number of more digits than Python reads: the model says what it makes of it
        return None
    return None


def _parse(kind: type[_Message], schema: str, payload: bytes) -> _Message:
    try:
        document = from_json(payload, allow_inf_nan=False)
    except ValueError as error:
        raise Unreadable("not-json", f"not JSON: {error}") from None
    if not isinstance(document, dict):
        raise Unreadable("not-json", f"expected a JSON object, got {type(document).__name__}")
    request_id = document.get("id")
    known_id = request_id if isinstance(request_id, str) and re.fullmatch(ID_PATTERN, request_id) else None
    if document.get("schema") != schema:
        got = repr(document.get("schema"))[:_SHOWN]
        raise Unreadable(
            "schema-unsupported", f"schema {got} is not supported; this version reads {schema!r}", known_id
        )
    if (name := _given_twice(payload)) is not None:
        reason = f"{repr(name)[:_SHOWN]} is given twice in one object; write one of them"
        raise Unreadable("message-invalid", reason, None if name == "id" else known_id)
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        raise Unreadable("message-invalid", explain(error), known_id) from None
