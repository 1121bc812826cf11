"""A model that a card describes: its tensors' places in a slot, its requests made once a slot, whether it serves."""

import asyncio
from collections.abc import Mapping

from lineside_inference.deadline import Deadline
from lineside_inference.engine.arena import Slot
from lineside_inference.engine.link import TritonLink
from lineside_inference.engine.message import InferMessage
from lineside_inference.engine.model_link import ModelLink
from lineside_inference.engine.wire import Layout, ask
from lineside_inference.errors import EngineFailed, EngineUnavailable, RequestError
from lineside_inference.models.card import Card


class CardModel:
    """One version of a model; `links` has the supervised models of the server by name."""

    wrong: type[RequestError] = EngineFailed

    def __init__(self, card: Card, link: TritonLink, links: Mapping[str, ModelLink]) -> None:
        self.name = card.name
        self.layout = Layout.of(card)
        self._card = card
        self._link = link
        self._links = links
        self._messages: dict[tuple[int, int], InferMessage] = {}

    def message(self, slot: Slot, region: str | None) -> InferMessage:
        """Return the request for a filled slot: with names and offsets in the region, or with the bytes without one."""
        axes = self._links[self.name].batch_axes.get(self._card.version, 1)
        if region is None:
            head = ask(self._card, self.layout, slot, region=None, axes=axes)
            return InferMessage(head, [slot.memory[: self.layout.input_bytes].tobytes()])
        key = (slot.index, axes)
        known = self._messages.get(key)
        if known is None:  # names and offsets: a slot's request never changes
            known = self._messages[key] = InferMessage(ask(self._card, self.layout, slot, region=region, axes=axes))
        return known

    async def available(self, deadline: Deadline) -> None:
        """Wait until Triton is online and serves this version; raises EngineUnavailable."""
        link, server, version = self._links[self.name], self._link, self._card.version
        if server.online.is_set() and link.serves(version):
            return
        if not server.online.is_set() and server.state.away_for() > deadline.left():
            raise self._away()  # it cannot be back in time: the cause is said at once
        try:
            async with asyncio.timeout(deadline.left()):
                while not (server.online.is_set() and link.serves(version)):
                    await server.online.wait()
                    await link.ready.wait()
                    if server.online.is_set() and link.ready.is_set() and not link.serves(version):
                        raise EngineUnavailable(f"Triton does not serve version {version} of {self.name!r} now")
        except TimeoutError:
            raise self._away() from None

    def was_lost(self) -> None:
        """Let the model's supervisor look at once."""
        self._links[self.name].trouble()

    async def missing(self, _said: str, _attempt: int, _deadline: Deadline) -> None:
        """Let the model's supervisor look; `available` waits for what it finds."""
        self.was_lost()

    def _away(self) -> EngineUnavailable:
        state = self._link.state if not self._link.online.is_set() else self._links[self.name].state
        return EngineUnavailable(
            f"Triton at {self._link.settings.url} does not serve model {self.name!r}: "
            f"{state.state} {state.detail}".rstrip(),
            remedy="See /readyz of the inference service and Triton's log",
        )


class PlanModel(CardModel):
    """A TensorRT engine that was built here: where Triton does not serve it, that is said at once, and ONNX judges."""

    async def available(self, deadline: Deadline) -> None:  # noqa: ARG002 - nothing is waited for
        """Raise EngineUnavailable where Triton does not serve it now."""
        if not (self._link.online.is_set() and self._links[self.name].serves(self._card.version)):
            raise self._away()
