"""A request to Triton and its answer, as both of its ports carry them: gRPC's message, and the v2 protocol over HTTP.

What is the same from call to call is made once: a request without bytes of tensors keeps its HTTP form, and the JSON of
an answer that came before is not read again.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from tritonclient.grpc import service_pb2 as pb

from lineside_inference.engine.parameters import SEQUENCE, plain, put

LENGTH = "inference-header-content-length"
_MAX_KEPT = 256
_MAX_KEPT_BYTES = 4096

Buffer = bytes | bytearray | memoryview


class InferMessage:
    """A request; `head` says all but the bytes of the inputs that lie in no shared memory, which are `tensors`."""

    __slots__ = ("_http", "head", "tensors")

    def __init__(self, head: pb.ModelInferRequest, tensors: Sequence[Buffer] = ()) -> None:
        self.head = head
        self.tensors = tensors
        self._http: tuple[str, bytes] | None = None

    @property
    def is_repeatable(self) -> bool:
        """Whether Triton may run it twice: all but the steps of a sequence, whose model has a memory."""
        return SEQUENCE not in self.head.parameters

    def as_grpc(self) -> pb.ModelInferRequest:
        """Return the whole message for the gRPC port."""
        if len(self.head.raw_input_contents) != len(self.tensors):
            self.head.raw_input_contents.extend(bytes(tensor) for tensor in self.tensors)
        return self.head

    def as_http(self) -> tuple[str, bytes]:
        """Return path and JSON for the HTTP port; the tensors' bytes follow the JSON."""
        if self._http is None:
            version = f"/versions/{self.head.model_version}" if self.head.model_version else ""
            path = f"/v2/models/{quote(self.head.model_name, safe='')}{version}/infer"
            self._http = path, _http_head(self.head, list(map(len, self.tensors)))
        return self._http


@dataclass(frozen=True, slots=True, eq=False)
class Reply:
    """An answer; `raw` has the bytes of each output of `head`, empty for one that lies in shared memory.

    `head` may be another call's too: it is never changed.
    """

    head: pb.ModelInferResponse
    raw: Sequence[bytes | memoryview]


class HttpReplies:
    """Reads answers of the HTTP port."""

    def __init__(self) -> None:
        self._kept: dict[bytes, tuple[pb.ModelInferResponse, list[int]]] = {}

    def read(self, body: Buffer, length: int) -> Reply:
        """Return an answer whose first `length` bytes are JSON, all where it is 0; raises ValueError."""
        length = length or len(body)
        document = bytes(body[:length])
        known = self._kept.get(document)
        if known is None:
            known = _read_head(document)
            if length <= _MAX_KEPT_BYTES:
                if len(self._kept) >= _MAX_KEPT:
                    self._kept.clear()
                self._kept[document] = known
        head, sizes = known
        raw, at, view = [], length, memoryview(body)
        for size in sizes:
            raw.append(view[at : at + size])
            at += size
        return Reply(head, raw)


def _read_head(document: bytes) -> tuple[pb.ModelInferResponse, list[int]]:
    try:
        given = json.loads(document)
        head = pb.ModelInferResponse(
            model_name=given["model_name"], model_version=given["model_version"], id=given.get("id", "")
        )
        put(head.parameters, given.get("parameters", {}))
        sizes = []
        for output in given["outputs"]:
            added = head.outputs.add(name=output["name"], datatype=output["datatype"], shape=output["shape"])
            parameters = output.get("parameters", {})
            sizes.append(int(parameters.pop("binary_data_size", 0)))
            put(added.parameters, parameters)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{error!r}") from None
    if min(sizes, default=0) < 0:
        raise ValueError("an output has fewer than 0 bytes")
    return head, sizes


def _http_head(message: pb.ModelInferRequest, sizes: Sequence[int]) -> bytes:
    left = iter(sizes)
    inputs = []
    for tensor in message.inputs:
        parameters = plain(tensor.parameters)
        if "shared_memory_region" not in parameters:
            parameters["binary_data_size"] = next(left, 0)
        inputs.append(
            {
                "name": tensor.name,
                "datatype": tensor.datatype,
                "shape": list(tensor.shape),
                "parameters": parameters,
            }
        )
    document: dict[str, Any] = {"inputs": inputs, "parameters": {"binary_data_output": True}}
    if message.id:
        document["id"] = message.id
    document["parameters"] |= plain(message.parameters)
    if message.outputs:
        document["outputs"] = [_output(output) for output in message.outputs]
    return json.dumps(document).encode()


def _output(output: Any) -> dict[str, Any]:
    parameters = plain(output.parameters)
    if "shared_memory_region" not in parameters:
        parameters["binary_data"] = True
    return {"name": output.name, "parameters": parameters}
