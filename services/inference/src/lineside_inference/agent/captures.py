"""CaptureData and GetCaptureDataStatus, on the captures of POST /v1/capture.

A capture is on this box's disk before OK is answered, with or without network, and so is what becomes of it, with or
without DbEnable.
"""

from collections.abc import Callable, Container, Mapping
from datetime import datetime
from functools import partial

from lineside.contract import utc_now
from lineside.edge_manager.protocol import agent_pb2 as pb
from lineside.edge_manager.settings import EdgeManagerSettings
from lineside.spool import Outcome
from lineside_inference.agent.capture_message import names_shared_memory, read
from lineside_inference.capture.client_captures import ClientCaptures
from lineside_inference.dataplane.admission import Admission
from lineside_inference.dataplane.workers import SMALL, Workers

_STATUS: Mapping[Outcome | None, int] = {
    None: pb.IN_PROGRESS,
    "waiting": pb.IN_PROGRESS,
    "delivered": pb.SUCCESS,
    "dead": pb.FAILURE,
    "dropped": pb.FAILURE,
}
"""By what became of a capture the protocol's word; SUCCESS only where every destination has it."""


class Captures:
    """Takes captures into the spool, and says what became of them."""

    def __init__(
        self,
        captures: ClientCaptures,
        settings: EdgeManagerSettings,
        gate: Admission,
        workers: Workers,
        *,
        loaded: Callable[[], Container[str]],
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """Make it; `loaded` returns the models that clients loaded: captures of them are taken too."""
        self._captures = captures
        self._loaded = loaded
        self._read = partial(read, strict=settings.strict, max_bytes=settings.max_message_bytes)
        self._gate = gate
        self._workers = workers
        self._now = now

    async def capture(self, request: pb.CaptureDataRequest) -> pb.CaptureDataResponse:
        """Keep one capture; return when it is on the disk.

        Raises what `capture_message.read` and `ClientCaptures.keep` raise, and Refused where too many are being taken.
        """
        arrived = self._now()
        with self._gate.captures.admit():
            size = SMALL + 1 if names_shared_memory(request) else request.ByteSize()
            given = await self._workers.aside(size, self._read, request, arrived)
            await self._captures.keep(given, arrived, given.size, is_known=given.model in self._loaded())
        return pb.CaptureDataResponse()

    async def status(self, request: pb.GetCaptureDataStatusRequest) -> pb.GetCaptureDataStatusResponse:
        """Return what became of a capture; raises what `ClientCaptures.find` raises."""
        outcome = await self._captures.find(request.capture_id)
        return pb.GetCaptureDataStatusResponse(status=_STATUS[outcome])
