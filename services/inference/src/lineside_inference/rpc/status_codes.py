"""Which gRPC status a failure has, for all gRPC faces.

The codes are those that the agent's protocol gives for each call, and gRPC's own for what any server may answer:
UNAVAILABLE, DEADLINE_EXCEEDED and RESOURCE_EXHAUSTED. UNKNOWN is never answered.
"""

from grpc import StatusCode

from lineside.errors import LinesideError
from lineside.spool import SpoolError, SpoolFull
from lineside_inference.errors import (
    CaptureBufferFull,
    CaptureExists,
    CaptureInFuture,
    CaptureQueueFull,
    CaptureUnknown,
    DeadlineOutOfReach,
    DestinationAway,
    EngineRefused,
    EngineTimeout,
    EngineUnavailable,
    Expired,
    MemoryShort,
    MessageInvalid,
    ModelHandle,
    ModelKept,
    ModelLoaded,
    ModelUnknown,
    ModelUnloaded,
    NotKept,
    PackageNotFound,
    PackagePathRefused,
    PackageUnusable,
    Refused,
    Rejected,
    SharedMemoryInvalid,
    SharedMemoryRefused,
    Stopping,
    TensorDatatype,
    TensorName,
    TensorShape,
    TensorValues,
    VersionUnknown,
)

CODES: tuple[tuple[tuple[type[LinesideError], ...], StatusCode], ...] = (
    ((ModelUnknown, VersionUnknown, ModelUnloaded, PackageNotFound, CaptureUnknown), StatusCode.NOT_FOUND),
    ((ModelLoaded, CaptureExists), StatusCode.ALREADY_EXISTS),
    ((PackageUnusable, ModelKept, DestinationAway), StatusCode.FAILED_PRECONDITION),
    ((CaptureInFuture,), StatusCode.OUT_OF_RANGE),
    (
        (
            EngineRefused,
            MessageInvalid,
            ModelHandle,
            PackagePathRefused,
            SharedMemoryInvalid,
            SharedMemoryRefused,
            TensorDatatype,
            TensorName,
            TensorShape,
            TensorValues,
            Rejected,
        ),
        StatusCode.INVALID_ARGUMENT,
    ),
    ((EngineUnavailable, Stopping, NotKept), StatusCode.UNAVAILABLE),
    ((EngineTimeout, Expired, DeadlineOutOfReach), StatusCode.DEADLINE_EXCEEDED),
    ((Refused, MemoryShort, CaptureBufferFull, CaptureQueueFull, SpoolFull), StatusCode.RESOURCE_EXHAUSTED),
    ((SpoolError,), StatusCode.UNAVAILABLE),
)
UNFORESEEN = "internal: the inference service failed; its log says why"
_MAX_WORDS = 1000
"""gRPC carries a status in a header of the answer, which has 8 KiB in all."""


def code_for(kind: type[Exception]) -> StatusCode:
    """Return the code of an error's class; INTERNAL for what is nobody's request's fault."""
    return next((code for kinds, code in CODES if issubclass(kind, kinds)), StatusCode.INTERNAL)


def words_of(error: Exception) -> str:
    """Return what the client reads, with the error's own code in front where it has one."""
    said = UNFORESEEN
    if isinstance(error, LinesideError):
        said = f"{error.code}: {error}"
    return fitting(said)


def fitting(said: str) -> str:
    """Return a text as a status carries it: one line, of bounded length."""
    return " ".join(said.split()).encode("utf-8", "backslashreplace").decode()[:_MAX_WORDS]
