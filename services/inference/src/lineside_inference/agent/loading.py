"""The models that clients load: given to Triton with their files, kept there over its restarts, and let go.

Triton finds a model in a folder that it has in common with this service, where it was copied whole; where there is no
such folder it gets the files' bytes with the call that loads the model. Either way what was read and judged is what it
serves. It forgets such a model when it ends: each is loaded again, from the copy, else from the folder that the client
named, as soon as Triton is back. Steps on one model go one after the other; those on others do not wait for them.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from weakref import WeakValueDictionary

import grpc
import structlog
from tritonclient.grpc import model_config_pb2
from tritonclient.grpc import service_pb2 as triton

from lineside.backoff import Backoff
from lineside.errors import LinesideError
from lineside_inference.agent.memory_guard import check_room
from lineside_inference.agent.names import check_new
from lineside_inference.agent.packages.model_folder import ModelFolder
from lineside_inference.agent.packages.package import Package, read_package
from lineside_inference.agent.packages.paths import Roots
from lineside_inference.agent.packages.signed import Signers, find_archive, unpacked
from lineside_inference.deadline import Deadline
from lineside_inference.engine.failures import kind_of, text_of
from lineside_inference.engine.link import TritonLink
from lineside_inference.errors import (
    EngineFailed,
    EngineUnavailable,
    MemoryShort,
    ModelKept,
    ModelLoaded,
    ModelUnknown,
    PackageUnusable,
)
from lineside_inference.models.configuration import as_json
from lineside_inference.models.in_flight import InFlight
from lineside_inference.models.store import ModelStore

log = structlog.get_logger("lineside.inference.agent")

_POLL_S = 0.05
_AGAIN = Backoff(1.0, 60.0)
_NO_FOLDER = "failed to poll from model repository"
"""What Triton says of a model that is in none of its repositories."""
_NO_MEMORY = ("out of memory", "failed to allocate", "cannot allocate", "bad_alloc", "insufficient memory")
"""What Triton and its backends say where a model does not fit."""


@dataclass(eq=False)
class LoadedModel:
    """One model: `url` as its client gave it; `serves` while Triton has it, `trouble` why it has not."""

    url: str
    in_flight: InFlight = field(default_factory=InFlight)
    serves: asyncio.Event = field(default_factory=asyncio.Event)
    trouble: str = "Triton was started anew"
    is_leaving: bool = False


class Loader:
    """Loads and unloads; `on_change` is told of each model that came or went."""

    def __init__(
        self,
        link: TritonLink,
        store: ModelStore,
        roots: Roots,
        folder: ModelFolder | None = None,
        *,
        signers: Signers,
        unpack_in: Path | None,
        allow_python: bool,
        drain_s: float,
        on_change: Callable[[str], None],
    ) -> None:
        self.models: dict[str, LoadedModel] = {}
        self._link = link
        self._store = store
        self._roots = roots
        self._folder = folder
        self._signers = signers
        self._unpack_in = unpack_in
        self._allow_python = allow_python
        self._drain_s = drain_s
        self._on_change = on_change
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._tasks: set[asyncio.Task[None]] = set()
        self._lost = asyncio.Event()
        link.on_lost.append(self._forget)

    def urls(self) -> Mapping[str, str]:
        """Return where each model came from."""
        return {name: model.url for name, model in self.models.items()}

    @asynccontextmanager
    async def using(self, name: str, deadline: Deadline) -> AsyncIterator[None]:
        """Hold a model while a request runs on it; one that Triton must get again first is waited for.

        What no client loaded is not held. Raises ModelUnknown where it is being unloaded, and EngineUnavailable.
        """
        model = self.models.get(name)
        if model is None:
            yield
            return
        if model.is_leaving:
            raise ModelUnknown(f"model {name!r} is being unloaded", remedy="Load it again")
        if not model.serves.is_set():
            await _served(name, model, deadline)
        with model.in_flight.one():
            yield

    def doubt(self, name: str) -> bool:
        """Take note that Triton does not know a model; return whether it gets it again."""
        model = self.models.get(name)
        if model is None or model.is_leaving:
            return False
        model.serves.clear()
        self._lost.set()
        return True

    async def load(self, name: str, url: str) -> None:
        """Load a model from its folder; it goes on where the caller goes away.

        Raises ModelHandle, ModelLoaded, PackageError, EngineUnavailable; nothing has changed then.
        """
        check_new(name)
        await self._to_the_end(self._load(name, url), f"load model {name}")

    async def unload(self, name: str) -> None:
        """Let a model go when what runs on it has ended, `drain_s` seconds at most; it goes on where the caller goes.

        Raises ModelUnknown, ModelKept where no client loaded it, or EngineUnavailable.
        """
        await self._to_the_end(self._unload(name), f"unload model {name}")

    async def supervise(self) -> None:
        """Give Triton what it has lost, for ever."""
        while True:
            await self._lost.wait()
            self._lost.clear()
            await self._link.online.wait()
            for name in list(self.models):
                task = asyncio.create_task(self._restore(name), name=f"restore model {name}")
                self._tasks.add(task)
                task.add_done_callback(self._ended)

    def restore(self, urls: Mapping[str, str]) -> None:
        """Have models of an earlier run loaded again, once Triton is there."""
        for name, url in urls.items():
            self.models[name] = LoadedModel(url, trouble="it is loaded again after a restart")
        self._lost.set()

    async def close(self) -> None:
        """End what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _load(self, name: str, url: str) -> None:
        async with self._turn(name):
            await self._check_free(name)
            await self._bring(name, url, is_again=False)
            model = self.models[name] = LoadedModel(url)
            model.serves.set()
        log.info("a client's model is loaded", model=name, url=url)
        self._on_change(name)

    async def _unload(self, name: str) -> None:
        async with self._turn(name):
            model = self.models.get(name)
            if model is None:
                await self._refuse_unload(name)
                return
            model.is_leaving = True
            try:
                if not await model.in_flight.wait_until_idle(self._drain_s):
                    log.warning("requests still run on a model that is unloaded", model=name)
                await self._drop(name)
            except BaseException:
                model.is_leaving = False
                raise
            del self.models[name]
            if self._folder is not None:
                await asyncio.to_thread(self._folder.remove, name)
        log.info("a client's model is unloaded", model=name)
        self._on_change(name)

    async def _restore(self, name: str) -> None:
        """Give Triton a model until it has it, is away again, or nobody wants it any more."""
        failures = 0
        while self._link.online.is_set():
            async with self._turn(name):
                model = self.models.get(name)
                if model is None or model.serves.is_set():
                    return
                if name in self._store or self._is_in_repository(name):
                    await self._give_way(name)
                    return
                try:
                    if not await self._is_ready(name):
                        await self._bring(name, model.url, is_again=True)
                    model.serves.set()
                except LinesideError as error:
                    model.trouble = str(error)
                    log.warning("a client's model is not loaded again", model=name, reason=str(error))
                else:
                    log.info("a client's model is loaded again", model=name)
                    self._on_change(name)
                    return
            await asyncio.sleep(_AGAIN.wait_s(failures))
            failures += 1

    async def _give_way(self, name: str) -> None:
        """Let a client's model go whose name one of the line's own has now."""
        del self.models[name]
        if self._folder is not None:
            await asyncio.to_thread(self._folder.remove, name)
        log.error(
            "a client's model is gone: one of the line's own has its name now",
            model=name,
            remedy="Load it by another name",
        )
        self._on_change(name)

    async def _check_free(self, name: str) -> None:
        if name in self._store or name in self._store.out or self._is_in_repository(name):
            raise ModelLoaded(
                f"model {name!r} is one of the line's own", remedy="Use it, or load yours by another name"
            )
        if (model := self.models.get(name)) is not None:
            raise ModelLoaded(f"model {name!r} is loaded, from {model.url}", remedy="Use it, or unload it first")
        if await self._is_ready(name):
            raise ModelLoaded(f"Triton serves a model {name!r} already", remedy="Use it, or load yours by another name")

    def _is_in_repository(self, name: str) -> bool:
        """Whether the line's own repository has something by this name: of two Triton would serve neither."""
        return self._store.repository is not None and (self._store.repository / name).exists()

    async def _refuse_unload(self, name: str) -> None:
        if name in self._store or name in self._store.out or await self._is_ready(name):
            raise ModelKept(
                f"model {name!r} was not loaded by a client of this socket",
                remedy="The line's own models are unloaded by POST /v1/models/<name>/unload",
            )
        raise ModelUnknown(f"model {name!r} is not loaded", remedy=f"Loaded here: {', '.join(sorted(self.models))}")

    async def _bring(self, name: str, url: str, *, is_again: bool) -> None:
        """Read a package and let Triton serve it; `is_again`: the copy that was made of it, where there is one.

        Raises PackageError, StateNotKept, EngineFailed or EngineUnavailable.
        """
        is_new = not (is_again and self._folder is not None and await asyncio.to_thread(self._folder.has, name))
        request = await self._placed(name, url) if is_new else triton.RepositoryModelLoadRequest(model_name=name)
        try:
            await self._load_in_triton(name, url, request)
        except BaseException:
            await self._forget_failed(name)
            if is_new and self._folder is not None:
                await asyncio.to_thread(self._folder.remove, name)
            raise
        finally:
            del request

    async def _placed(self, name: str, url: str) -> triton.RepositoryModelLoadRequest:
        """Put a package where Triton finds it, else into the call; return the call that loads it."""
        async with AsyncExitStack() as stack:
            archive = await asyncio.to_thread(find_archive, url, self._roots)
            if archive is None:
                self._signers.demand(name, url)
                roots = self._roots
            else:
                folder = await stack.enter_async_context(unpacked(archive, name, self._signers, self._unpack_in))
                url, roots = str(folder), Roots([folder])
            package = await asyncio.to_thread(read_package, url, roots, allow_python=self._allow_python)
            await asyncio.to_thread(check_room, name, package.size, in_message=self._folder is None)
            if self._folder is None:
                return await asyncio.to_thread(_request, name, package, roots)
            await asyncio.to_thread(self._folder.place, package, name, roots)
            return triton.RepositoryModelLoadRequest(model_name=name)

    async def _load_in_triton(self, name: str, url: str, request: triton.RepositoryModelLoadRequest) -> None:
        try:
            await self._link.stub.RepositoryModelLoad(request, timeout=self._link.settings.load_timeout_ms / 1000)
            if await self._is_ready(name):
                return
            said = "it is loaded and does not serve"
        except grpc.aio.AioRpcError as error:
            if kind_of(error) in {"server", "late"}:
                raise EngineUnavailable(f"Triton did not load model {name!r}: {text_of(error)}") from None
            said = text_of(error)
        if _NO_FOLDER in said and self._folder is not None:
            raise EngineFailed(
                f"Triton does not look for models in {self._folder.path}",
                remedy="Start it with that folder as one more --model-repository; see edge_manager.model_folder",
            )
        what = f"Triton cannot serve model {name!r} from {url}: {said}"
        if any(words in said.lower() for words in _NO_MEMORY):
            raise MemoryShort(what, remedy="Unload another model first")
        raise PackageUnusable(
            what, remedy="See Triton's log. An engine of TensorRT serves only on the GPU and version it was made for"
        )

    async def _forget_failed(self, name: str) -> None:
        """Leave nothing of a load that failed; Triton says nothing where there is nothing."""
        try:
            await self._drop(name)
        except LinesideError as error:
            log.info("triton keeps what is left of a load", model=name, reason=str(error))

    async def _drop(self, name: str) -> None:
        """Let Triton drop a model and wait until it has; raises EngineUnavailable."""
        try:
            await self._link.stub.RepositoryModelUnload(
                triton.RepositoryModelUnloadRequest(model_name=name),
                timeout=self._link.settings.load_timeout_ms / 1000,
            )
            async with asyncio.timeout(self._link.settings.load_timeout_ms / 1000):
                while await self._is_ready(name):  # noqa: ASYNC110 - Triton tells nobody when it has
                    await asyncio.sleep(_POLL_S)
        except grpc.aio.AioRpcError as error:
            raise EngineUnavailable(f"Triton did not unload model {name!r}: {text_of(error)}") from None
        except TimeoutError:
            raise EngineUnavailable(f"Triton still serves model {name!r}") from None

    async def _is_ready(self, name: str) -> bool:
        try:
            answer = await self._link.stub.ModelReady(
                triton.ModelReadyRequest(name=name), timeout=self._link.settings.timeout_ms / 1000
            )
        except grpc.aio.AioRpcError as error:
            raise EngineUnavailable(f"Triton does not answer: {text_of(error)}") from None
        return bool(answer.ready)

    async def _to_the_end(self, work: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        await asyncio.shield(task)

    @asynccontextmanager
    async def _turn(self, name: str) -> AsyncIterator[None]:
        """Wait for what is under way on a model; the lock lives while somebody holds it or waits for it."""
        lock = self._turns.get(name)
        if lock is None:
            lock = self._turns[name] = asyncio.Lock()
        async with lock:
            yield

    def _forget(self) -> None:
        for model in self.models.values():
            model.serves.clear()
        self._lost.set()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever asked may be gone


async def _served(name: str, model: LoadedModel, deadline: Deadline) -> None:
    try:
        async with asyncio.timeout(deadline.left()):
            await model.serves.wait()
    except TimeoutError:
        raise EngineUnavailable(f"model {name!r} does not serve now: {model.trouble}") from None


def _request(name: str, package: Package, roots: Roots) -> triton.RepositoryModelLoadRequest:
    """Return the call that loads a package: its configuration and the bytes of its files."""
    config = model_config_pb2.ModelConfig()
    config.CopyFrom(package.config)
    config.name = name
    request = triton.RepositoryModelLoadRequest(model_name=name)
    request.parameters["config"].string_param = as_json(config)
    for file in package.files:
        with roots.open(file.path) as stream:
            content = stream.read(file.size + 1)
        if len(content) != file.size:
            raise PackageUnusable(f"{file.path} changed while it was read", remedy="Load it when it is whole")
        request.parameters[f"file:{file.place}"].bytes_param = content
    return request
