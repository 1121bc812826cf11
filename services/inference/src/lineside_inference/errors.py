"""Why a request got no verdict, each cause with a stable code that stands in the Result.

    LinesideError
    +-- RequestError         `status` says which Result it becomes
        +-- Rejected         the request is wrong: the same one is wrong again
        +-- Failed           the request is fine, something it needs is not
        +-- Expired          the deadline passed before the model ran
        +-- Disabled         the operator's policy says not to judge
    +-- StoreError           a model card or file is wrong: the model is out
    +-- CandidateFailed      a version cannot be put into force: the one before serves on
    +-- ChangeUnderWay       the model is being changed already
    +-- PolicyRefused        the policy is wrong: the one before stays
    +-- PolicyChanged        the policy is another one than the caller has seen
    +-- StateNotKept         what must survive a restart cannot be written: nothing changed
    +-- NotKept              no evidence is kept: the line goes on without
    +-- CaptureQueueFull     too much evidence is on its way to the disk: this is dropped
    +-- CaptureExists        a client's capture of this id was kept before
    +-- CaptureUnknown       no capture of this id is known
    +-- CaptureInFuture      a client's capture is of an instant that is still to come
    +-- DestinationAway      Edge Manager's agent would have refused a capture: no network
    +-- CaptureBufferFull    Edge Manager's agent would have refused a capture: too many wait
    +-- PackageError         a model that a client names is not loaded, or not unloaded: nothing changed
    +-- Refused              there is no room for the request now: HTTP 429
        +-- Stopping         the service is being stopped: HTTP 503

One class a code, below its parent; the sentence of each says when it is raised.
"""

from typing import ClassVar

from lineside.contract import Status
from lineside.errors import LinesideError


class StoreError(LinesideError):
    """A model card or a model file is wrong: the model is out. No model at all: the start stops."""

    code = "model-store"


class ChangeUnderWay(LinesideError):
    """The model is being changed already; one change at a time."""

    code = "model-change-under-way"
    transient = True


class CandidateFailed(LinesideError):
    """A version was to be put into force and failed; the one before serves on."""

    code = "model-candidate-failed"


class PolicyRefused(LinesideError):
    """The policy is wrong; `problems` has every fault, and nothing was changed."""

    code = "policy-invalid"

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class PolicyChanged(LinesideError):
    """The policy is another one than the caller has seen (If-Match)."""

    code = "policy-changed"


class StateNotKept(LinesideError):
    """The policy could not be written to the state folder; nothing was changed."""

    code = "state-not-kept"


class NotKept(LinesideError):
    """No evidence is kept: no spool is configured, or it cannot be opened now."""

    code = "evidence-not-kept"


class CaptureQueueFull(LinesideError):
    """As many captures are on their way to the disk as the settings allow."""

    code = "capture-queue-full"
    transient = True


class CaptureExists(LinesideError):
    """A capture of this id was kept before, and stays as it is."""

    code = "capture-exists"


class CaptureUnknown(LinesideError):
    """No capture of this id is known here (any more)."""

    code = "capture-unknown"


class CaptureInFuture(LinesideError):
    """A client's capture is of an instant that is still to come."""

    code = "capture-in-future"


class DestinationAway(LinesideError):
    """With `edge_manager.strict`: destination Cloud cannot be reached."""

    code = "destination-away"
    transient = True


class CaptureBufferFull(LinesideError):
    """With `edge_manager.strict`: as many captures wait as CaptureDataBufferSize says."""

    code = "capture-buffer-full"
    transient = True


class PackageError(LinesideError):
    """A model that a client names is not loaded; what was loaded before is as it was."""

    code = "package"


class PackageNotFound(PackageError):
    """Nothing is at the path that the client names."""

    code = "package-not-found"


class PackagePathRefused(PackageError):
    """The path leads out of the folders from which clients may load models."""

    code = "package-path-refused"


class PackageUnusable(PackageError):
    """There is something at the path, and Triton cannot serve it."""

    code = "package-unusable"


class ModelLoaded(PackageError):
    """A model of this name is there already."""

    code = "model-loaded"


class ModelKept(PackageError):
    """A client would unload a model that it may only use: one of the line's, or that somebody loaded in Triton."""

    code = "model-kept"


class MemoryShort(PackageError):
    """The model would need more memory than is free."""

    code = "memory-short"
    transient = True


class Refused(LinesideError):
    """No room for the request now; nothing of it was done or remembered."""

    code = "overloaded"
    transient = True

    def __init__(self, what: str, *, remedy: str = "", retry_after_s: int = 1) -> None:
        super().__init__(what, remedy=remedy)
        self.retry_after_s = retry_after_s


class Stopping(Refused):
    """The service is being stopped."""

    code = "stopping"


class RequestError(LinesideError):
    """Base of what ends one request; `status` is the Result's."""

    status: Status = "failed"

    def __init__(self, what: str, *, remedy: str = "", status: Status | None = None) -> None:
        super().__init__(what, remedy=remedy)
        if status is not None:
            self.status = status


class Rejected(RequestError):
    """The request is wrong."""

    code: ClassVar[str] = "rejected"
    status: Status = "rejected"


class Failed(RequestError):
    """The request is fine, something it needs is not."""

    code: ClassVar[str] = "failed"
    transient = True


class Expired(RequestError):
    """The deadline passed before the model ran."""

    code: ClassVar[str] = "deadline-passed"
    status: Status = "expired"


