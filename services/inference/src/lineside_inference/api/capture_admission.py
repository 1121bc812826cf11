"""Who may bring a capture in, and how what the spool refuses is answered."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager

from starlette.concurrency import run_in_threadpool

from lineside.edge_manager import EdgeManagerSettings
from lineside.spool import Spool, SpoolError, SpoolFull, Status
from lineside_inference.api.problems import Problem
from lineside_inference.capture.recorder import Recorder
from lineside_inference.dataplane.admission import AdmissionGate
from lineside_inference.errors import CaptureQueueFull, NotKept

_RETRY_S = 5
_CLOUD = "cloud"
"""Name of the forwarder's destination that destination Cloud stands for."""
_AWAY = frozenset({"", "BACKOFF"})
"""States of a destination without network; one that was not asked yet must be, or nothing would ever be taken."""


class CaptureAdmission:
    """Who may come in: so many at a time; with `strict` one by one, and only where the agent let them in."""

    def __init__(self, recorder: Recorder, edge_manager: EdgeManagerSettings) -> None:
        self._recorder = recorder
        self._edge_manager = edge_manager
        self._places = AdmissionGate(
            recorder.settings.queue, 0, kept=0, bounds="inference.capture.queue", is_draining=lambda: False
        )
        self._one_by_one = asyncio.Lock()

    def place(self) -> AbstractContextManager[None]:
        """Hold a place from when a body is in to its answer; raises Refused where there is none."""
        return self._places.admit()

    def spool(self, capture_id: str) -> Spool:
        """Return the open spool; raises Problem 503."""
        spool = self._recorder.spool
        if spool is None:
            link = self._recorder.link
            why = f"the spool in {link.target} is not open: /readyz says why" if link else "spool.folder is not set"
            raise Problem(503, NotKept.code, f"No evidence is kept: {why}.", request_id=capture_id)
        return spool

    @asynccontextmanager
    async def admitted(self, capture_id: str) -> AsyncIterator[None]:
        """Let one in; raises Problem 429 or 503 where the agent would have refused it and `strict` says so."""
        spool = self.spool(capture_id)
        if not self._edge_manager.strict:
            yield
            return
        async with self._one_by_one:
            with as_problems(capture_id):
                state = await run_in_threadpool(spool.status)
            refusal = strictly(state, self._edge_manager)
            if refusal is not None:
                raise refusal
            yield


def strictly(state: Status, settings: EdgeManagerSettings) -> Problem | None:
    """Return why Edge Manager's agent would have refused one capture more, or None."""
    cloud = [one for one in state.destinations if one.name == _CLOUD] or state.destinations
    if settings.CaptureDataDestination == "Cloud" and (not state.is_served or all(one.state in _AWAY for one in cloud)):
        what = "; ".join(f"{one.name}: {one.state or 'never reached'} {one.detail}".strip() for one in cloud)
        return Problem(
            503,
            "destination-away",
            f"FAILED_PRECONDITION: no network ({what if state.is_served else 'no forwarder runs here'}). "
            "With edge_manager.strict false the capture is kept and leaves later.",
            headers={"Retry-After": str(_RETRY_S)},
        )
    waiting = max([one.waiting_records for one in state.destinations], default=state.records - state.kept_records)
    if waiting >= settings.CaptureDataBufferSize:
        return Problem(
            429,
            "capture-buffer-full",
            f"RESOURCE_EXHAUSTED: {waiting} captures wait, CaptureDataBufferSize is {settings.CaptureDataBufferSize}. "
            "With edge_manager.strict false the spool's own bound counts.",
            headers={"Retry-After": str(_RETRY_S)},
        )
    return None


@contextmanager
def as_problems(capture_id: str) -> Iterator[None]:
    """Answer what the spool or the way to it refuses as a problem: 429 for no room, 503 for the rest."""
    again = {"Retry-After": str(_RETRY_S)}
    try:
        yield
    except (SpoolFull, CaptureQueueFull) as error:
        raise Problem(429, error.code, str(error), request_id=capture_id, headers=again) from None
    except NotKept as error:
        raise Problem(503, error.code, str(error), request_id=capture_id) from None
    except SpoolError as error:
        raise Problem(503, error.code, str(error), request_id=capture_id, headers=again) from None
