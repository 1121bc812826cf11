"""Engines that this device builds itself: asked for, taken from the cache, proven, put into service, and let go.

    the model serves as ONNX > its key > in the cache? else a build while the line is quiet > checked, loaded under a
    name of its own > its outputs compared with ONNX's > it judges

ONNX stays loaded beside it, and judges again at once where the engine fails or is lost.
"""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import grpc
import structlog
from prometheus_client import CollectorRegistry

from lineside.contract import Request
from lineside.errors import LinesideError
from lineside.plans.cache import PlanFolder, room_left, to_delete
from lineside.plans.documents import ASK, Ask, Build, BuilderState, Damaged, Refusal, read, write
from lineside.plans.key import is_key, key_of
from lineside_inference.engine.link import describe
from lineside_inference.engine.model_link import ModelLink
from lineside_inference.engine.triton import Engine
from lineside_inference.errors import EngineFailed, EngineTimeout, EngineUnavailable
from lineside_inference.models.plan_choice import as_models, options, why_none
from lineside_inference.models.store import Model, ModelStore
from lineside_inference.settings import ModelsSettings, TensorRtSettings
from lineside_inference.settings.tensorrt import MIB
from lineside_inference.usecases.plan_decisions import Failures, Need, Standing, decide, retry_s
from lineside_inference.usecases.plan_metrics import PlanMetrics
from lineside_inference.usecases.plan_proof import Outputs, Wrong, prove
from lineside_inference.usecases.quiet import Quiet

log = structlog.get_logger("lineside.inference.tensorrt")

TICK_S = 0.1
"""How soon a build is paused for a part."""
_AGAIN_S = 60.0
_MOST_REMEMBERED = 256
_AWAY = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}


@dataclass(frozen=True, eq=False)
class _Live:
    """An engine in Triton: as the store has it, and its link."""

    key: str
    plan: Model
    link: ModelLink


