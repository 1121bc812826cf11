"""Export tasks and status messages of Stream Manager: pure.

The stream is no second store beside the spool: a task matters only while the process that appended it waits for its
end. So the stream may overwrite its oldest data. With RejectNewData it would fill up for good, as Stream Manager keeps
exported messages until their space is needed.
"""

import json
import re
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

from lineside_forwarder.errors import BatchRefused, DestinationAway, ForwarderError, NotAllowed, Throttled
from lineside_forwarder.stream_manager.client import Lost, Refused, StreamManagerError
from lineside_forwarder.stream_manager.wire import Code

EXPORT = "lineside-evidence"
"""Identifier of the export in the stream's definition; tells our streams from others."""

_OVERWRITE_OLDEST, _FILE, _MEMORY, _INFO = 1, 0, 1, 2
_STREAM_BYTES = 16 * 1024 * 1024
_SEGMENT_BYTES = 1024 * 1024
_LONGEST_KEY = 1024
# Stream Manager's own rule for keys, less the placeholders, which evidence never has.
_KEY = re.compile(r"""[^\\{ }%`\[\]"'><~#^?|]+""")


class Status(IntEnum):
    """What became of a task; SUCCESS, FAILURE and CANCELED are final."""

    SUCCESS = 0
    FAILURE = 1
    IN_PROGRESS = 2
    WARNING = 3
    CANCELED = 4


@dataclass(frozen=True, slots=True)
class StatusMessage:
    """One message of the status stream, about the task that exports `url`."""

    url: str
    status: Status
    message: str


def status_stream(stream: str) -> str:
    """Return the name of the stream in which Stream Manager says what became of the tasks."""
    return f"{stream}-status"


