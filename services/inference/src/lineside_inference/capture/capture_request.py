"""The body of POST /v1/capture: what a client that judges for itself hands over as evidence, and its record.

Names and bounds follow Edge Manager's CaptureData, whose clients send ids like `capture1700000000`, tensors by its own
words for datatypes, and mostly no timestamp.
"""

import base64
import json
import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import from_json

from lineside.capture import Event, Group, Item, compose, tensor_type
from lineside.contract import Base64, Context, Name, explain
from lineside.described import Described
from lineside.settings import nearest
from lineside.spool import Entry

SKEW = timedelta(seconds=5)
"""How far a client's clock may be ahead of ours."""
_OLDEST = datetime(1970, 1, 1, tzinfo=UTC)
SIZES = {
    **dict.fromkeys(("BOOL", "UINT8", "INT8"), 1),
    **dict.fromkeys(("UINT16", "INT16", "FP16", "FLOAT16"), 2),
    **dict.fromkeys(("UINT32", "INT32", "FP32", "FLOAT32"), 4),
    **dict.fromkeys(("UINT64", "INT64", "FP64", "FLOAT64"), 8),
}
"""Bytes of a value, by its datatype's word."""
_TEXT = frozenset({"CSV", "JSON"})
_NO_SUFFIX = re.compile(r"[^A-Za-z0-9.]")
_MAX_ITEMS = 64

Word = Literal[
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64",
    "FP16", "FP32", "FP64", "FLOAT16", "FLOAT32", "FLOAT64",
]  # fmt: skip


class CaptureUnreadable(ValueError):
    """The body cannot be taken; `code` is `not-json`, `message-invalid` or `capture-in-future`."""

    def __init__(self, code: str, reason: str, capture_id: str | None = None) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.capture_id = capture_id


class _Given(Described, BaseModel):
    """Base of the body's parts. Unknown fields are refused: a typo must not lose evidence."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class CapturedTensor(_Given):
    """One tensor as the client's model took or gave it."""

    name: Annotated[str, Field(min_length=1, max_length=256)]
    """The tensor's name."""
    datatype: Word
    """Of its values, by Triton's word or by Edge Manager's."""
    shape: Annotated[tuple[Annotated[int, Field(ge=0, lt=2**31)], ...], Field(max_length=16)]
    """Its size by axis."""
    data: Base64
    """Its values, row-major, little-endian."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        needed = math.prod(self.shape) * SIZES[self.datatype]
        if len(self.data) != needed:
            raise ValueError(
                f"data has {len(self.data)} bytes; {self.datatype} of shape {list(self.shape)} needs {needed}"
            )
        return self


class CapturedFile(_Given):
    """What else belongs to an inference: an image, a mask, a table, a document."""

    name: Annotated[str, Field(min_length=1, max_length=256)]
    """Its name."""
    encoding: Literal["CSV", "JSON", "NONE", "BASE64"]
    """CSV and JSON: `data` is the text itself; NONE and BASE64: `data` is base64 of the bytes.

    `data` that is bytes already, as from a message that carries them, is taken as it is; of CSV and JSON it is UTF-8.
    """
    content_type: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    """What it is, for instance `jpg` or `mask.png`; what follows the first dot of its name where absent."""
    data: Annotated[bytes, WithJsonSchema({"type": "string"})]
    """The value."""

    @field_validator("data", mode="before")
    @classmethod
    def _read(cls, given: Any, info: ValidationInfo) -> Any:
        if isinstance(given, bytes):
            return given
        if not isinstance(given, str):
            raise ValueError("expected a string")  # noqa: TRY004 - pydantic turns ValueError into its own
        encoding = info.data.get("encoding")
        if encoding == "JSON":
            try:
                from_json(given, allow_inf_nan=False)
            except ValueError as error:
                raise ValueError(f"encoding is JSON and this is not: {error}") from None
        if encoding in _TEXT:
            return given.encode()
        try:
            return base64.b64decode(given, validate=True)
        except ValueError as error:
            raise ValueError(f"not base64: {error}") from None

    @property
    def kind(self) -> str:
        """Return what it is."""
        return self.content_type or self.name.partition(".")[2] or (self.encoding.lower() if self.is_text else "bin")

    @property
    def is_text(self) -> bool:
        """Whether `data` was given as the text itself."""
        return self.encoding in _TEXT


class CaptureRequest(_Given):
    """One inference that a client made and wants kept."""

    capture_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$")]
    """The key: 1 to 128 characters of `A-Z a-z 0-9 _ -`. The same one again is refused."""
    model: Name
    """The model's name. Order is kept within a model."""
    model_version: Annotated[str, Field(max_length=64)] | None = None
    """Its version; the one in force here where absent."""
    inference_timestamp: AwareDatetime | None = None
    """When the inference ran, with its zone; when the request came where absent."""
    inputs: Annotated[tuple[CapturedTensor, ...], Field(max_length=_MAX_ITEMS)] = ()
    """What the model took."""
    outputs: Annotated[tuple[CapturedTensor, ...], Field(max_length=_MAX_ITEMS)] = ()
    """What the model gave."""
    auxiliary_inputs: Annotated[tuple[CapturedFile, ...], Field(max_length=_MAX_ITEMS)] = ()
    """What else belongs to the input, for instance the image as it came."""
    auxiliary_outputs: Annotated[tuple[CapturedFile, ...], Field(max_length=_MAX_ITEMS)] = ()
    """What else belongs to the output, for instance an overlay."""
    context: Context = Context()
    """What the line knows about the part."""

    @field_validator("context", mode="before")
    @classmethod
    def _can_be_written(cls, given: Any) -> Any:
        try:
            json.dumps(given, allow_nan=False)
        except ValueError:
            raise ValueError("a number in it is beyond what 64 bits hold, 1.8e308") from None
        return given

    @property
    def size(self) -> int:
        """Bytes of its values."""
        files = (*self.auxiliary_inputs, *self.auxiliary_outputs)
        return sum(len(one.data) for one in (*self.inputs, *self.outputs)) + sum(len(one.data) for one in files)


