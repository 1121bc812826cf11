"""The engine: one inference on Triton, from a filled slot to the output, within a deadline.

A call that the deadline leaves behind is not cancelled while Triton shares the slot's memory: Triton may still write
into it. The slot stays in quarantine until that call has ended, and the number of slots bounds how many there can be.
"""

import asyncio
import atexit
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import grpc
import numpy as np
import structlog
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2 as pb

from lineside.connections import Connection
from lineside.service import Service
from lineside_inference.deadline import Deadline
from lineside_inference.engine.arena import Arena, Slot, clean_leftovers
from lineside_inference.engine.failures import kind_of, meaning
from lineside_inference.engine.link import TritonLink, describe
from lineside_inference.engine.model_link import ModelLink
from lineside_inference.engine.wire import Layout, ask, batch_axes, input_view, read_outputs
from lineside_inference.errors import EngineFailed, EngineTimeout, EngineUnavailable
from lineside_inference.models.card import Card
from lineside_inference.models.store import Model
from lineside_inference.settings import TritonSettings

log = structlog.get_logger("lineside.inference.engine")

_ATTEMPTS = 5


@dataclass(frozen=True)
class EngineInfo:
    """What runs the models; `transport` and `version` are None until Triton was reached for the first time."""

    server: str
    version: str | None
    transport: str | None
    detail: str
    models: dict[str, str]


