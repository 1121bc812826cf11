"""Heartbeats of a device: what runs on it, in the form of Edge Manager's SendHeartbeat, as one JSON message.

The names in capitals are those of the service's own API (`sagemaker-edge`, 2020-09-23), so that who read its heartbeats
reads these. Three are ours, for nobody stamps a message that no service takes: HeartbeatTime, PeriodSeconds and BoxId.
Times are seconds since 1970 in UTC, as that API has them in JSON; RFC 3339 is read too. Unknown fields are ignored.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from lineside.contract import explain
from lineside.described import Described
from lineside.documents import read_json

TOPIC = "lineside/{thing}/heartbeat"
"""Where a device retains its heartbeat, unless the settings name another topic."""
ALL_TOPICS = "lineside/+/heartbeat"
LATEST_YEAR_9999 = 253_402_300_799
MAX_BYTES = 256 * 1024
"""Longest heartbeat that is read; ours are as short as the bus demands."""
_SHORT = 200


def _seconds(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError("expected seconds since 1970, or a time as 2026-11-21T12:00:00Z") from None
    if moment.tzinfo is None:
        raise ValueError("expected a time with its zone, as 2026-11-21T12:00:00Z")
    return moment.timestamp()


Seconds = Annotated[float, BeforeValidator(_seconds), Field(ge=0, le=LATEST_YEAR_9999)]
"""Seconds since 1970 in UTC."""
Word = Annotated[str, Field(min_length=1, max_length=255)]
State = Literal["DEPLOY", "UNDEPLOY"]


def _is_none(value: object) -> bool:
    return value is None


def _is_nothing(value: object) -> bool:
    return not value


class _Part(Described, BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class Metric(_Part):
    """One figure."""

    Dimension: Annotated[str, Field(min_length=1, max_length=1000)]
    """What it is a figure of: `agent`, or a model and its version, as `surface-defect/2`."""
    MetricName: Annotated[str, Field(min_length=1, max_length=100)]
    """Its name."""
    Value: float
    """The figure."""
    Timestamp: Seconds
    """When it was read."""


class ModelState(_Part):
    """One version of a model that is there."""

    ModelName: Word
    """The model."""
    ModelVersion: Annotated[str, Field(min_length=1, max_length=64)]
    """Its version."""
    LatestSampleTime: Seconds | None = Field(default=None, exclude_if=_is_none)
    """When a capture of it was last seen to be kept; left out where none was since the deployer started."""
    LatestInference: Seconds | None = Field(default=None, exclude_if=_is_none)
    """When it was last asked, by Triton's statistics; left out where it was not since Triton started."""
    ModelMetrics: tuple[Metric, ...] = Field(default=(), exclude_if=_is_nothing)
    """Triton's statistics of it, since Triton started."""


class DeploymentModel(_Part):
    """What a deployment did with one model."""

    ModelHandle: Annotated[str, Field(min_length=1, max_length=63)]
    """The model's name in the desired state."""
    ModelName: Word | None = Field(default=None, exclude_if=_is_none)
    """Its name in the repository."""
    ModelVersion: Annotated[str, Field(min_length=1, max_length=64)] | None = Field(default=None, exclude_if=_is_none)
    """The version that serves now."""
    DesiredState: State
    """What was wanted."""
    State: State
    """How it is."""
    Status: Literal["SUCCESS", "FAIL"]
    """Whether what was wanted is so."""
    StatusReason: str = Field(default="", exclude_if=_is_nothing)
    """Why not."""
    RollbackFailureReason: str = Field(default="", exclude_if=_is_nothing)
    """Why the state before could not be restored."""


class DeploymentReport(_Part):
    """What became of the latest deployment."""

    DeploymentName: Annotated[str, Field(min_length=1, max_length=255)]
    """Its name in the desired state."""
    DeploymentStatus: Word
    """SUCCESS, FAIL, or INPROGRESS."""
    DeploymentStatusMessage: str = Field(default="", exclude_if=_is_nothing)
    """Why it failed, in a sentence."""
    DeploymentStartTime: Seconds | None = Field(default=None, exclude_if=_is_none)
    """When it began."""
    DeploymentEndTime: Seconds | None = Field(default=None, exclude_if=_is_none)
    """When it ended."""
    DeploymentModels: tuple[DeploymentModel, ...] = Field(default=(), exclude_if=_is_nothing)
    """Each model of it."""