def parse(payload: bytes, now: datetime) -> CaptureRequest:
    """Read the body; raises CaptureUnreadable where it is wrong, or of an instant later than `now` and the skew."""
    try:
        document = from_json(payload, allow_inf_nan=False)
    except ValueError as error:
        raise CaptureUnreadable("not-json", f"not JSON: {error}") from None
    if not isinstance(document, dict):
        raise CaptureUnreadable("not-json", f"expected a JSON object, got {type(document).__name__}")
    try:
        request = CaptureRequest.model_validate(document)
    except ValidationError as error:
        raise CaptureUnreadable("message-invalid", _explain(error)) from None
    check_instant(request, now)
    return request


def check_instant(request: CaptureRequest, now: datetime) -> None:
    """Raise CaptureUnreadable for an instant later than `now` and the skew, or long before there were such boxes."""
    instant = request.inference_timestamp
    if instant is not None and instant > now + SKEW:
        raise CaptureUnreadable(
            "capture-in-future",
            f"inference_timestamp {instant.isoformat()} is more than {SKEW.total_seconds():g} s later than this box's "
            f"clock, {now.isoformat()}: set the clocks, or leave it out",
            request.capture_id,
        )
    if instant is not None and instant < _OLDEST:
        reason = f"inference_timestamp {instant.isoformat()} is before 1970: leave it out"
        raise CaptureUnreadable("message-invalid", reason, request.capture_id)


def entry(
    request: CaptureRequest,
    now: datetime,
    *,
    fleet: str,
    device: str,
    version: str | None,
    embed_limit: int,
    text_as_base64: bool = False,
) -> Entry:
    """Return the capture's record for the spool; `version` is the model's where the client names none."""
    context = request.context.model_dump(mode="json", exclude_defaults=True)
    event = Event(
        id=request.capture_id,
        fleet=fleet,
        device=device,
        model=request.model,
        model_version=request.model_version or version or "",
        time=request.inference_timestamp or now,
        extra={"kept": "always", "why": "client", "context": context},
    )
    items = [
        *_tensors("inputs", request.inputs),
        *_tensors("outputs", request.outputs),
        *_files("auxiliary-inputs", request.auxiliary_inputs),
        *_files("auxiliary-outputs", request.auxiliary_outputs),
    ]
    return compose(event, items, embed_limit=embed_limit, text_as_base64=text_as_base64)


def _tensors(group: Group, tensors: Sequence[CapturedTensor]) -> list[Item]:
    return [Item(group, one.name, tensor_type(one.datatype, one.shape), one.data) for one in tensors]


def _files(group: Group, files: Sequence[CapturedFile]) -> list[Item]:
    return [Item(group, one.name, one.kind, one.data, encoding=one.encoding, suffix=_suffix(one.kind)) for one in files]


def _suffix(kind: str) -> str:
    """Return the end of an object's name: `jpg` of `jpg` and of `image/jpg`, `mask.png` of itself."""
    return _NO_SUFFIX.sub("", kind.rpartition("/")[2]).strip(".")[:32] or "bin"


def _explain(error: ValidationError) -> str:
    strange = [item["loc"] for item in error.errors() if item["type"] == "extra_forbidden"]
    names = [str(place[0]) for place in strange if len(place) == 1]
    hint = nearest(names[0], list(CaptureRequest.model_fields)) if names else ""
    return f"{explain(error)[:1500]}{hint}"
