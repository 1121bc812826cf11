"""What Triton says about itself and its models, as the JSON that its own HTTP port gives."""

import importlib.metadata
from typing import Any

from tritonclient.grpc import service_pb2 as pb

from lineside_inference.api.problems import Problem
from lineside_inference.engine.caller import TritonCaller
from lineside_inference.engine.client_memory import ClientMemory

NAME = "lineside"
VERSION = importlib.metadata.version("lineside-inference")
_EXTENSIONS = (
    "classification",
    "sequence",
    "schedule_policy",
    "model_configuration",
    "binary_tensor_data",
    "parameters",
    "statistics",
)
"""Of Triton's extensions those that can be used through this service; not model control, tracing or logging."""


def extensions(memory: ClientMemory) -> list[str]:
    """Return the extensions that clients may use here."""
    return [*_EXTENSIONS, "system_shared_memory"] if memory.is_allowed else list(_EXTENSIONS)


def check_version(version: str) -> None:
    """Raise Problem 404 where a model can have no such version; empty is the one in force."""
    if version and not (version.isascii() and version.isdigit() and len(version) < 19):  # noqa: PLR2004 - 64 bits
        raise Problem(404, "version-unknown", f"version {version!r:.60} must be a whole number")


class Describe:
    """The questions about server and models; errors as of TritonCaller.ask."""

    def __init__(self, caller: TritonCaller) -> None:
        self._caller = caller

    async def model(self, name: str, version: str) -> dict[str, Any]:
        """Return a model's metadata."""
        found = await self._caller.ask("ModelMetadata", pb.ModelMetadataRequest(name=name, version=version))
        return as_dict(found)

    async def config(self, name: str, version: str) -> dict[str, Any]:
        """Return a model's configuration as Triton completed it."""
        found = await self._caller.ask("ModelConfig", pb.ModelConfigRequest(name=name, version=version))
        return as_dict(found.config)

    async def stats(self, name: str, version: str) -> dict[str, Any]:
        """Return the statistics of a model, or of all where the name is empty."""
        found = await self._caller.ask("ModelStatistics", pb.ModelStatisticsRequest(name=name, version=version))
        return as_dict(found)

    async def ready(self, name: str, version: str) -> bool:
        """Return whether a model can be asked now."""
        found = await self._caller.ask("ModelReady", pb.ModelReadyRequest(name=name, version=version))
        return bool(found.ready)

    async def index(self, *, ready: bool) -> list[dict[str, Any]]:
        """Return the models of the repository, with their states."""
        found = await self._caller.ask("RepositoryIndex", pb.RepositoryIndexRequest(ready=ready))
        return [{name: value for name, value in as_dict(model).items() if value} for model in found.models]


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
