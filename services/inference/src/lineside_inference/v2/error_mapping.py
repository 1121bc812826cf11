"""Which HTTP status a failure has for a v2 client."""

from lineside_inference.api.problems import Problem
from lineside_inference.errors import (
    EngineTimeout,
    EngineUnavailable,
    Expired,
    ModelUnknown,
    OutputNotFinite,
    Refused,
    Rejected,
    RequestError,
    SharedMemoryRefused,
    SharedMemoryUnknown,
    Stopping,
    VersionUnknown,
)

_STATUS: tuple[tuple[tuple[type[Exception], ...], int], ...] = (
    ((SharedMemoryRefused,), 403),
    ((ModelUnknown, VersionUnknown, SharedMemoryUnknown), 404),
    ((Rejected, OutputNotFinite), 400),  # the latter can be asked for as binary
    ((EngineUnavailable, Stopping), 503),
    ((EngineTimeout, Expired), 504),
    ((Refused,), 429),
    ((RequestError,), 502),
)


def as_problem(error: Exception) -> Problem:
    """Return the answer to a failure; 500 for one that nobody foresaw."""
    if isinstance(error, Problem):
        return error
    for kinds, status in _STATUS:
        if isinstance(error, kinds) and isinstance(error, RequestError | Refused):
            retry = {"Retry-After": str(getattr(error, "retry_after_s", 1))} if status in {429, 503} else {}
            return Problem(status, error.code, str(error), headers=retry)
    return Problem(500, "internal", "The inference service failed; its log says why.")