def definitions(stream: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the definitions of the status stream and of the stream with the tasks, in the order to make them in."""
    status = {
        "name": status_stream(stream),
        "maxSize": _STREAM_BYTES,
        "streamSegmentSize": _SEGMENT_BYTES,
        "strategyOnFull": _OVERWRITE_OLDEST,
        "persistence": _MEMORY,
        "flushOnWrite": False,
    }
    tasks = {
        "name": stream,
        "maxSize": _STREAM_BYTES,
        "streamSegmentSize": _SEGMENT_BYTES,
        "strategyOnFull": _OVERWRITE_OLDEST,
        "persistence": _FILE,
        "flushOnWrite": True,
        "exportDefinition": {
            "s3TaskExecutor": [
                {
                    "identifier": EXPORT,
                    "disabled": False,
                    "statusConfig": {"statusLevel": _INFO, "statusStreamName": status["name"]},
                }
            ]
        },
    }
    return status, tasks


def is_someone_elses(found: dict[str, Any]) -> bool:
    """Return whether a stream's definition has an export that we did not make."""
    exports = found.get("exportDefinition") or {}
    return any(one.get("identifier") != EXPORT for kind in exports.values() for one in kind or ())


def agrees(found: Any, wanted: Any) -> bool:
    """Return whether all that is wanted stands in what was found; more may stand there."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(agrees(found.get(name), value) for name, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(found, list) and len(found) == len(wanted) and all(map(agrees, found, wanted))
    return bool(found == wanted) or (wanted is False and found is None)


def task(file: Path, bucket: str, key: str) -> bytes:
    """Return the message that has a file exported; raises BatchRefused where Stream Manager takes no such key."""
    if len(key.encode()) > _LONGEST_KEY or not _KEY.fullmatch(key):
        raise BatchRefused(
            f"{key!r:.200} is no key for Stream Manager: 1 to {_LONGEST_KEY} bytes, without spaces and "
            "\\ { } % ` [ ] \" ' > < ~ # ^ ? |",
            remedy="Name the model, fleet and prefix without these",
        )
    return json.dumps({"inputUrl": file.as_uri(), "bucket": bucket, "key": key}).encode()


def parse_status(payload: bytes) -> StatusMessage | None:
    """Read a message of the status stream; None where it is about nothing that can be told."""
    try:
        said = json.loads(payload)
        about = said["statusContext"]["s3ExportTaskDefinition"]
        return StatusMessage(str(about["inputUrl"]), Status(said["status"]), str(said.get("message") or ""))
    except (ValueError, KeyError, TypeError):
        return None


def is_gone(info: dict[str, Any], sequence: int) -> bool:
    """Return whether a task stands no longer in its stream, by the stream's `messageStreamInfo`."""
    storage = info.get("storageStatus") or {}
    oldest, newest = storage.get("oldestSequenceNumber"), storage.get("newestSequenceNumber")
    return (isinstance(oldest, int) and oldest > sequence) or (isinstance(newest, int) and newest < sequence)


def is_passed(info: dict[str, Any], sequence: int) -> bool:
    """Return whether Stream Manager says that it is done with a task, though not how it went."""
    for export in info.get("exportStatuses") or ():
        last = export.get("lastExportedSequenceNumber")
        if export.get("exportConfigIdentifier") == EXPORT and isinstance(last, int):
            return last >= sequence
    return False


def failure(status: StatusMessage, key: str) -> ForwarderError:
    """Return what a task's bad end means.

    Stream Manager tries again by itself what may get better, so its failure is final. Its texts are
    those of S3's and Java's errors; one that is not known here is tried again, without end.
    """
    what = f"Stream Manager did not export {key}: {status.message or status.status.name}"
    if status.status is Status.CANCELED:
        return DestinationAway(what, remedy="It is sent again")
    for words, reason, remedy in _NOT_ALLOWED:
        if words.search(status.message):
            return NotAllowed(what, reason=reason, remedy=remedy)
    if _REFUSED.search(status.message):
        return BatchRefused(what, remedy="See what S3 says of it")
    return DestinationAway(what, remedy="It is sent again")


_NOT_ALLOWED = (
    (
        re.compile(r"NoSuchBucket|bucket does not exist|PermanentRedirect|AuthorizationHeaderMalformed", re.IGNORECASE),
        "no-bucket",
        "Create the bucket in the region of the core device, or correct `bucket`",
    ),
    (
        re.compile(r"NoSuchFile|FileNotFound|No such file|nio\.file\.AccessDenied|Permission denied", re.IGNORECASE),
        "folder",
        "Give Stream Manager the folder `path`: mounted at the same path, readable for its user",
    ),
    (
        re.compile(
            r"Access ?Denied|Forbidden|\b403\b|InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken|credentials",
            re.IGNORECASE,
        ),
        "permission",
        "Allow the token exchange role s3:PutObject, s3:AbortMultipartUpload and s3:ListMultipartUploadParts there",
    ),
)
_REFUSED = re.compile(r"EntityTooLarge|KeyTooLong|InvalidArgument|InvalidRequest\b|\b400\b", re.IGNORECASE)


def trouble(error: StreamManagerError, target: str) -> ForwarderError:
    """Return what an error of the connection, or an answer, means for the delivery."""
    what = f"Stream Manager at {target}: {error}"
    if isinstance(error, Lost) or not isinstance(error, Refused):
        return DestinationAway(what, remedy="Is the component aws.greengrass.StreamManager running?")
    if error.code == Code.UNAUTHORIZED:
        return NotAllowed(
            what,
            reason="credentials",
            remedy="Run the forwarder as a Greengrass component: AWS_CONTAINER_AUTHORIZATION_TOKEN is its token. "
            "Or set STREAM_MANAGER_AUTHENTICATE_CLIENT to false for Stream Manager",
        )
    if error.code in _PROTOCOL:
        return NotAllowed(what, reason="protocol", remedy="Update aws.greengrass.StreamManager to 2.0.0 or later")
    if error.code == Code.REQUEST_TOO_LARGE:
        return BatchRefused(what)
    if error.code in {Code.OUT_OF_MEMORY, Code.SERVER_TIMEOUT, Code.STORE_READ_ERROR}:
        return Throttled(what, remedy="Look into Stream Manager's log, and whether its disk is full")
    return DestinationAway(what, remedy="Look into Stream Manager's log")


_PROTOCOL = {
    Code.UNSUPPORTED_CONNECT_VERSION,
    Code.UNSUPPORTED_PROTOCOL_VERSION,
    Code.INVALID_PROTOCOL_VERSION,
    Code.UNEXPECTED_OPERATION,
    Code.FAILED_TO_CONNECT,
    Code.UNKNOWN_OPERATION,
}
