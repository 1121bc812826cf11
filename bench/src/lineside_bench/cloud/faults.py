"""What goes wrong on demand: the next calls of an operation are throttled, denied, or done and not answered."""

from dataclasses import dataclass, field
from enum import StrEnum

from lineside_bench.cloud.wire import Refused


class Kind(StrEnum):
    """How a call goes wrong."""

    throttled = "throttled"
    denied = "denied"
    conflict = "conflict"
    internal = "internal"
    dropped = "dropped"
    """The connection ends before anything was done."""
    half_done = "half-done"
    """It was done, and the connection ends before the answer."""
    hangs = "hangs"
    """It was done, and no answer comes until `Faults.release`."""


@dataclass
class Fault:
    """The calls of `operation` (any where empty) after the next `skip`, `times` of them."""

    kind: Kind
    operation: str = ""
    skip: int = 0
    times: int = 1
    retry_after_s: int | None = None

    def strikes(self, operation: str) -> bool:
        """Return whether this call is one of them, and count it."""
        if self.operation not in {"", operation} or self.times == 0:
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.times -= 1
        return True


@dataclass
class Faults:
    """The faults that are to come."""

    planned: list[Fault] = field(default_factory=list)

    def next(self, operation: str) -> Fault | None:
        """Return the fault of this call, if it has one."""
        return next((fault for fault in self.planned if fault.strikes(operation)), None)


def refusal(fault: Fault, operation: str, service: str) -> Refused | None:
    """Return the error that a call is answered with, None where it is answered by none."""
    internal = "InternalServerException" if service == "greengrassv2" else "InternalFailureException"
    more = {} if fault.retry_after_s is None else {"retryAfterSeconds": fault.retry_after_s}
    match fault.kind:
        case Kind.throttled:
            return Refused("ThrottlingException", "Rate exceeded", **more)
        case Kind.denied:
            who = "User: arn:aws:sts::123456789012:assumed-role/pipeline/ci"
            return Refused("AccessDeniedException", f"{who} is not authorized to perform: {service}:{operation}")
        case Kind.conflict:
            return Refused("ConflictException", "It is being changed", resourceId="it", resourceType="Deployment")
        case Kind.internal:
            return Refused(internal, "Something went wrong", **more)
        case _:
            return None
