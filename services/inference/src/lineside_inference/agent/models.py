"""The models as clients see them: every one that Triton can be asked for now, whoever brought it there."""

from collections.abc import Callable, Mapping

from tritonclient.grpc import service_pb2 as triton

from lineside.edge_manager.protocol import agent_pb2 as pb
from lineside_inference.agent.signature import Signatures
from lineside_inference.engine.triton import Engine
from lineside_inference.errors import EngineUnavailable, ModelUnknown
from lineside_inference.models.store import ModelStore


class Models:
    """Lists and describes; `urls` returns the folder of each model that a client loaded, by name."""

    def __init__(
        self, engine: Engine, store: ModelStore, signatures: Signatures, urls: Callable[[], Mapping[str, str]]
    ) -> None:
        self._engine = engine
        self._store = store
        self._signatures = signatures
        self._urls = urls

    async def list(self) -> list[pb.Model]:
        """Return the models that serve, by name; raises EngineUnavailable, EngineTimeout or EngineFailed."""
        index = await self._engine.caller.ask("RepositoryIndex", triton.RepositoryIndexRequest(ready=True))
        ready = {model.name for model in index.models if model.state in {"", "READY"}}
        found = []
        for name in sorted(ready | set(self._urls())):  # the index has no model that came with its files' bytes
            try:
                found.append(await self.describe(name))
            except (ModelUnknown, EngineUnavailable):  # it went meanwhile
                continue
        return found

    async def describe(self, name: str) -> pb.Model:
        """Return one model; raises ModelUnknown, EngineUnavailable, EngineTimeout or EngineFailed."""
        with self._engine.using(name, "") as version:
            signature = await self._signatures.of(name, version)
        return pb.Model(
            url=self._url(name),
            name=name,
            handle=name,
            input_tensor_metadatas=signature.metadata(signature.inputs),
            output_tensor_metadatas=signature.metadata(signature.outputs),
        )

    def _url(self, name: str) -> str:
        if (url := self._urls().get(name)) is not None:
            return url
        folder = self._store[name].folder if name in self._store else None
        return str(folder) if folder is not None else ""
