"""The requests of all triggers that wait for an answer, and those that were closed lately."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal, Protocol

from lineside.contract import Request
from lineside_opcua_bridge.station.parts import Answer, Part


class Asker(Protocol):
    """Who waits for the answer to a request."""

    def take_answer(self, request_id: str, answer: Answer) -> None:
        """Take the answer."""


@dataclass(frozen=True)
class PendingRequest:
    """A request that waits for its answer: who sent it, and the message as it was sent."""

    asker: Asker
    request: Request
    payload: bytes


class PendingRequests:
    """Requests by their id: those that wait for an answer, and which no longer do."""

    def __init__(self) -> None:
        self.open: dict[str, PendingRequest] = {}
        self.closed = ClosedRequests()

    def close(self, part: Part) -> None:
        """Take it that a part's request waits no longer."""
        if part.asked:
            self.open.pop(part.request_id, None)
            self.closed.add(part.request_id, by_result=part.answer is not None and part.answer.origin == "result")


class ClosedRequests:
    """The last `limit` requests that were closed, so that their late results are told from other bridges' results."""

    def __init__(self, limit: int = 4096) -> None:
        self._limit = limit
        self._by_result: OrderedDict[str, bool] = OrderedDict()

    def add(self, request_id: str, *, by_result: bool) -> None:
        """Remember a closed request, and whether its own result closed it."""
        self._by_result[request_id] = by_result
        while len(self._by_result) > self._limit:
            self._by_result.popitem(last=False)

    def kind(self, request_id: str) -> Literal["duplicate", "late", "foreign"]:
        """Return what another result for this request is."""
        by_result = self._by_result.get(request_id)
        return "foreign" if by_result is None else "duplicate" if by_result else "late"