class DeadlineOutOfReach(RequestError):
    """The queue is longer than the deadline allows; the request did not wait for nothing."""

    code: ClassVar[str] = "deadline-out-of-reach"
    status: Status = "expired"


class Disabled(RequestError):
    """The operator's policy says not to judge."""

    code: ClassVar[str] = "disabled"
    status: Status = "disabled"


class Crashed(Failed):
    """A fault in the service itself; its log has the request's id and the cause."""

    code = "internal"


class ModelUnknown(Rejected):
    """No card has this name."""

    code = "model-unknown"


class VersionUnknown(Rejected):
    """The model has no card for this version."""

    code = "version-unknown"


class ModelOut(Failed):
    """The model is on the disk, and its card or a file of it is wrong: it serves when that is mended."""

    code = "model-out"


class ModelUnloaded(Failed):
    """The operator has unloaded the model."""

    code = "model-unloaded"


class IdReused(Rejected):
    """The id was used before, for a request with other content."""

    code = "id-reused"


class SourceUnsupported(Rejected):
    """This kind of source, or this content type, cannot be used here."""

    code = "source-unsupported"


class SourceMismatch(Rejected):
    """An image for a model of tensors, or tensors for a model of images."""

    code = "source-mismatch"


class TensorName(Rejected):
    """The tensors are not the ones that the model takes."""

    code = "tensor-name"


class TensorDatatype(Rejected):
    """A tensor has another datatype than the model takes."""

    code = "tensor-datatype"


class TensorShape(Rejected):
    """A tensor has another shape than the model takes, or another number of values than its shape says."""

    code = "tensor-shape"


class TensorColumns(Rejected):
    """The columns that the request names are not those of the model's card."""

    code = "tensor-columns"


class TensorUnits(Rejected):
    """A column is given in another unit than the model's card says."""

    code = "tensor-units"


class TensorValues(Rejected):
    """A value does not fit the tensor's datatype."""

    code = "tensor-values"


class ImageTruncated(Rejected):
    """The image ends before its format says, or its decoder found a part of it missing or damaged."""

    code = "image-truncated"


class ImageUndecodable(Rejected):
    """The bytes are no image that can be read."""

    code = "image-undecodable"


class ImageBitDepth(Rejected):
    """The image has more than 8 bits a value, and which of them are significant is not said, or said wrongly."""

    code = "image-bit-depth"


class ImageTooLarge(Rejected):
    """The image has more pixels or bytes than the limit."""

    code = "image-too-large"


class PathOutsideRoot(Rejected):
    """The path leads out of the allowed roots."""

    code = "path-outside-root"


class NoSuchFile(Rejected):
    """There is no such file below the allowed roots."""

    code = "file-not-found"


class FileFailed(Failed):
    """The file is there and could not be read in time."""

    code = "file-failed"


class CameraUnknown(Rejected):
    """No camera of this name is configured."""

    code = "camera-unknown"


class CameraFailed(Failed):
    """The camera could not be reached or answered something else than an image."""

    code = "camera-failed"


class CameraTimeout(Failed):
    """The camera did not answer in time."""

    code = "camera-timeout"


class CameraStale(Failed):
    """The camera showed nothing newer than the trigger in time."""

    code = "camera-stale"


class CameraIncomplete(Failed):
    """Of every frame that the camera sent since the trigger, packets were lost on the way."""

    code = "camera-incomplete"


class CameraUnmatched(Failed):
    """The line fires the camera, and no frame was exposed when the part was triggered, or when is not known."""

    code = "camera-unmatched"


class CameraAmbiguous(Failed):
    """The line fires the camera, and it is not certain which frame is the part's: none is judged."""

    code = "camera-ambiguous"


class UrlNotAllowed(Rejected):
    """The url's scheme, host, port or address is not one of those that the settings allow."""

    code = "url-not-allowed"


class UrlFailed(Failed):
    """The url's host could not be reached or answered something else than an image."""

    code = "url-failed"


class UrlTimeout(Failed):
    """The url's host did not answer in time."""

    code = "url-timeout"


class EngineUnavailable(Failed):
    """Triton, or the model in it, was away until the deadline."""

    code = "engine-unavailable"


class EngineTimeout(Failed):
    """Triton took the request and did not answer until the deadline."""

    code = "engine-timeout"


class EngineFailed(Failed):
    """Triton answered with an error, or with something else than the card says."""

    code = "engine-failed"


class EngineRefused(Rejected):
    """Triton says that the request is wrong for the model."""

    code = "engine-refused"


class ModelHandle(Rejected):
    """An Edge Manager client names a model by a word that is none, by none, or by two that differ."""

    code = "model-handle"


class MessageInvalid(Rejected):
    """A gRPC client's request is not the message of its call."""

    code = "message-invalid"


class SharedMemoryRefused(Rejected):
    """The client's shared memory is not on the list of those that may be used, or may be written by anybody."""

    code = "shared-memory-refused"


class SharedMemoryInvalid(Rejected):
    """The client's shared memory is not there, is smaller than said, its name is taken, or a request uses it still."""

    code = "shared-memory-invalid"


class SharedMemoryUnknown(Rejected):
    """No region of this name is registered."""

    code = "shared-memory-unknown"


class OutputNotJson(Rejected):
    """The output has no form in JSON; it can be asked for as binary."""

    code = "output-not-json"


class OutputTooLarge(Rejected):
    """The output has more values than may be answered as JSON; it can be asked for as binary."""

    code = "output-too-large"


class OutputNotFinite(Failed):
    """The model's output has values that are not finite numbers."""

    code = "output-not-finite"
