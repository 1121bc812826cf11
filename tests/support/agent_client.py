"""Clients of Edge Manager's agent, with stubs made by protoc from files of either of its versions."""

import functools
import tempfile
from pathlib import Path
from typing import Any, Self

import grpc
import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_tools import protoc

from tests.support.paths import ROOT
from tests.support.waiting import HANG_S

PROTOS = ROOT / "tests" / "support" / "agent_protos"
SERVICE = "AWS.SageMaker.Edge.Agent"
OPTIONS = (("grpc.enable_http_proxy", 0), ("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
DTYPES = {0: "u1", 1: "<i2", 2: "<i4", 3: "<i8", 4: "<f2", 5: "<f4", 6: "<f8"}
NUMBERS = {np.dtype(dtype): number for number, dtype in DTYPES.items()}


class Stubs:
    """The messages and calls of one .proto file, in a pool of their own: both versions have the same names."""

    def __init__(self, path: Path) -> None:
        pool = descriptor_pool.DescriptorPool()
        file = pool.Add(compiled(path).file[0]) or pool.FindFileByName(path.name)
        self.messages = {
            name: message_factory.GetMessageClass(kind) for name, kind in file.message_types_by_name.items()
        }
        self.calls = {
            method.name: (self.messages[method.input_type.name], self.messages[method.output_type.name])
            for method in file.services_by_name["Agent"].methods
        }

    def __getattr__(self, name: str) -> Any:
        return self.messages[name]


def compiled(path: Path) -> descriptor_pb2.FileDescriptorSet:
    """Return what protoc makes of a file."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "set"
        assert protoc.main(["", f"-I{path.parent}", f"--descriptor_set_out={out}", str(path)]) == 0
        return descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())


@functools.cache
def stubs(version: str) -> Stubs:
    """Return the stubs of 2021 or 2022."""
    return Stubs(PROTOS / f"agent_{version}.proto")


class AgentClient:
    """A client as the samples are written: `client.Predict(name=..., tensors=[...])`; use it as a context."""

    def __init__(self, socket: Path, version: str = "2022") -> None:
        self.of = stubs(version)
        self.version = version
        self.channel = grpc.insecure_channel(f"unix://{socket}", options=OPTIONS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.channel.close()

    def method(self, call: str) -> Any:
        """Return the call as the generated stub has it."""
        kind, answer = self.of.calls[call]
        return self.channel.unary_unary(
            f"/{SERVICE}/{call}", request_serializer=kind.SerializeToString, response_deserializer=answer.FromString
        )

    def __getattr__(self, call: str) -> Any:
        if call not in self.of.calls:
            raise AttributeError(call)
        return functools.partial(self._call, call)

    def _call(self, call: str, timeout: float = HANG_S, **fields: Any) -> Any:
        return self.method(call)(self.of.calls[call][0](**fields), timeout=timeout)

    def raw(self, call: str, body: bytes, timeout: float = HANG_S) -> bytes:
        """Send bytes as they are, and return the answer's."""
        answer: bytes = self.channel.unary_unary(f"/{SERVICE}/{call}")(body, timeout=timeout)
        return answer

    def named(self, model: str) -> dict[str, str]:
        """Return the field by which this version names a model."""
        return {"handle": model} if self.version == "2022" else {"name": model}

    def tensor(self, name: str | bytes, array: np.ndarray) -> Any:
        """Return a tensor with its bytes."""
        return self.of.Tensor(tensor_metadata=self.metadata(name, array), byte_data=array.tobytes())

    def metadata(self, name: str | bytes, array: np.ndarray) -> Any:
        """Return how a tensor is described."""
        given = name if isinstance(name, str) == (self.version == "2021") else name.encode()
        return self.of.TensorMetadata(name=given, data_type=NUMBERS[array.dtype.newbyteorder("<")], shape=array.shape)

    def predict(self, model: str, arrays: dict[str, np.ndarray], timeout: float = HANG_S) -> dict[str, np.ndarray]:
        """Return a model's outputs by name."""
        tensors = [self.tensor(name, array) for name, array in arrays.items()]
        answer = self.Predict(tensors=tensors, timeout=timeout, **self.named(model))
        return {as_text(tensor.tensor_metadata.name): array_of(tensor) for tensor in answer.tensors}


def as_text(name: str | bytes) -> str:
    """Return a tensor's name as text, of either version."""
    return name if isinstance(name, str) else name.decode()


def array_of(tensor: Any) -> np.ndarray:
    """Return the array that a tensor carries."""
    metadata = tensor.tensor_metadata
    return np.frombuffer(tensor.byte_data, DTYPES[metadata.data_type]).reshape(tuple(metadata.shape))


def code_of(call: Any) -> Any:
    """Return the gRPC code with which a call fails, OK where it does not, and the words."""
    try:
        call()
    except grpc.RpcError as error:
        return error.code(), error.details()
    return grpc.StatusCode.OK, ""
