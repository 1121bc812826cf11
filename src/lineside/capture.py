"""One capture as Edge Manager wrote it: a line of JSON, with large tensors and images as objects of their own.

The service that makes a capture writes its line with placeholders for the objects; the forwarder replaces them by their
addresses. The shape
is that of public samples of the agent's output: `deviceFleetInputs`, `deviceFleetOutputs`, the two auxiliary lists,
`eventMetadata`, `eventVersion "0"`; the layout is `<prefix>/<fleet>/<model>/<YYYY>/<MM>/<DD>/<HH>/` in UTC.
"""

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from lineside.spool.store.entry import Blob, Entry, Kept

Group = Literal["inputs", "outputs", "auxiliary-inputs", "auxiliary-outputs"]

_LISTS: dict[Group, tuple[str, str, str]] = {
    "inputs": ("deviceFleetInputs", "Input", "raw-data/input-tensors"),
    "outputs": ("deviceFleetOutputs", "Output", "raw-data/output-tensors"),
    "auxiliary-inputs": ("deviceFleetAuxiliaryInputs", "Input", "raw-data/auxiliary-inputs"),
    "auxiliary-outputs": ("deviceFleetAuxiliaryOutputs", "Output", "raw-data/auxiliary-outputs"),
}
# Edge Manager's words for Triton's datatypes; what it had no word for keeps Triton's.
_WORDS = {"FP16": "FLOAT16", "FP32": "FLOAT32", "FP64": "FLOAT64", "BOOL": "UINT8"}
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")
_LONGEST_PART = 56
# Of the objects that a store or a browser shall show as what they are.
_MEDIA_TYPES = {
    "jpg": "image/jpeg",
    "png": "image/png",
    "bmp": "image/bmp",
    "tiff": "image/tiff",
    "pgm": "image/x-portable-anymap",
    "webp": "image/webp",
}
_REFERENCE = re.compile(rb'"data-ref":"spool:([0-9]+)"')


@dataclass(frozen=True, slots=True)
class Item:
    """One tensor or file of a capture.

    `encoding` is of `data` itself: BASE64 or NONE for bytes, which are written as base64; CSV and JSON are text.
    """

    group: Group
    name: str
    content_type: str
    data: bytes
    encoding: Literal["BASE64", "NONE", "CSV", "JSON"] = "BASE64"
    suffix: str = "bin"


@dataclass(frozen=True, slots=True)
class Event:
    """Which inference a capture is of; `time` is when it ran, `extra` goes into `eventMetadata` beside the rest."""

    id: str
    fleet: str
    device: str
    model: str
    model_version: str
    time: datetime
    extra: dict[str, Any]


def tensor_type(datatype: str, shape: Sequence[int]) -> str:
    """Return a tensor's `observedContentType`, for instance `Tensor[FLOAT32; 1, 3, 224, 224]`."""
    return f"Tensor[{_WORDS.get(datatype, datatype)}; {', '.join(str(size) for size in shape)}]"


def compose(
    event: Event, items: Sequence[Item], *, embed_limit: int, kept: Kept = "always", text_as_base64: bool = False
) -> Entry:
    """Return a capture as an entry for the spool; items of more than `embed_limit` bytes become blobs.

    With `text_as_base64` CSV and JSON in the line are base64 too, and say so: for readers that decode whatever stands
    in `data`.
    """
    lists: dict[str, list[dict[str, Any]]] = {key: [] for key, _mode, _folder in _LISTS.values()}
    blobs: list[Blob] = []
    for item in items:
        key, mode, folder = _LISTS[item.group]
        shown: dict[str, Any] = {
            "name": item.name,
            "mode": mode,
            "encoding": item.encoding,
            "observedContentType": item.content_type,
        }
        if len(item.data) > embed_limit:
            stem = f"{_part(event.device)}.{_part(event.id)}.{len(lists[key])}-{_part(item.name)}"
            shown["data-ref"] = f"spool:{len(blobs)}"
            kind = _MEDIA_TYPES.get(item.suffix, "application/octet-stream")
            blobs.append(Blob(f"{folder}/{stem}.{item.suffix}", item.data, kind))
        elif item.encoding in {"CSV", "JSON"} and not text_as_base64:
            shown["data"] = item.data.decode()
        else:
            shown["encoding"] = "BASE64" if item.encoding in {"CSV", "JSON"} else item.encoding
            shown["data"] = base64.b64encode(item.data).decode()
        lists[key].append(shown)
    instant = event.time.astimezone(UTC)
    metadata: dict[str, Any] = {
        "deviceFleetName": event.fleet,
        "deviceId": event.device,
        "eventId": event.id,
        "inferenceTime": instant.strftime("%Y-%m-%dT%H:%M:%S"),
        "modelName": event.model,
        "modelVersion": event.model_version,
    }
    metadata |= {name: value for name, value in event.extra.items() if name not in metadata}
    # What the line says of a part must not read as the place of an object: another spelling of the same text.
    safe = _json(metadata).replace('"spool:', '"\\u0073pool:')
    body = f'{_json(lists)[:-1]},"eventMetadata":{safe},"eventVersion":"0"}}'.encode()
    folder = f"{event.fleet}/{event.model}/{instant:%Y/%m/%d/%H}"
    return Entry(key=event.id, stream=event.model, folder=folder, body=body, kept=kept, blobs=tuple(blobs))


def with_references(body: bytes, addresses: Sequence[str | None]) -> bytes:
    """Return a capture's line with the address of each blob in its place; None: the blob was damaged, which is said."""

    def address(match: re.Match[bytes]) -> bytes:
        found = addresses[int(match[1])]
        if found is None:
            return b'"data-error":"damaged on the device\'s disk"'
        return b'"data-ref":' + json.dumps(found).encode()

    return _REFERENCE.sub(address, body)


def share(request_id: str) -> float:
    """Return a number from 0 to below 1 that is the same for the same id and even over all ids.

    What the policy's `rate` keeps are the ids below it, so among all that is kept those are a fair sample, whatever
    else the policy chose.
    """
    return int.from_bytes(hashlib.sha256(request_id.encode()).digest()[:6]) / 2**48


def file_name(device: str, first: str) -> str:
    """Return the name of a batch's file: the device and the id of its first capture, so that it never changes."""
    return f"{_part(device)}.{_part(first)}.jsonl"


def _part(text: str) -> str:
    """Return a text as a part of a file's name: without a dot, at most 69 characters, no two texts the same.

    What stands for another text is longer than any that stands for itself, so that no id can be chosen to hit it.
    """
    safe = _UNSAFE.sub("_", text)
    if safe == text and len(safe) <= _LONGEST_PART:
        return safe
    head = safe[:_LONGEST_PART]
    return f"{head}-{hashlib.sha256(text.encode()).hexdigest()[: max(12, _LONGEST_PART - len(head))]}"


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
