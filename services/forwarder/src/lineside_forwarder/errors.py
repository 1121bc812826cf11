"""Why a batch did not arrive; the supervisor decides by the class what happens next.

ForwarderError       base
+-- DestinationAway  network, 5xx, a full disk: tried again with backoff, without end
+-- Throttled        the destination asks to wait: obeyed
+-- NotAllowed       permission, missing bucket or folder, wrong credentials: shown, alarmed, retried slowly
+-- BatchRefused     this batch will not be taken however often it is sent; after some refusals a dead letter
"""

from lineside.errors import LinesideError


class ForwarderError(LinesideError):
    """A batch did not arrive."""

    code = "forwarder"


class DestinationAway(ForwarderError):
    """The destination cannot be reached or has no space; expected to end by itself."""

    code = "destination-away"
    transient = True


class Throttled(DestinationAway):
    """The destination asks to wait: nothing is sent for `retry_after_s` seconds; 0 where it did not say."""

    code = "throttled"

    def __init__(self, what: str, *, retry_after_s: float = 0.0, remedy: str = "") -> None:
        super().__init__(what, remedy=remedy)
        self.retry_after_s = retry_after_s


class NotAllowed(ForwarderError):
    """The destination refuses this configuration: somebody has to change something here or there.

    `reason` is a short word for the alarm's label, for instance `permission`, `credentials`, `no-bucket`.
    """

    code = "not-allowed"

    def __init__(self, what: str, *, reason: str = "permission", remedy: str = "") -> None:
        super().__init__(what, remedy=remedy)
        self.reason = reason


class BatchRefused(ForwarderError):
    """This batch will not be taken however often it is sent; other batches may be."""

    code = "batch-refused"


class Fault(ForwarderError):
    """Our own code failed on this batch."""

    code = "fault"
