"""Which gRPC status a failure has for a v2 client: the one of all gRPC faces, and that of what HTTP's rules refuse."""

from grpc import StatusCode

from lineside_inference.api.problems import Problem
from lineside_inference.errors import SharedMemoryRefused, SharedMemoryUnknown
from lineside_inference.rpc.answering import Status, status_of
from lineside_inference.rpc.status_codes import fitting

_OWN: dict[type[Exception], StatusCode] = {
    SharedMemoryRefused: StatusCode.PERMISSION_DENIED,
    SharedMemoryUnknown: StatusCode.NOT_FOUND,
}
_OF_HTTP = {
    400: StatusCode.INVALID_ARGUMENT,
    403: StatusCode.PERMISSION_DENIED,
    404: StatusCode.NOT_FOUND,
    413: StatusCode.INVALID_ARGUMENT,  # the same is too large again; RESOURCE_EXHAUSTED is for what may be asked again
}


def as_status(error: Exception) -> Status:
    """Return the code and the words of an error."""
    if isinstance(error, Problem):
        return _OF_HTTP.get(error.status, StatusCode.INTERNAL), fitting(f"{error.code}: {error.detail}")
    code, words = status_of(error)
    return _OWN.get(type(error), code), words
