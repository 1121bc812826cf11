"""What a model takes and gives, as Triton tells it: by it a client's tensors are placed, and its answer is written."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tritonclient.grpc import service_pb2 as triton

from lineside.edge_manager.protocol import agent_pb2 as pb
from lineside_inference.agent.datatypes import OURS
from lineside_inference.engine.caller import TritonCaller

_KEPT_S = 5.0
_MAX_KEPT = 256


@dataclass(frozen=True, slots=True)
class ModelTensor:
    """One input or output: its name in Triton and in the protocol, Triton's datatype, its shape with -1 for open."""

    name: str
    key: bytes
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Signature:
    """A model's inputs and outputs in its own order; `is_batched`: its first dimension is Triton's batch."""

    inputs: tuple[ModelTensor, ...]
    outputs: tuple[ModelTensor, ...]
    is_batched: bool
    since: float = field(default_factory=time.monotonic)

    def metadata(self, tensors: Sequence[ModelTensor]) -> list[pb.TensorMetadata]:
        """Return how the protocol describes inputs or outputs: a batch as 1, another open dimension as -1."""
        return [
            pb.TensorMetadata(
                name=tensor.key,
                data_type=OURS.get(tensor.datatype, pb.UINT8),
                shape=[1, *tensor.shape[1:]] if self.is_batched and tensor.shape[:1] == (-1,) else tensor.shape,
            )
            for tensor in tensors
        ]


class Signatures:
    """The signatures of the server's models, asked again every few seconds."""

    def __init__(self, caller: TritonCaller) -> None:
        self._caller = caller
        self._known: dict[tuple[str, str], Signature] = {}

    async def of(self, name: str, version: str) -> Signature:
        """Return a model's signature; raises as TritonCaller.ask does."""
        known = self._known.get((name, version))
        if known is not None and time.monotonic() - known.since < _KEPT_S:
            return known
        metadata = await self._caller.ask("ModelMetadata", triton.ModelMetadataRequest(name=name, version=version))
        config = await self._caller.ask("ModelConfig", triton.ModelConfigRequest(name=name, version=version))
        if len(self._known) >= _MAX_KEPT:
            self._known.clear()
        found = Signature(_tensors(metadata.inputs), _tensors(metadata.outputs), config.config.max_batch_size > 0)
        self._known[name, version] = found
        return found

    def forget(self, name: str) -> None:
        """Ask again next time: it may be another model now."""
        for key in [key for key in self._known if key[0] == name]:
            del self._known[key]


def _tensors(given: Sequence[triton.ModelMetadataResponse.TensorMetadata]) -> tuple[ModelTensor, ...]:
    return tuple(
        ModelTensor(tensor.name, tensor.name.encode(), tensor.datatype, tuple(tensor.shape)) for tensor in given
    )
