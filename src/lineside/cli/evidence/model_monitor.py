"""A record of Edge Manager's form as a line of SageMaker Model Monitor's.

Its line holds one row for the input and one for the output, as CSV. Tensors give their values, in row-major order, one
tensor after the other; a NaN is an empty cell. Where there is no tensor, auxiliary data with the encoding CSV, else
JSON, is taken as it is. Source of the form: Model Monitor's public documentation, "Capture data", and its samples.
"""

import base64
import math
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_TENSOR = re.compile(r"Tensor\[(\w+); ?([0-9, ]*)\]")
_FORMATS: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys(("UINT8", "BOOL"), ("B", "d")),
    "INT8": ("b", "d"),
    "UINT16": ("H", "d"),
    "INT16": ("h", "d"),
    "UINT32": ("I", "d"),
    "INT32": ("i", "d"),
    "UINT64": ("Q", "d"),
    "INT64": ("q", "d"),
    **dict.fromkeys(("FLOAT16", "FP16"), ("e", ".5g")),
    **dict.fromkeys(("FLOAT32", "FP32"), ("f", ".9g")),
    **dict.fromkeys(("FLOAT64", "FP64"), ("d", ".17g")),
}
"""By a datatype's word its code in `struct`, and the digits after which a value is still the same one."""
MAX_VALUES = 4096
"""Most cells of a row; an image is none."""
_TYPES = {"CSV": "text/csv", "JSON": "application/json"}

Fetch = Callable[[str], bytes | None]
"""Returns the object of a reference, None where it is not at hand."""


class NoRow(ValueError):
    """A record has nothing that is a row, and why."""


def line(record: Mapping[str, Any], fetch: Fetch) -> dict[str, Any]:
    """Return Model Monitor's line for a record; raises NoRow."""
    try:
        about = record["eventMetadata"]
        event, time = str(about["eventId"]), str(about["inferenceTime"])
        return {
            "captureData": {
                "endpointInput": _side(record, "Inputs", fetch) | {"mode": "INPUT"},
                "endpointOutput": _side(record, "Outputs", fetch) | {"mode": "OUTPUT"},
            },
            "eventMetadata": {"eventId": event, "inferenceTime": time if time.endswith("Z") else f"{time}Z"},
            "eventVersion": "0",
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise NoRow(f"is no record of a capture: {error!r:.80}") from None


def _side(record: Mapping[str, Any], side: str, fetch: Fetch) -> dict[str, str]:
    tensors = record.get(f"deviceFleet{side}") or []
    if tensors:
        cells = [cell for one in tensors for cell in _cells(one, fetch)]
        if len(cells) > MAX_VALUES:
            raise NoRow(f"{side.lower()}: {len(cells)} values, and a row has {MAX_VALUES} at most")
        return {"observedContentType": "text/csv", "data": ",".join(cells), "encoding": "CSV"}
    files = record.get(f"deviceFleetAuxiliary{side}") or []
    for wanted in ("CSV", "JSON"):
        for one in files:
            if _kind(one) == wanted:
                return {"observedContentType": _TYPES[wanted], "data": _text(one, fetch), "encoding": wanted}
    raise NoRow(f"{side.lower()}: neither tensors nor CSV or JSON")


def _kind(file: Mapping[str, Any]) -> str:
    """Return an entry's encoding, that of its content where the forwarder wrote text as base64."""
    return str(file["observedContentType"]).upper() if file["encoding"] == "BASE64" else str(file["encoding"])


def _text(file: Mapping[str, Any], fetch: Fetch) -> str:
    if "data" in file and file["encoding"] != "BASE64":
        return str(file["data"])
    try:
        return _bytes(file, fetch).decode()
    except UnicodeDecodeError:
        raise NoRow(f"{file['name']!r:.80} is no text") from None


def _cells(tensor: Mapping[str, Any], fetch: Fetch) -> Sequence[str]:
    found = _TENSOR.fullmatch(str(tensor["observedContentType"]))
    if found is None or found[1] not in _FORMATS:
        raise NoRow(f"{tensor['name']!r:.80} is {tensor['observedContentType']!r:.80}: not a tensor that is known")
    code, digits = _FORMATS[found[1]]
    count = math.prod(int(length) for length in found[2].split(",") if length.strip())
    if count > MAX_VALUES:
        raise NoRow(f"{tensor['name']!r:.80} has {count} values, and a row has {MAX_VALUES} at most")
    data = _bytes(tensor, fetch)
    if len(data) != count * struct.calcsize(code):
        raise NoRow(f"{tensor['name']!r:.80} has {len(data)} bytes, which {tensor['observedContentType']} is not")
    values = struct.unpack(f"<{count}{code}", data)
    return ["" if value != value else format(value, digits) for value in values]  # noqa: PLR0124 - only NaN is not itself


def _bytes(entry: Mapping[str, Any], fetch: Fetch) -> bytes:
    if "data" in entry:
        try:
            return base64.b64decode(entry["data"], validate=True)
        except ValueError:
            raise NoRow(f"{entry['name']!r:.80}: data is no base64") from None
    found = fetch(str(entry.get("data-ref", "")))
    if found is None:
        raise NoRow(f"{entry['name']!r:.80}: {entry.get('data-ref') or entry.get('data-error')!r:.200} is not at hand")
    return found
