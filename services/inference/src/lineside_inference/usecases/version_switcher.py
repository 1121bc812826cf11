"""Changing models while the line runs: blue/green, one change at a time for each model.

    verify the files > load beside the old > warm up > switch > drain > unload the old

Until the switch the old version serves and no request sees the new one; whatever fails before it leaves the old one
in force, and the error says why.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import grpc
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from lineside.contract import Policy, Request
from lineside.errors import LinesideError
from lineside_inference.engine.link import describe
from lineside_inference.engine.model_link import ModelLink
from lineside_inference.engine.triton import Engine
from lineside_inference.errors import (
    CandidateFailed,
    ChangeUnderWay,
    EngineUnavailable,
    ModelUnknown,
    StoreError,
    VersionUnknown,
)
from lineside_inference.models.memory import TritonMemory
from lineside_inference.models.repository_watcher import Renewal
from lineside_inference.models.store import Model, ModelStore, out_of_reach
from lineside_inference.settings import ModelsSettings
from lineside_inference.usecases.warm_up import warm_up

log = structlog.get_logger("lineside.inference.models")

_AGAIN_S = 5.0
"""Seconds between two tries of a change that the policy asks for while Triton is away."""
_LONGEST_REASON = 600
_AWAY = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}


@dataclass(frozen=True)
class Refusal:
    """Why a version that was asked for is not in force."""

    version: str
    reason: str


class ChangeMetrics:
    """What is counted of changes."""

    def __init__(self, registry: CollectorRegistry | None) -> None:
        self.changes = Counter(
            "lineside_inference_model_changes_total",
            "Changes of models, by what came of them: done or failed.",
            ["model", "outcome"],
            registry=registry,
        )
        self.version = Gauge(
            "lineside_inference_model_version_number",
            "The version in force; absent while unloaded.",
            ["model"],
            registry=registry,
        )


class VersionSwitcher:
    """Loads, switches and unloads; follows the versions that the policy names.

    `under_way` says by model which step of a change runs, `refused` which version was asked for last and failed.
    """

    def __init__(
        self,
        settings: ModelsSettings,
        store: ModelStore,
        engine: Engine,
        dry_run: Callable[[Request, Model], Awaitable[object]],
        memory: TritonMemory,
        registry: CollectorRegistry | None = None,
    ) -> None:
        self.under_way: dict[str, str] = {}
        self.refused: dict[str, Refusal] = {}
        self.on_switch: Callable[[], Awaitable[None]] | None = None
        self._settings = settings
        self._store = store
        self._engine = engine
        self._dry_run = dry_run
        self._memory = memory
        self._policy = Policy()
        self._wanted: dict[str, str] = {}
        self._withdrawn: set[str] = set()
        self._leaving: set[str] = set()
        self._news = asyncio.Event()
        self._tasks: set[asyncio.Task[Model]] = set()
        self._metrics = ChangeMetrics(registry)
        for name in store:
            self._show(name)

    async def load(self, name: str, version: str) -> Model:
        """Put a version into force and return it; where it is in force already, change nothing.

        It goes on where the caller goes away. Raises ModelOut, ModelUnknown, VersionUnknown, ChangeUnderWay or
        CandidateFailed.
        """
        task = asyncio.create_task(self._load(name, version), name=f"model {name} to version {version}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    async def unload(self, name: str) -> None:
        """Take a model out of service: no new requests, those under way end, Triton drops it.

        Raises ModelUnknown, ChangeUnderWay, CandidateFailed where Triton does not do it.
        """
        self._known(name)
        with self._turn(name, "unloading"):
            model = self._store[name]
            self._store.unload(name)
            try:
                await model.in_flight.wait_until_idle(self._settings.drain_s)
                await self._engine.model_links[name].unload()
            except (grpc.RpcError, LinesideError) as error:
                self._store.switch(model)
                raise CandidateFailed(f"model {name!r} is not unloaded: {_reason(error)}") from error
            self._show(name)
            self._memory.check(f"model {name} unloaded")

    def follow(self, policy: Policy) -> None:
        """Bring the versions that a policy names into force, in the background; a refused one gets another try."""
        self._policy = policy
        self._store.wanted = dict(policy.models)
        self._wanted = {
            name: policy.models.get(name, self._store.default_version(name))
            for name in self._store
            if name not in self._withdrawn or name in self._wanted
        }
        self.refused.clear()
        self._news.set()

    def join(self, model: Model) -> None:
        """Serve a model that came after the start; raises LinesideError where it cannot be served."""
        self._check_thresholds(model)
        self._engine.join(model)
        self._store.take(model)
        name = model.card.name
        self._wanted[name] = self._policy.models.get(name, self._store.default_version(name))
        self._show(name)
        self._news.set()

    def renew(self, named: Renewal) -> None:
        """Follow a model's own card, which came or came back and may name another version than before."""
        name, version = named.name, named.version
        if name not in self._store:
            return
        if version != self._store.default_version(name):
            log.info("a model's own card names another version", model=name, version=version)
        self._store.name_default(name, version)
        self._wanted[name] = self._policy.models.get(name, version)
        self._leaving.discard(name)
        self.refused.pop(name, None)
        if named.wrong:
            log.error("a version cannot be used", model=name, version=version, reason=named.wrong)
            self.refused[name] = Refusal(version, named.wrong)
        self._news.set()

    def withdraw(self, name: str) -> None:
        """Take a model out of service that was taken out of the repository; it serves again when it comes back."""
        log.info("a model was taken out of the repository", model=name)
        self._withdrawn.add(name)
        self._wanted.pop(name, None)
        self._leaving.add(name)
        self._news.set()

    def default_version(self, name: str) -> str | None:
        """Return the version that a model's own card names; None while the model is taken out of the repository."""
        is_away = name in self._withdrawn and name not in self._wanted
        return None if is_away else self._store.default_version(name)

    def step(self, name: str) -> str | None:
        """Return which step of a change runs or is about to; None where none does."""
        if name not in self.under_way and name in self._withdrawn and name in self._wanted and name not in self.refused:
            return f"version {self._wanted[name]}: it has come back, and is loaded in its turn"
        return self.under_way.get(name)

    async def supervise(self) -> None:
        """Follow the policy for ever."""
        while True:
            await self._news.wait()
            self._news.clear()
            outcomes = [await self._leave(name) for name in sorted(self._leaving)]
            outcomes += [await self._follow(name) for name in list(self._wanted)]
            if not all(outcomes):
                await asyncio.sleep(_AGAIN_S)
                self._news.set()

    async def close(self) -> None:
        """End the changes under way; Triton may keep a candidate until the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _follow(self, name: str) -> bool:
        """Return whether nothing is left to do about a model."""
        version = self._wanted[name]
        is_loaded = self._store.is_loaded(name)
        if name in self.refused or not (is_loaded or name in self._withdrawn):
            return True
        if is_loaded and self._store[name].card.version == version:
            self._withdrawn.discard(name)
            return True
        await self._engine.link.online.wait()
        version = self._wanted.get(name, version)  # which may be another by now
        try:
            await self.load(name, version)
            self._withdrawn.discard(name)
        except LinesideError as error:
            if error.transient:
                log.warning("a version that the policy names waits", model=name, version=version, reason=str(error))
                return False
            self.refused[name] = Refusal(version, str(error))
        return True

    async def _leave(self, name: str) -> bool:
        """Return whether a model that was taken out of the repository is unloaded."""
        if name in self._leaving and self._store.is_loaded(name):
            await self._engine.link.online.wait()
            try:
                await self.unload(name)
            except LinesideError as error:
                log.warning("a model that was taken out of the repository waits", model=name, reason=str(error))
                return False
        self._leaving.discard(name)
        return True

    async def _load(self, name: str, version: str) -> Model:
        self._known(name)
        old = self._store[name]
        if version not in (*self._store.versions(name), old.card.version):
            raise VersionUnknown(
                f"model {name!r} has no version {version!r} with a card",
                remedy=f"Use one of {', '.join(self._store.versions(name))}",
            )
        if version == old.card.version and self._store.is_loaded(name):
            self.refused.pop(name, None)
            return old
        with self._turn(name, f"version {version}: checking its files"):
            link = self._engine.model_links[name]
            serving = [old] if self._store.is_loaded(name) else []
            try:
                new = await self._bring(name, version, link, serving)
            except Exception as error:
                raise self._failed(name, version, error) from error
            self._store.switch(new)
            link.switch(new)
            self.refused.pop(name, None)
            self._show(name)
            self._metrics.changes.labels(name, "done").inc()
            log.info("model switched", model=name, version=version, before=old.card.version, digest=new.ref.digest)
            if self.on_switch is not None:
                await self.on_switch()
            if serving:
                await self._retire(old, new, link)
            self._memory.check(f"model {name} switched to version {version}")
            return new

    async def _bring(self, name: str, version: str, link: ModelLink, serving: list[Model]) -> Model:
        """Return a version that serves beside the old one and has done its warm-up well."""
        new = await asyncio.to_thread(self._store.candidate, name, version)
        self._engine.make_room(new)
        self._check_thresholds(new)
        self.under_way[name] = f"version {version}: loading"
        try:
            await link.serve([*serving, new])
            self.under_way[name] = f"version {version}: warming up"
            async with asyncio.timeout(self._settings.warm_up_s):
                await warm_up(new, self._dry_run, times=self._settings.warm_up, within_s=self._settings.warm_up_s)
        except Exception:
            await self._give_up(name, version, link, serving)
            raise
        return new

    async def _retire(self, old: Model, new: Model, link: ModelLink) -> None:
        """Unload the old version when its last request has ended."""
        name = new.card.name
        self.under_way[name] = f"version {old.card.version}: draining"
        if not await old.in_flight.wait_until_idle(self._settings.drain_s):
            log.warning("requests are still on the old version", model=name, requests=old.in_flight.count)
        try:
            await link.serve([new])
        except (grpc.RpcError, LinesideError) as error:
            log.warning("triton keeps the old version", model=name, version=old.card.version, reason=_reason(error))

    async def _give_up(self, name: str, version: str, link: ModelLink, serving: list[Model]) -> None:
        """Let Triton drop the candidate; where it cannot be asked now, it forgets it when it is started again."""
        try:
            if serving:
                await link.serve(serving)
            else:
                await link.unload()
        except (grpc.RpcError, LinesideError) as error:
            log.warning("triton keeps the candidate", model=name, version=version, reason=_reason(error))

    def _failed(self, name: str, version: str, error: Exception) -> CandidateFailed:
        reason = _reason(error)
        self._metrics.changes.labels(name, "failed").inc()
        foreseen = isinstance(error, LinesideError | grpc.RpcError | TimeoutError)
        log.error(
            "model candidate failed", model=name, version=version, reason=reason, exc_info=None if foreseen else error
        )
        stays = f"version {self._store[name].card.version} stays in force"
        if not self._store.is_loaded(name):
            stays = "the model stays unloaded"
        is_transient = isinstance(error, EngineUnavailable) or (
            isinstance(error, grpc.aio.AioRpcError) and error.code() in _AWAY
        )
        failure = CandidateFailed(
            f"version {version} of model {name!r} failed, {stays}: {reason}", transient=is_transient
        )
        self.refused[name] = Refusal(version, str(failure))
        if is_transient:
            del self.refused[name]
        return failure

    def _check_thresholds(self, model: Model) -> None:
        if wrong := out_of_reach(self._policy, model.card):
            raise StoreError("; ".join(wrong), remedy="Change the policy's thresholds first")

    def _known(self, name: str) -> None:
        if name not in self._store:
            self._store.refuse_out(name)
            raise ModelUnknown(
                f"model {name!r} is not known", remedy=f"Known here: {', '.join(sorted(self._store)) or 'none'}"
            )

    @contextmanager
    def _turn(self, name: str, step: str) -> Iterator[None]:
        if name in self.under_way:
            raise ChangeUnderWay(
                f"model {name!r} is being changed: {self.under_way[name]}", remedy="Ask again when that has ended"
            )
        self.under_way[name] = step
        try:
            yield
        finally:
            del self.under_way[name]

    def _show(self, name: str) -> None:
        if self._store.is_loaded(name):
            self._metrics.version.labels(name).set(int(self._store[name].card.version))
        else:
            self._metrics.version.remove(name)

    def _ended(self, task: asyncio.Task[Model]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever asked may be gone


def _reason(error: BaseException) -> str:
    text = describe(error) if isinstance(error, grpc.RpcError) else str(error) or "it took too long"
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}..."
