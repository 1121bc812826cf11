"""Takes as evidence what clients judged for themselves; with `strict` as Edge Manager's agent took it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

from lineside.edge_manager.settings import EdgeManagerSettings
from lineside.errors import LinesideError
from lineside.spool import Outcome, Spool, Status
from lineside_inference.capture import capture_request
from lineside_inference.capture.capture_request import CaptureRequest
from lineside_inference.capture.recorder import Recorder
from lineside_inference.errors import (
    CaptureBufferFull,
    CaptureExists,
    CaptureUnknown,
    DestinationAway,
    ModelUnknown,
    NotKept,
)
from lineside_inference.models.store import ModelStore

_CLOUD = "cloud"
"""Name of the forwarder's destination that destination Cloud stands for."""
_AWAY = frozenset({"", "BACKOFF"})
"""States of a destination without network; one that was not asked yet must be, or nothing would ever be taken."""


class ClientCaptures:
    """The captures of clients; `device` is this box's name in every record."""

    def __init__(self, recorder: Recorder, store: ModelStore, edge_manager: EdgeManagerSettings, device: str) -> None:
        self._recorder = recorder
        self._store = store
        self._edge_manager = edge_manager
        self._device = device
        self._one_by_one = asyncio.Lock()

    async def keep(self, given: CaptureRequest, arrived: datetime, size: int, *, is_known: bool = False) -> None:
        """Keep one capture that came in `size` bytes; return when it is on this box's disk, whoever waits for it.

        `is_known`: its model is known to who calls, and need not be here.

        Raises ModelUnknown, CaptureExists, NotKept, CaptureQueueFull or the spool's SpoolError; with `strict` also
        DestinationAway and CaptureBufferFull, where the agent would have refused it.
        """
        version = None if is_known else self._version(given.model)
        async with self._admitted():
            receipt = await asyncio.shield(
                self._recorder.submit(
                    lambda: capture_request.entry(
                        given,
                        arrived,
                        fleet=self._edge_manager.DeviceFleetName,
                        device=self._device,
                        version=version,
                        embed_limit=self._edge_manager.embed_limit,
                        text_as_base64=self._edge_manager.text_as_base64,
                    ),
                    key=given.capture_id,
                    model=given.model,
                    size=size,
                )
            )
        if not receipt.is_new:
            raise CaptureExists(
                f"capture {given.capture_id!r} was taken before, and stays as it is",
                remedy="Give every capture an id of its own",
            )

    async def find(self, capture_id: str) -> Outcome | None:
        """Return what became of a capture, None while it is on its way to the disk.

        Raises CaptureUnknown where none of this id is known here (any more), NotKept or the spool's SpoolError.
        """
        spool = self._spool()
        is_under_way = self._recorder.is_under_way(capture_id)  # asked first: it may arrive while the spool is asked
        outcome = await asyncio.to_thread(spool.find, capture_id)
        if outcome is None and not is_under_way:
            raise CaptureUnknown(f"Capture {capture_id!r:.140} is not known here (any more).")
        return outcome

    @asynccontextmanager
    async def _admitted(self) -> AsyncIterator[None]:
        """Let all in at once; with `strict` one by one, and only whom the agent would have let in."""
        spool = self._spool()
        if not self._edge_manager.strict:
            yield
            return
        async with self._one_by_one:
            refusal = refusal_of_agent(await asyncio.to_thread(spool.status), self._edge_manager)
            if refusal is not None:
                raise refusal
            yield

    def _spool(self) -> Spool:
        spool = self._recorder.spool
        if spool is None:
            link = self._recorder.link
            why = f"the spool in {link.target} is not open: /readyz says why" if link else "spool.folder is not set"
            raise NotKept(f"No evidence is kept: {why}.")
        return spool

    def _version(self, model: str) -> str | None:
        """Return a model's version in force, None where only its clients know; raises ModelUnknown."""
        store, others = self._store, self._recorder.settings.models
        if model in store:
            return store[model].card.version if store.is_loaded(model) else None
        if model in others or model in store.out:
            return None
        known = ", ".join(sorted({*store, *others}))
        raise ModelUnknown(
            f"Model {model!r:.140} is not known",
            remedy=f"Known here: {known}. Others are named in inference.capture.models.",
        )


def refusal_of_agent(state: Status, settings: EdgeManagerSettings) -> LinesideError | None:
    """Return why Edge Manager's agent would have refused one capture more, or None."""
    cloud = [one for one in state.destinations if one.name == _CLOUD] or state.destinations
    if settings.CaptureDataDestination == "Cloud" and (not state.is_served or all(one.state in _AWAY for one in cloud)):
        what = "; ".join(f"{one.name}: {one.state or 'never reached'} {one.detail}".strip() for one in cloud)
        return DestinationAway(
            f"FAILED_PRECONDITION: no network ({what if state.is_served else 'no forwarder runs here'})",
            remedy="With edge_manager.strict false the capture is kept and leaves later.",
        )
    waiting = max([one.waiting_records for one in state.destinations], default=state.records - state.kept_records)
    if waiting >= settings.CaptureDataBufferSize:
        return CaptureBufferFull(
            f"RESOURCE_EXHAUSTED: {waiting} captures wait, CaptureDataBufferSize is {settings.CaptureDataBufferSize}",
            remedy="With edge_manager.strict false the spool's own bound counts.",
        )
    return None