class PlanKeeper:
    """Looks after the engines of all models in force; `standings` says by model how it stands.

    `outputs_of` runs a made-up part on a model; `is_changing` is whether another version of a model is on its way.
    """

    def __init__(
        self,
        settings: TensorRtSettings,
        models: ModelsSettings,
        store: ModelStore,
        engine: Engine,
        outputs_of: Callable[[Request, Model], Awaitable[Outputs]],
        is_changing: Callable[[str], bool],
        registry: CollectorRegistry | None = None,
    ) -> None:
        if settings.folder is None:
            raise ValueError("engines need a folder")
        self.standings: dict[str, Standing] = {}
        self._settings = settings
        self._models = models
        self._store = store
        self._engine = engine
        self._outputs_of = outputs_of
        self._is_changing = is_changing
        self._folder = PlanFolder(settings.folder)
        self._quiet = Quiet(settings.idle_s)
        self._metrics = PlanMetrics(registry)
        self._ask = Ask()
        self._written: Ask | None = None
        self._live: dict[str, _Live] = {}
        self._reasons: dict[str, str] = {}
        self._again: dict[str, float] = {}
        self._given_up: dict[str, str] = {}
        self._not_loaded: set[str] = set()
        self._discarded: set[str] = set()
        self._trouble = ""
        self._is_swept = False

    async def supervise(self) -> None:
        """Look after them for ever."""
        self._ask = await asyncio.to_thread(self._recall)
        look_s = self._models.look_s
        while True:
            try:
                await self._look()
                until = time.monotonic() + look_s
                while (left := until - time.monotonic()) > 0:
                    await asyncio.sleep(min(left, TICK_S if self._ask.build is not None else look_s))
                    await self._tell(replace(self._ask, go=self._may_build()))
            except OSError as error:
                self._say_all(f"the folder {self._folder.path} cannot be used: {error.strerror}")
                await asyncio.sleep(look_s)
            except Exception:  # whatever it is, the line goes on without an engine
                log.exception("looking after TensorRT engines failed in a way that nobody foresaw")
                await asyncio.sleep(_AGAIN_S)

    async def _look(self) -> None:
        try:
            state = await asyncio.to_thread(self._folder.builder)
        except Damaged as error:
            state = None
            self._say_all(str(error))
        sizes = await asyncio.to_thread(self._folder.sizes)
        self._metrics.bytes.set(sum(sizes.values()))
        if state is None:
            self._say_all(f"no builder lives in {self._folder.path}: see the log of Triton's container")
        else:
            self._trouble = ""
            self._take_outcome(state)
        self._discarded &= set(sizes)
        needs, keep = [], set()
        for name in sorted(self._store):
            need = await self._tend(name, state, {key for key in sizes if key not in self._discarded})
            if need is not None:
                needs.append(need)
            if (standing := self.standings.get(name)) is not None and standing.key is not None:
                keep.add(standing.key)
        keep -= self._discarded
        for name in self.standings.keys() - set(self._store):
            del self.standings[name]
        limit = self._settings.limit_mb * MIB
        build = self._ask.build  # what becomes of it is said when the builder lives again
        if state is not None:
            build = self._next(needs, state, room_left(sizes, keep, limit))
        delete = set(self._discarded)
        if all(each.state != "waiting" or each.key is not None for each in self.standings.values()):
            delete |= set(to_delete(sizes, self._ask.used, keep, limit))  # it is known what is wanted
            await self._sweep()
        delete -= {build.key} if build is not None else set()  # the new one takes its place
        used = self._used(keep & set(sizes))
        await self._tell(replace(self._ask, build=build, go=self._may_build(), delete=tuple(sorted(delete)), used=used))

    async def _tend(self, name: str, state: BuilderState | None, there: set[str]) -> Need | None:
        """Bring one model's engine as far as it goes now; return what has to be built for it."""
        model = self._store[name]
        if not await self._still_serves(name, model):
            return None
        why = why_none(model, self._settings.onnx_only)
        if why or state is None or state.device is None:
            self.standings[name] = Standing("none", why or (state.unable if state else self._trouble))
            return None
        link = self._engine.model_links[name]
        shape = link.input_shapes.get(model.card.version)
        if not self._store.is_loaded(name) or self._is_changing(name) or not link.ready.is_set() or shape is None:
            self.standings[name] = Standing("waiting", "the model itself does not serve now")
            return None
        wanted = options(model, shape, self._settings.precision, self._settings.workspace_mb)
        file = model.choice.files[0]
        key = key_of(file.sha256, state.device, wanted)
        refusal = self._ask.refused.get(key)
        if key in self._given_up or (refusal is not None and refusal.tolerance >= self._settings.tolerance):
            self.standings[name] = Standing("refused", self._given_up.get(key) or (refusal.reason if refusal else ""))
            return None
        if key in there:
            if self._again.get(key, 0.0) <= time.monotonic():
                await self._bring(name, model, key)
            return None
        return Need(name, key, f"{name}/{file.path}", file.sha256, wanted)

    async def _still_serves(self, name: str, model: Model) -> bool:
        """Let go of an engine that judges no more; return whether there is none, so that one may be looked for."""
        live = self._live.get(name)
        if live is None:
            return True
        is_wanted = live.plan.fallback is model and self._store.is_loaded(name)
        if is_wanted and self._store.serving(name) is live.plan and live.link.ready.is_set():
            return False
        if is_wanted:
            reason = self._store.fell_back.pop(name, "Triton lost it")
            self._metrics.fallbacks.labels(name).inc()
            log.warning("ONNX judges again", model=name, engine=live.key, reason=reason)
            if live.link.ready.is_set():  # Triton has it, and it failed all the same
                self._given_up[live.key] = f"it failed while it judged, and is left until the next start: {reason}"
        self._store.fall_back(live.plan, "another version is in force")
        self._store.fell_back.pop(name, None)
        if live.plan.in_flight.count and not is_wanted:
            return False  # its last requests end first
        await self._let_go(live)
        del self._live[name]
        return True

    async def _bring(self, name: str, model: Model, key: str) -> None:
        """Put an engine of the cache into service, once it is proven."""
        self.standings[name] = Standing("proving", "it is loaded and compared with ONNX", key)
        try:
            plan = await asyncio.to_thread(self._folder.verified, key)
        except Damaged as error:
            self._discard(name, key, "damaged", f"it is damaged, and built anew: {error}")
            return
        engine, in_triton = as_models(model, plan, self._folder.place(key))
        live = _Live(key, engine, self._engine.add_plan(engine, in_triton))
        try:
            await live.link.serve([in_triton])
            live.link.switch(in_triton)
            async with asyncio.timeout(self._models.warm_up_s):
                times, within_s, tolerance = self._models.warm_up, self._models.warm_up_s, self._settings.tolerance
                off = await prove(engine, model, self._outputs_of, times=times, within_s=within_s, tolerance=tolerance)
        except (Wrong, LinesideError, grpc.RpcError, TimeoutError) as error:
            await self._let_go(live)
            self._not_proven(name, key, error)
            return
        if self._store[name] is not model or self._is_changing(name) or not self._store.is_loaded(name):
            await self._let_go(live)
            return
        self._live[name] = live
        self._store.accelerate(engine)
        self._metrics.hits.inc()
        said = f"{engine.choice.why}; its outputs were at most {off:.2g} off ONNX's"
        self.standings[name] = Standing("serves", said, key)
        log.info("a TensorRT engine judges", model=name, digest=engine.ref.digest, onnx=model.ref.digest, off=off)

    def _not_proven(self, name: str, key: str, error: Exception) -> None:
        reason = describe(error) if str(error) else "it took too long"
        is_away = isinstance(error, EngineUnavailable | EngineTimeout | TimeoutError) or (
            isinstance(error, grpc.aio.AioRpcError) and error.code() in _AWAY
        )
        if is_away:
            self._again[key] = time.monotonic() + _AGAIN_S
            self.standings[name] = Standing("waiting", f"it could not be proven now: {reason}", key)
        elif isinstance(error, Wrong | EngineFailed):
            refused = {**self._ask.refused, key: Refusal(reason, self._settings.tolerance)}
            self._ask = replace(self._ask, refused=dict(list(refused.items())[-_MOST_REMEMBERED:]))
            self._discard(name, key, "outputs", f"it is refused: {reason}")
        elif key in self._not_loaded:
            self._given_up[key] = f"Triton does not load it, also built anew: {reason}"
            self._discard(name, key, "load", self._given_up[key])
        else:
            self._not_loaded.add(key)
            self._discard(name, key, "load", f"Triton does not load it, and it is built anew: {reason}")

    def _discard(self, name: str, key: str, why: str, said: str) -> None:
        log.error("a TensorRT engine is not used", model=name, engine=key, reason=said)
        self._metrics.refused.labels(why).inc()
        self._discarded.add(key)
        self.standings[name] = Standing("refused", said)

    async def _let_go(self, live: _Live) -> None:
        """Have Triton drop an engine; where it cannot be asked now, it forgets it when it is started again."""
        live.link.leave()
        live.link.state.paused("ONNX judges")
        if any(other.key == live.key and other is not live for other in self._live.values()):
            return  # of another model with the same ONNX file
        try:
            await live.link.unload()
        except (grpc.RpcError, LinesideError) as error:
            log.warning("triton keeps an engine", engine=live.key, reason=describe(error))

    async def _sweep(self) -> None:
        """Have Triton drop, once, what a run before this one had loaded and nothing wants now."""
        if self._is_swept or not self._engine.link.online.is_set():
            return
        ours = {live.key for live in self._live.values()}
        try:
            gone = await self._engine.unload_all(lambda name: is_key(name) and name not in ours)
        except (grpc.RpcError, LinesideError) as error:
            log.warning("triton may keep engines of before", reason=describe(error))
            return
        self._is_swept = True
        if gone:
            log.info("triton drops engines of before", engines=gone)

    def _next(self, needs: list[Need], state: BuilderState, room: int) -> Build | None:
        failures = Failures(self._reasons, self._again)
        may_build = self._settings.build != "never"
        chosen, standings = decide(needs, state, failures, now=time.monotonic(), room=room, may_build=may_build)
        self.standings.update(standings)
        if chosen is None:
            return None
        asked = self._ask.build
        if asked is not None and asked.key == chosen.key:
            return asked
        number, limit_s = uuid.uuid4().hex, self._settings.build_s
        return Build(number, chosen.key, chosen.file, chosen.sha256, chosen.options, limit_s, room)

    def _take_outcome(self, state: BuilderState) -> None:
        last, asked = state.last, self._ask.build
        if last is None or asked is None or last.number != asked.number or state.building is not None:
            return
        self._metrics.builds.labels("failed" if last.reason else "built").inc()
        self._metrics.seconds.inc(last.seconds)
        self._ask = replace(self._ask, build=None)
        if last.reason:
            log.error("a TensorRT engine was not built", engine=last.key, reason=last.reason)
            self._reasons[last.key] = last.reason
            self._again[last.key] = time.monotonic() + retry_s(state.failed.get(last.key, 1))
        else:
            log.info("a TensorRT engine was built", engine=last.key, seconds=last.seconds)
            self._discarded.discard(last.key)

    def _may_build(self) -> bool:
        """Whether trtexec may run at this moment."""
        requests = [self._store[name].in_flight for name in self._store]
        total, running = sum(each.total for each in requests), sum(each.count for each in requests)
        is_quiet = self._quiet.is_now(time.monotonic(), total=total, running=running)
        return self._settings.build == "always" or (self._settings.build == "idle" and is_quiet)

    def _used(self, now: set[str]) -> tuple[str, ...]:
        """Return the plans by when they were used last; those that serve now at the end."""
        serve = {live.key for live in self._live.values()} & now
        return (*(key for key in self._ask.used if key not in serve), *sorted(serve))[-_MOST_REMEMBERED:]

    def _recall(self) -> Ask:
        """Return what was asked and remembered before the start; nothing may run until it is known how the line is."""
        try:
            found = read(self._folder.path / ASK)
            return Ask() if found is None else replace(Ask.of_document(found), go=False)
        except Damaged as error:
            log.warning("what was known of TensorRT engines is lost", reason=str(error))
            return Ask()

    async def _tell(self, ask: Ask) -> None:
        self._ask = ask
        if ask != self._written:
            await asyncio.to_thread(write, self._folder.path / ASK, ask.as_document())
            self._written = ask

    def _say_all(self, trouble: str) -> None:
        if trouble != self._trouble:
            log.warning("no TensorRT engines", reason=trouble)
        self._trouble = trouble
        for name in self._store:
            if name not in self._live:
                self.standings[name] = Standing("none", trouble)
