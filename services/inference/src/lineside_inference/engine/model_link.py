"""One model in the server: the wanted version loaded where it is not, checked against its card, watched.

Triton is always told which versions to serve, by `version_policy` in the configuration that goes with the load. What
Triton serves already is not loaded again by that where its files are as they were. Where Triton takes no loads, what it
serves by itself is taken where it is the wanted version from the chosen file.

Each time before a version comes online its files are hashed and Triton is told to load it: what it serves is then what
lies there now, not what lay there when it started.
"""

import asyncio
from collections.abc import Callable, Sequence

import grpc
import structlog
from tritonclient.grpc import service_pb2 as pb

from lineside.connections import Connection
from lineside_inference.engine.link import TritonLink, describe, set_within
from lineside_inference.errors import EngineFailed
from lineside_inference.models.card import Card
from lineside_inference.models.configuration import default_file, override, runs_python
from lineside_inference.models.store import Model

log = structlog.get_logger("lineside.inference.triton")

_NOT_EXPLICIT = "explicit model load / unload is not allowed"
"""What Triton answers to a load in model control mode none or poll."""

Check = Callable[[Card, pb.ModelMetadataResponse], int]


class LoadsOff(EngineFailed):
    """The settings say that nothing is loaded from here."""


class ModelLink:
    """A model's side of the engine; `ready` while the wanted version serves.

    `batch_axes` holds the versions that serve now, and how many axes of length 1 stand before those of their cards;
    `input_shapes` the shapes of their one input as Triton has them, -1 where an axis is open.
    """

    def __init__(
        self,
        server: TritonLink,
        model: Model,
        state: Connection,
        check: Check,
        others_serve: Callable[[], bool] = lambda: False,
        *,
        allow_python: bool = False,
        is_optional: bool = False,
    ) -> None:
        """Make it; `is_optional`: the service is ready without it."""
        self.state = state
        self.ready = asyncio.Event()
        self.wanted = model
        self.batch_axes: dict[str, int] = {}
        self.input_shapes: dict[str, tuple[int, ...]] = {}
        self._served: Sequence[Model] = (model,)
        self.is_unloaded = False
        self._server = server
        self._name = model.card.name
        self._check = check
        self._others_serve = others_serve
        self._allow_python = allow_python
        self._is_optional = is_optional
        self._check_now = asyncio.Event()
        self._turn = asyncio.Lock()
        server.on_lost.append(self.trouble)

    def serves(self, version: str) -> bool:
        """Whether a request of this version can be sent now."""
        # While unloaded nothing is in `batch_axes`, until a candidate is being tried that may have the wanted number.
        is_tried = self.is_unloaded or version != self.wanted.card.version
        return version in self.batch_axes and (self.ready.is_set() or is_tried)

    async def supervise(self) -> None:
        """Make it ready, watch, make it ready again, for ever."""
        while True:
            if not self._server.online.is_set():
                self.state.paused("waits for Triton")
                await self._server.online.wait()
            self._check_now.clear()
            if self.is_unloaded:
                self.state.paused("unloaded on request")
                await self._check_now.wait()
                continue
            if not self.ready.is_set():  # else a version was put into force after an unload
                self.state.connecting()
                try:
                    async with self._turn:
                        await self._make_ready()
                except Exception as error:  # noqa: BLE001 - whatever it is, it is shown and tried again
                    self.state.required = not self._others_serve()  # one model that fails leaves the others' line ready
                    await asyncio.sleep(self.state.backoff(describe(error)))
                    continue
            await self._watch(self._server.settings.health_ms / 1000)
            self.ready.clear()

    def trouble(self) -> None:
        """Say that a request found the model away; the supervisor checks at once."""
        self.ready.clear()
        self._check_now.set()

    async def serve(self, models: Sequence[Model]) -> None:
        """Let Triton serve exactly these versions; those that it serves already go on undisturbed.

        Raises StoreError, EngineFailed or grpc.RpcError; what Triton serves then is not known.
        """
        async with self._turn:
            for model in models:  # a load makes Triton read the changed files of those that serve too
                await asyncio.to_thread(model.check_files)
            await self._load(models)
            serving = {}
            for model in models:
                await self._check_ready(model)
                serving[model.card.version] = await self._verified(model)
            self.batch_axes = serving
            self._served = tuple(models)

    def switch(self, model: Model) -> None:
        """Want another version, which serves already."""
        self.wanted = model
        self._is_online()
        if self.is_unloaded:  # the supervisor sleeps; else it watches, and goes on with this version
            self.is_unloaded = False
            self._check_now.set()

    async def unload(self) -> None:
        """Let Triton drop the model; it stays away until `switch`. Raises EngineFailed or grpc.RpcError."""
        self._may_load()
        async with self._turn:
            self.is_unloaded = True
            self.state.required = False
            self.trouble()
            self.batch_axes = {}
            await self._server.stub.RepositoryModelUnload(
                pb.RepositoryModelUnloadRequest(model_name=self._name),
                timeout=self._server.settings.load_timeout_ms / 1000,
            )
        log.info("triton has unloaded a model", model=self._name)

    def leave(self) -> None:
        """Have nothing to do with the model any more."""
        self.trouble()
        self._server.on_lost.remove(self.trouble)

    def _is_online(self) -> None:
        self.state.required = not self._is_optional
        self.state.online(f"version {self.wanted.card.version}")
        self.ready.set()

    async def _make_ready(self) -> None:
        model = self.wanted
        models = self._served if model in self._served else (model,)  # a candidate beside it stays
        for one in models:
            await asyncio.to_thread(one.check_files)
        try:
            await self._load(models)
        except (EngineFailed, grpc.aio.AioRpcError) as error:
            if not _takes_no_loads(error) or not await self._serves_by_itself(model):
                raise
            models = (model,)
        serving = {}
        for one in models:
            await self._check_ready(one)
            serving[one.card.version] = await self._verified(one)
        self.batch_axes, self._served = serving, models
        self._is_online()

    async def _serves_by_itself(self, model: Model) -> bool:
        return await self._is_ready(model.card.version) and await self._has_chosen_file(model)

    async def _watch(self, health_s: float) -> None:
        while self._server.online.is_set():
            if await set_within(self._check_now, health_s):
                return
            try:
                if not await self._is_ready(self.wanted.card.version):
                    log.warning("triton has unloaded a model", model=self._name)
                    return
            except grpc.RpcError:
                return

    async def _is_ready(self, version: str) -> bool:
        answer = await self._server.stub.ModelReady(
            pb.ModelReadyRequest(name=self._name, version=version), timeout=self._server.settings.timeout_ms / 1000
        )
        return bool(answer.ready)

    async def _check_ready(self, model: Model) -> None:
        if not await self._is_ready(model.card.version):
            raise EngineFailed(
                f"Triton loaded model {self._name!r}, but version {model.card.version} is not ready",
                remedy="See whether Triton has the version's folder, and its log",
            )

    async def _has_chosen_file(self, model: Model) -> bool:
        """Whether Triton's configuration names the file that was chosen for this hardware."""
        answer = await self._server.stub.ModelConfig(
            pb.ModelConfigRequest(name=self._name, version=model.card.version),
            timeout=self._server.settings.timeout_ms / 1000,
        )
        served = default_file(answer.config)
        return model.file is None or served is None or served == model.file

    async def _verified(self, model: Model) -> int:
        """Return a served version's `batch_axes`; raises EngineFailed where it is not what its card says."""
        timeout_s = self._server.settings.timeout_ms / 1000
        version = model.card.version
        metadata = await self._server.stub.ModelMetadata(
            pb.ModelMetadataRequest(name=self._name, version=version), timeout=timeout_s
        )
        answer = await self._server.stub.ModelConfig(
            pb.ModelConfigRequest(name=self._name, version=version), timeout=timeout_s
        )
        if not self._allow_python and runs_python(answer.config):
            raise EngineFailed(
                f"model {self._name!r} runs on backend python in Triton", remedy="See models.allow_python_backend"
            )
        axes = self._check(model.card, metadata)
        self.input_shapes[version] = tuple(metadata.inputs[0].shape)
        return axes

    def _may_load(self) -> None:
        if not self._server.settings.load_models:
            raise LoadsOff(
                f"model {self._name!r} may not be loaded or unloaded from here",
                remedy="Do it in Triton, or set triton.load_models",
            )

    async def _load(self, models: Sequence[Model]) -> None:
        self._may_load()
        files = {model.file for model in models}
        if len(files) > 1:
            raise EngineFailed(
                f"the versions of model {self._name!r} lie in files of other names: {sorted(map(str, files))}",
                remedy="Triton takes one file name for all versions of a model: name the files alike",
            )
        versions = [model.card.version for model in models]
        log.info("asking triton to load a model", model=self._name, versions=versions, file=models[-1].file)
        request = pb.RepositoryModelLoadRequest(model_name=self._name)
        request.parameters["config"].string_param = override(models[-1].config, versions, models[-1].file)
        await self._server.stub.RepositoryModelLoad(request, timeout=self._server.settings.load_timeout_ms / 1000)


def _takes_no_loads(error: Exception) -> bool:
    """Whether nobody may load: by our settings, or because Triton does not run in explicit mode."""
    if isinstance(error, grpc.aio.AioRpcError):
        return _NOT_EXPLICIT in (error.details() or "")
    return isinstance(error, LoadsOff)