class Heartbeat(_Part):
    """What runs on a device."""

    AgentVersion: Annotated[str, Field(min_length=1, max_length=64)]
    """Version of the service that sends it."""
    DeviceName: Annotated[str, Field(min_length=1, max_length=128)]
    """The thing."""
    DeviceFleetName: Annotated[str, Field(min_length=1, max_length=63)]
    """`edge_manager.DeviceFleetName`."""
    HeartbeatTime: Seconds | None = Field(default=None, exclude_if=_is_none)
    """When it was made, by the device's clock. Ours."""
    PeriodSeconds: Annotated[float, Field(gt=0, le=31_622_400)] | None = Field(default=None, exclude_if=_is_none)
    """After how many seconds the next one is due. Ours."""
    BoxId: Annotated[str, Field(max_length=64)] = Field(default="", exclude_if=_is_nothing)
    """Made anew where a device begins with an empty database: tells two devices of one name apart. Ours."""
    AgentMetrics: tuple[Metric, ...] = Field(default=(), exclude_if=_is_nothing)
    """Start, crashes, CPU time and memory of the service."""
    Models: tuple[ModelState, ...] = Field(default=(), exclude_if=_is_nothing)
    """The models that are there."""
    DeploymentResult: DeploymentReport | None = Field(default=None, exclude_if=_is_none)
    """What became of the latest deployment."""

    @property
    def moment(self) -> float | None:
        """When it was made; of one without HeartbeatTime its newest metric says it, None where it has none."""
        if self.HeartbeatTime is not None:
            return self.HeartbeatTime
        return max((each.Timestamp for each in self.AgentMetrics), default=None)


def parse(text: bytes) -> Heartbeat:
    """Read one heartbeat; raises ValueError that says what is wrong with it."""
    if len(text) > MAX_BYTES:
        raise ValueError(f"{len(text)} bytes; a heartbeat has {MAX_BYTES} at most")
    document = read_json(text)
    if not isinstance(document, dict):
        raise ValueError(f"expected a JSON object, got {type(document).__name__}")  # noqa: TRY004 - of a message
    try:
        return Heartbeat.model_validate(document)
    except ValidationError as error:
        raise ValueError(explain(error)) from None


def to_json(heartbeat: Heartbeat, max_bytes: int) -> bytes:
    """Return it as UTF-8 JSON of at most `max_bytes`: reasons are cut first, then figures of models go, then models."""
    for shorter in _shorter(heartbeat):
        payload = shorter.model_dump_json().encode()
        if len(payload) <= max_bytes:
            break
    return payload


def _shorter(whole: Heartbeat) -> Iterator[Heartbeat]:
    yield whole
    result = whole.DeploymentResult
    if result is not None:
        models = tuple(
            each.model_copy(
                update={
                    "StatusReason": each.StatusReason[:_SHORT],
                    "RollbackFailureReason": each.RollbackFailureReason[:_SHORT],
                }
            )
            for each in result.DeploymentModels
        )
        message = result.DeploymentStatusMessage[:_SHORT]
        result = result.model_copy(update={"DeploymentModels": models, "DeploymentStatusMessage": message})
        whole = whole.model_copy(update={"DeploymentResult": result})
        yield whole
    plain = tuple(each.model_copy(update={"ModelMetrics": ()}) for each in whole.Models)
    whole = whole.model_copy(update={"Models": plain})
    yield whole
    if result is not None:
        result = result.model_copy(update={"DeploymentModels": ()})
        whole = whole.model_copy(update={"DeploymentResult": result})
        yield whole
    for most in range(len(plain) - 1, -1, -1):
        yield whole.model_copy(update={"Models": plain[:most]})