class Engine:
    """Triton, its arena, and the links to both server and models."""

    def __init__(
        self,
        settings: TritonSettings,
        models: Mapping[str, Model],
        service: Service,
        *,
        others: Iterable[Card] = (),
        allow_python: bool = False,
    ) -> None:
        """Make it; `others` are cards of versions and models that may serve later: slots hold theirs too."""
        self._allow_python = allow_python
        self._settings = settings
        self._models = models
        self._service = service
        self._layouts: WeakKeyDictionary[Model, Layout] = WeakKeyDictionary()
        self._asked: WeakKeyDictionary[Model, dict[tuple[int, int], pb.ModelInferRequest]] = WeakKeyDictionary()
        self.arena, why = _make_arena(
            settings,
            max((Layout.of(card).size for card in (*others, *(it.card for it in models.values()))), default=0),
        )
        self._larger: WeakKeyDictionary[Model, Arena] = WeakKeyDictionary()
        atexit.register(self.arena.close)  # also where the start stops after this
        self.link = TritonLink(settings, self.arena, service.connection("triton", settings.url))
        self.link.why_bytes = why or self.link.why_bytes
        self.model_links = {name: self._model_link(model) for name, model in models.items()}

    def start(self) -> None:
        """Open the channel and start the supervisors; they live as long as the service."""
        self.link.open()
        self._service.spawn("triton", self.link.supervise())
        for name, link in self.model_links.items():
            self._service.spawn(f"model {name}", link.supervise())

    def join(self, model: Model) -> None:
        """Serve a model that came after the start."""
        self.make_room(model)
        link = self.model_links[model.card.name] = self._model_link(model)
        self._service.spawn(f"model {model.card.name}", link.supervise())

    def connection(self, name: str) -> Connection:
        """Return the connection of a model, also of one that is out."""
        known = self._service.connections.get(f"model/{name}")
        return known or self._service.connection(f"model/{name}", f"{self._settings.url}/{name}")

    def _model_link(self, model: Model) -> ModelLink:
        def others_serve() -> bool:
            return any(link.ready.is_set() for name, link in self.model_links.items() if name != model.card.name)

        connection = self.connection(model.card.name)
        return ModelLink(self.link, model, connection, batch_axes, others_serve, allow_python=self._allow_python)

    async def close(self) -> None:
        """Leave Triton and remove the arena."""
        await self.link.close()
        self.arena.close()
        atexit.unregister(self.arena.close)

    def arena_counts(self) -> dict[str, int]:
        """Return how many slots are free, used and quarantined."""
        return self.arena.counts()

    def info(self) -> EngineInfo:
        """Return what runs the models now."""
        link = self.link
        detail = f"{link.state.state}: {link.state.detail}" if link.state.detail else str(link.state.state)
        return EngineInfo(
            server=link.server or "triton",
            version=link.version or None,
            transport=link.transport,
            detail=f"{detail} ({link.why_bytes})" if link.why_bytes else detail,
            models={name: str(model.state.state) for name, model in self.model_links.items()},
        )

    async def slot(self, model: Model, deadline: Deadline) -> Slot:
        """Return a slot to fill; raises EngineTimeout where none comes free until the deadline."""
        arena = self._larger.get(model, self.arena)
        try:
            return await arena.acquire(deadline)
        except TimeoutError:
            raise EngineTimeout(
                f"none of the {len(arena.slots)} slots came free",
                remedy="Triton holds them all: see whether it hangs, or raise inference.triton.slots",
            ) from None

    def input(self, model: Model, slot: Slot) -> NDArray[Any]:
        """Return the place of the model's input in a slot."""
        return input_view(model.card, self._layout(model), slot)

    async def infer(self, model: Model, slot: Slot, deadline: Deadline) -> dict[str, NDArray[np.generic]]:
        """Run the model on a filled slot and return its outputs by name.

        Waits for Triton while it is away, and asks again what it lost, until the deadline.
        Raises EngineUnavailable, EngineTimeout or EngineFailed.
        """
        layout = self._layout(model)
        for attempt in range(1, _ATTEMPTS + 1):
            await self._available(model, deadline)
            request = self._request(model, slot, layout)
            is_shared = not request.raw_input_contents
            call = asyncio.ensure_future(self._call(request, None if is_shared else deadline.left()))
            if is_shared:
                slot.keep_for(call)
            await asyncio.wait((call,), timeout=deadline.left())
            if not call.done():
                if not is_shared:
                    call.cancel()
                raise EngineTimeout(f"Triton did not answer for model {model.card.name!r} in time")
            if call.cancelled():
                raise EngineUnavailable("the connection to Triton is being closed")
            error = call.exception()
            if error is None:
                return read_outputs(call.result(), model.card, layout, slot if is_shared else None)
            self._judge(model, error, attempt)
        raise EngineUnavailable(f"Triton failed {_ATTEMPTS} times for model {model.card.name!r}")

    async def _call(self, request: pb.ModelInferRequest, timeout_s: float | None) -> pb.ModelInferResponse:
        return await self.link.infer(request, timeout=timeout_s)

    async def _available(self, model: Model, deadline: Deadline) -> None:
        """Wait until Triton is online and the model is ready."""
        link, server = self.model_links[model.card.name], self.link
        version = model.card.version
        if server.online.is_set() and link.serves(version):
            return
        if not server.online.is_set() and server.state.away_for() > deadline.left():
            raise self._unavailable(model)  # it cannot be back in time: the cause is said at once
        try:
            async with asyncio.timeout(deadline.left()):
                while not (server.online.is_set() and link.serves(version)):
                    await server.online.wait()
                    await link.ready.wait()
                    if server.online.is_set() and link.ready.is_set() and not link.serves(version):
                        raise EngineUnavailable(f"Triton does not serve version {version} of {model.card.name!r} now")
        except TimeoutError:
            raise self._unavailable(model) from None

    def _unavailable(self, model: Model) -> EngineUnavailable:
        away = self.link.state if not self.link.online.is_set() else self.model_links[model.card.name].state
        return EngineUnavailable(
            f"Triton at {self._settings.url} does not serve model {model.card.name!r}: "
            f"{away.state} {away.detail}".rstrip(),
            remedy="See /readyz of the inference service and Triton's log",
        )

    def _layout(self, model: Model) -> Layout:
        layout = self._layouts.get(model)
        if layout is None:
            layout = self._layouts[model] = Layout.of(model.card)
        return layout

    @contextmanager
    def using(self, name: str, version: str) -> Iterator[str]:
        """Hold a version for a request that goes to Triton as it is, and yield its number: it stays loaded meanwhile.

        Without a version it is the one in force. What is not ours, or not in force, is yielded as it was given.
        """
        link = self.model_links.get(name)
        if link is None or version not in {"", link.wanted.card.version}:
            yield version
            return
        with link.wanted.users.one():
            yield link.wanted.card.version

    def make_room(self, model: Model) -> None:
        """Make slots of its own for a model that came after the start and is too large for the shared ones.

        Triton has mapped those; the others' tensors go to it in bytes until the service is started anew.
        """
        needed = self._layout(model).size
        if needed > self.arena.slot_bytes:
            self._larger[model] = Arena(slot_bytes=needed, slots=self._settings.slots, shared=False)
            log.warning(
                "a model's tensors go to triton in bytes",
                model=model.card.name,
                reason=f"it needs {needed} bytes a request, the slots made at the start have {self.arena.slot_bytes}",
                remedy="start the service anew, or raise inference.triton.slot_bytes",
            )

    def _request(self, model: Model, slot: Slot, layout: Layout) -> pb.ModelInferRequest:
        axes = self.model_links[model.card.name].batch_axes.get(model.card.version, 1)
        if self.link.transport != "shared-memory" or not slot.is_shared:
            request = ask(model.card, layout, slot, region=None, axes=axes)
            request.raw_input_contents.append(slot.memory[: layout.input_bytes].tobytes())
            return request
        asked = self._asked.setdefault(model, {})
        key = (slot.index, axes)
        known = asked.get(key)
        if known is None:
            # A slot's request never changes, so it is made once: names and offsets, no tensor.
            known = asked[key] = ask(model.card, layout, slot, region=self.link.region, axes=axes)
        return known

    def _judge(self, model: Model, error: BaseException, attempt: int) -> None:
        """Return where the call may be made again, else raise what it means."""
        if not isinstance(error, grpc.aio.AioRpcError):
            raise EngineFailed(f"the call to Triton failed: {error!r}") from error
        kind = kind_of(error)
        if kind not in {"server", "region", "model"}:
            raise meaning(error, f"model {model.card.name!r}")
        log.warning("triton lost a request; it is asked again", attempt=attempt, reason=describe(error))
        self.model_links[model.card.name].trouble()
        if kind != "model":  # the others' line goes on where only this one is not loaded
            self.link.trouble(describe(error))


def _make_arena(settings: TritonSettings, slot_bytes: int) -> tuple[Arena, str]:
    """Return the arena and, where it is not shared though it should be, why."""
    slot_bytes = max(slot_bytes, settings.slot_bytes)
    if settings.shared_memory == "off":
        return Arena(slot_bytes=slot_bytes, slots=settings.slots, shared=False), ""
    clean_leftovers()
    try:
        return Arena(slot_bytes=slot_bytes, slots=settings.slots), ""
    except OSError as error:
        why = f"no shared memory of {slot_bytes * settings.slots} bytes: {error.strerror}"
        log.warning("tensors go to triton in bytes", reason=why, remedy="enlarge /dev/shm, for instance shm_size")
        return Arena(slot_bytes=slot_bytes, slots=settings.slots, shared=False), why
