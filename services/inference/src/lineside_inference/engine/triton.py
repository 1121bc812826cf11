"""The engine: one inference on Triton, from a filled slot to the output, within a deadline.

A call that the deadline leaves behind is not cancelled while Triton shares the slot's memory: Triton may still write
into it. The slot stays in quarantine until that call has ended, and the number of slots bounds how many there can be.
"""

import atexit
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import structlog
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2 as pb

from lineside.connections import Connection
from lineside.service import Service
from lineside_inference.deadline import Deadline
from lineside_inference.engine.arena import Arena, Slot, clean_leftovers
from lineside_inference.engine.caller import TritonCaller
from lineside_inference.engine.card_model import CardModel, PlanModel
from lineside_inference.engine.link import TritonLink
from lineside_inference.engine.message import InferMessage
from lineside_inference.engine.model_link import ModelLink
from lineside_inference.engine.wire import Layout, batch_axes, input_view, read_outputs
from lineside_inference.errors import EngineTimeout
from lineside_inference.models.card import Card
from lineside_inference.models.store import Model
from lineside_inference.settings import TritonSettings

log = structlog.get_logger("lineside.inference.engine")


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
        self._card_models: WeakKeyDictionary[Model, CardModel] = WeakKeyDictionary()
        self.arena, why = _make_arena(
            settings,
            max((Layout.of(card).size for card in (*others, *(it.card for it in models.values()))), default=0),
        )
        self._larger: WeakKeyDictionary[Model, Arena] = WeakKeyDictionary()
        atexit.register(self.arena.close)  # also where the start stops after this
        self.link = TritonLink(settings, self.arena, service.connection("triton", settings.url))
        self.link.why_bytes = why or self.link.why_bytes
        self.caller = TritonCaller(self.link)
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
        return input_view(model.card, self._card_model(model).layout, slot)

    async def infer(self, model: Model, slot: Slot, deadline: Deadline) -> dict[str, NDArray[np.generic]]:
        """Run the model on a filled slot and return its outputs by name.

        Waits for Triton while it is away, and asks again what it lost, until the deadline.
        Raises EngineUnavailable, EngineTimeout or EngineFailed.
        """
        card_model = self._card_model(model)
        is_shared = False

        def build(region: str | None) -> InferMessage:
            nonlocal is_shared
            is_shared = region is not None
            return card_model.message(slot, region)

        reply = await self.caller.infer(card_model, build, slot, deadline)
        return read_outputs(reply, model.card, card_model.layout, slot if is_shared else None)

    def _card_model(self, model: Model) -> CardModel:
        known = self._card_models.get(model)
        if known is None:
            known = self._card_models[model] = CardModel(model.card, self.link, self.model_links)
        return known

    def add_plan(self, plan: Model, in_triton: Model) -> ModelLink:
        """Return the link of an engine that was built here: a model that Triton knows by another name than its card.

        Its requests have the same places in a slot as its fallback's. It has no supervisor: whoever adds it loads it.
        """
        state = self._service.connections.get(f"plan/{plan.card.name}") or self._service.connection(
            f"plan/{plan.card.name}", f"{self._settings.url}/{in_triton.card.name}"
        )
        state.required = False
        link = ModelLink(self.link, in_triton, state, batch_axes, is_optional=True)
        self._card_models[plan] = PlanModel(in_triton.card, self.link, {in_triton.card.name: link})
        if plan.fallback is not None and plan.fallback in self._larger:
            self._larger[plan] = self._larger[plan.fallback]
        return link

    async def unload_all(self, which: Callable[[str], bool]) -> list[str]:
        """Have Triton drop the models whose names are these, and return them.

        Raises EngineUnavailable, EngineTimeout, EngineFailed or grpc.RpcError.
        """
        index = await self.caller.ask("RepositoryIndex", pb.RepositoryIndexRequest(ready=True))
        names = sorted({model.name for model in index.models if which(model.name)})
        for name in names:
            request = pb.RepositoryModelUnloadRequest(model_name=name)
            await self.link.stub.RepositoryModelUnload(request, timeout=self._settings.load_timeout_ms / 1000)
        return names

    @contextmanager
    def using(self, name: str, version: str) -> Iterator[str]:
        """Hold a version for a request that goes to Triton as it is, and yield its number: it stays loaded meanwhile.

        Without a version it is the one in force. What is not ours, or not in force, is yielded as it was given.
        """
        link = self.model_links.get(name)
        if link is None or version not in {"", link.wanted.card.version}:
            yield version
            return
        with link.wanted.in_flight.one():
            yield link.wanted.card.version

    def make_room(self, model: Model) -> None:
        """Make slots of its own for a model that came after the start and is too large for the shared ones.

        Triton has mapped those; the others' tensors go to it in bytes until the service is started anew.
        """
        needed = self._card_model(model).layout.size
        if needed > self.arena.slot_bytes:
            self._larger[model] = Arena(slot_bytes=needed, slots=self._settings.slots, shared=False)
            log.warning(
                "a model's tensors go to triton in bytes",
                model=model.card.name,
                reason=f"it needs {needed} bytes a request, the slots made at the start have {self.arena.slot_bytes}",
                remedy="start the service anew, or raise inference.triton.slot_bytes",
            )


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
