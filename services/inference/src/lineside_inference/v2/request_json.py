"""The JSON of an inference request, read into an InferRequest; everything that is wrong in it is refused by name.

The form is that of the Open Inference Protocol with Triton's extensions: binary data, classification, parameters,
shared memory (by an allow-list only).
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from pydantic_core import from_json

from lineside_inference.api.problems import Problem
from lineside_inference.dataplane.datatypes import BYTES, ITEM_BYTES, check_size
from lineside_inference.dataplane.infer_request import InferRequest, Input, Output, Region, Scalar
from lineside_inference.engine.client_memory import SETTING, ClientRegion
from lineside_inference.engine.parameters import SEQUENCE
from lineside_inference.settings import LimitSettings

_MAX_PARAMETERS = 32
_MAX_RANK = 16
_MAX_NAME = 256
_MAX_TEXT = 4096
_INT64 = range(-(2**63), 2**63)
_UINT64 = range(2**64)
FindRegion = Callable[[str], ClientRegion | None]
_SHARED = ("shared_memory_region", "shared_memory_offset", "shared_memory_byte_size")
_OWN = {"binary_data", "binary_data_size", "binary_data_output"}


def read(
    document: bytes | bytearray, limits: LimitSettings, *, binary: bool, regions: FindRegion = lambda _: None
) -> InferRequest:
    """Read the JSON; `binary` says whether a binary part may follow, `regions` finds clients' memory.

    Raises Problem 400, 403 or 413, TensorShape.
    """
    try:
        given = from_json(document, allow_inf_nan=False, cache_strings="keys")
    except ValueError as error:
        raise wrong(f"the request is not JSON: {error}") from None
    if not isinstance(given, dict):
        raise wrong("the request is not a JSON object")
    return read_values(given, limits, binary=binary, regions=regions)


def read_values(given: Mapping[str, Any], limits: LimitSettings, *, binary: bool, regions: FindRegion) -> InferRequest:
    """Read a request of such JSON, or of another form of it; as of `read`."""
    known = given.get("id", "")
    if not isinstance(known, str) or len(known) > _MAX_NAME:
        raise wrong(f"id must be a string of at most {_MAX_NAME} characters")
    own, parameters = _parameters(given, "the request")
    default = _flag(own, "binary_data_output", "the request")
    inputs = tuple(
        _input(part, limits, regions, binary=binary)
        for part in _parts(given, "inputs", limits.tensors, "limits.tensors")
    )
    outputs = tuple(
        _output(part, limits, regions, default) for part in _parts(given, "outputs", limits.outputs, "limits.outputs")
    )
    for kind, names in (("input", [part.name for part in inputs]), ("output", [part.name for part in outputs])):
        if len(set(names)) != len(names):
            raise wrong(f"{kind} {next(name for name in names if names.count(name) > 1)!r} stands twice")
    return InferRequest(known, parameters, inputs, outputs, default)


def wrong(detail: str) -> Problem:
    """Return the answer to a request that does not follow the protocol."""
    return Problem(400, "v2-request-invalid", detail)


def _parts(given: Mapping[str, Any], field: str, most: int, setting: str) -> list[Any]:
    parts = given.get(field)
    if parts is None and field == "outputs":
        return []
    if not isinstance(parts, list) or (field == "inputs" and not parts):
        raise wrong(f"{field} must be a list of tensors")
    if len(parts) > most:
        raise Problem(413, "tensors-too-many", f"{len(parts)} {field}; at most {most} (inference.{setting})")
    return parts


def _input(part: Any, limits: LimitSettings, regions: FindRegion, *, binary: bool) -> Input:
    name = _name(part, "input")
    datatype = part.get("datatype")
    if datatype != BYTES and (not isinstance(datatype, str) or datatype not in ITEM_BYTES):
        raise Problem(
            400, "tensor-datatype", f"input {name!r} is {datatype!r:.60}; use {', '.join((*ITEM_BYTES, BYTES))}"
        )
    shape = part.get("shape")
    if (
        not isinstance(shape, list)
        or len(shape) > _MAX_RANK
        or not all(type(length) is int and 0 <= length < 2**31 for length in shape)
    ):
        raise Problem(
            400, "tensor-shape", f"input {name!r}: shape must be at most {_MAX_RANK} whole numbers of 0 to 2^31 - 1"
        )
    own, parameters = _parameters(part, f"input {name!r}", null_is_absent=True)
    size, data, region = own.get("binary_data_size"), part.get("data"), _region(own, name, limits, regions)
    if sum(given is not None for given in (size, data, region)) != 1:
        raise wrong(f"input {name!r} must have exactly one of data and parameters.binary_data_size")
    if datatype == BYTES and math.prod(shape) > limits.strings:
        detail = f"input {name!r} has {math.prod(shape)} elements of BYTES; at most {limits.strings}"
        raise Problem(413, "tensors-too-large", f"{detail} (inference.limits.strings)")
    if size is not None:
        if type(size) is not int or size < 0 or not binary:
            raise wrong(
                f"input {name!r}: binary_data_size must be a whole number, and the header "
                "Inference-Header-Content-Length must say where the binary part begins"
            )
        check_size(name, datatype, shape, size)
    if data is not None and not isinstance(data, list):
        raise wrong(f"input {name!r}: data must be a list")
    return Input(name, datatype, tuple(shape), parameters, size, data, region)


def _output(part: Any, limits: LimitSettings, regions: FindRegion, default: bool) -> Output:
    name = _name(part, "output")
    own, parameters = _parameters(part, f"output {name!r}", null_is_absent=True)
    wanted = _flag(own, "binary_data", f"output {name!r}") if "binary_data" in own else default
    return Output(name, wanted, parameters, _region(own, name, limits, regions))


def _name(part: Any, kind: str) -> str:
    name = part.get("name") if isinstance(part, dict) else None
    if not isinstance(name, str) or not 1 <= len(name) <= _MAX_NAME:
        raise wrong(f"every {kind} must be an object with a name of 1 to {_MAX_NAME} characters")
    return name


def _parameters(
    part: Mapping[str, Any], where: str, *, null_is_absent: bool = False
) -> tuple[dict[str, Any], dict[str, Scalar]]:
    """Return the parameters that are ours to follow, and those that go on to the model."""
    given = part.get("parameters")
    if given is None:
        return {}, {}
    if not isinstance(given, dict) or len(given) > _MAX_PARAMETERS:
        raise wrong(f"{where}: parameters must be an object of at most {_MAX_PARAMETERS}")
    own: dict[str, Any] = {}
    passed: dict[str, Scalar] = {}
    for name, value in given.items():
        if name in _OWN or name in _SHARED:
            own[name] = value
            continue
        if len(name) > _MAX_NAME or name.startswith("triton_"):
            raise wrong(f"{where}: parameter {name[:60]!r} cannot be given; names that begin triton_ are Triton's own")
        if value is None and null_is_absent:  # as Triton takes it for a tensor, and for a request does not
            continue
        is_whole = type(value) is int and value in (_UINT64 if name == SEQUENCE else _INT64)
        if not (is_whole or isinstance(value, bool | float) or (isinstance(value, str) and len(value) <= _MAX_TEXT)):
            raise wrong(f"{where}: parameter {name!r} must be a boolean, a 64-bit number or a string")
        passed[name] = value
    return own, passed


def _flag(own: Mapping[str, Any], name: str, where: str) -> bool:
    value = own.get(name, False)
    if not isinstance(value, bool):
        raise wrong(f"{where}: {name} must be true or false")
    return value


def _region(own: Mapping[str, Any], tensor: str, limits: LimitSettings, regions: FindRegion) -> Region | None:
    """Return the client's shared memory that a tensor names; raises Problem 400 or 403."""
    if not any(field in own for field in _SHARED):
        return None
    name, offset, size = own.get(_SHARED[0]), own.get(_SHARED[1], 0), own.get(_SHARED[2])
    known = regions(name) if isinstance(name, str) else None
    if not isinstance(name, str) or not (known or name.startswith(limits.client_shared_memory_prefixes or ("\0",))):
        raise Problem(
            403,
            "shared-memory-refused",
            f"tensor {tensor!r} names shared memory {name!r:.100}, which is not registered here, and whose name does "
            f"not begin as {SETTING} says. Register it, or send the data in binary",
        )
    if type(offset) is not int or type(size) is not int or offset not in _INT64 or not 0 <= size < 2**63 or offset < 0:
        raise wrong(f"tensor {tensor!r}: shared_memory_offset and shared_memory_byte_size must be whole numbers")
    if known is not None and offset + size > known.size:
        raise wrong(f"tensor {tensor!r} ends at byte {offset + size} of region {name!r:.100}, which has {known.size}")
    return Region(name, known.in_triton if known else name, offset, size)
