"""What Triton says about itself and its models, as the JSON that its own HTTP port gives."""

import time
from dataclasses import dataclass, field
from typing import Any

from tritonclient.grpc import service_pb2 as pb

from lineside_inference.engine.raw import RawEngine
from lineside_inference.v2.datatypes import size_of

EXTENSIONS = (
    "classification",
    "sequence",
    "schedule_policy",
    "model_configuration",
    "binary_tensor_data",
    "parameters",
    "statistics",
)
"""Of Triton's extensions those that can be used through this service; not model control, tracing or logging."""
_KEPT_S = 5.0
_MAX_KEPT = 256


@dataclass(slots=True)
class Outputs:
    """A model's outputs; `rows` is whether their first dimension is the request's batch."""

    shapes: dict[str, tuple[str, list[int]]]
    rows: bool
    is_sure: bool = True
    since: float = field(default_factory=time.monotonic)

    def sizes(self, batch: int) -> dict[str, int | None]:
        """Return the bytes of each output for a batch; None where they are not known."""
        if not self.is_sure:
            return dict.fromkeys(self.shapes)
        return {
            name: size_of(datatype, [batch, *shape[1:]] if self.rows and shape[:1] == [-1] else shape)
            for name, (datatype, shape) in self.shapes.items()
        }


class Describe:
    """The questions about server and models; errors as of RawEngine.ask."""

    def __init__(self, engine: RawEngine) -> None:
        self._engine = engine
        self._outputs: dict[tuple[str, str], Outputs] = {}

    async def model(self, name: str, version: str) -> dict[str, Any]:
        """Return a model's metadata."""
        found = await self._engine.ask("ModelMetadata", pb.ModelMetadataRequest(name=name, version=version))
        return as_dict(found)

    async def config(self, name: str, version: str) -> dict[str, Any]:
        """Return a model's configuration as Triton completed it."""
        found = await self._engine.ask("ModelConfig", pb.ModelConfigRequest(name=name, version=version))
        return as_dict(found.config)

    async def stats(self, name: str, version: str) -> dict[str, Any]:
        """Return the statistics of a model, or of all where the name is empty."""
        found = await self._engine.ask("ModelStatistics", pb.ModelStatisticsRequest(name=name, version=version))
        return as_dict(found)

    async def ready(self, name: str, version: str) -> bool:
        """Return whether a model can be asked now."""
        found = await self._engine.ask("ModelReady", pb.ModelReadyRequest(name=name, version=version))
        return bool(found.ready)

    async def index(self, *, ready: bool) -> list[dict[str, Any]]:
        """Return the models of the repository, with their states."""
        found = await self._engine.ask("RepositoryIndex", pb.RepositoryIndexRequest(ready=ready))
        return [{name: value for name, value in as_dict(model).items() if value} for model in found.models]

    async def outputs(self, name: str, version: str) -> Outputs:
        """Return a model's outputs, asked again every few seconds."""
        known = self._outputs.get((name, version))
        if known is not None and time.monotonic() - known.since < _KEPT_S:
            return known
        config = await self.config(name, version)
        metadata = await self.model(name, version)
        shapes = {output["name"]: (output["datatype"], output["shape"]) for output in metadata["outputs"]}
        if len(self._outputs) >= _MAX_KEPT:
            self._outputs.clear()
        kept = Outputs(shapes, rows=config["max_batch_size"] > 0, is_sure=known.is_sure if known else True)
        self._outputs[name, version] = kept
        return kept

    def forget(self, name: str, version: str) -> None:
        """Ask again next time: a request failed."""
        self._outputs.pop((name, version), None)


def as_dict(message: Any) -> dict[str, Any]:
    """Return a message as Triton's own HTTP port writes it: proto names, whole numbers as numbers, defaults written.

    What the message distinguishes from its default (messages, members of a oneof) is written only where it is set.
    """
    out: dict[str, Any] = {}
    for description in message.DESCRIPTOR.fields:
        value = getattr(message, description.name)
        kind = description.message_type
        if kind is not None and kind.GetOptions().map_entry:
            of = kind.fields_by_name["value"]
            out[description.name] = {str(key): _one(of, value[key]) for key in value}
        elif description.is_repeated:
            out[description.name] = [_one(description, item) for item in value]
        elif not description.has_presence or message.HasField(description.name):
            out[description.name] = _one(description, value)
    return out


def _one(description: Any, value: Any) -> Any:
    if description.message_type is not None:
        return as_dict(value)
    if description.enum_type is not None:
        return description.enum_type.values_by_number[value].name
    return value.decode("latin-1") if isinstance(value, bytes) else value
