"""Results and error reports on their way from the bus to the station that waits for them.

Whoever may write to these topics can name a request that waits. So what answers it must belong to it: a result says the
model, the station and the part of the request; an error report says which bytes it is about, and those must be the
request's own. What does not belong is refused and counted, and the part goes on waiting for its answer. The first
result counts; a second one with another verdict is no repetition but a contradiction, which an operator should hear of.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Collection

import structlog

from lineside.bus import Message
from lineside.contract import ErrorReport, Request, Result, Unreadable, Verdict, parse_error_report, parse_result
from lineside.secrecy import excerpt
from lineside_opcua_bridge.metrics import Metrics
from lineside_opcua_bridge.station.parts import answer_of, unknown
from lineside_opcua_bridge.station.pending import PendingRequests

log = structlog.get_logger("lineside.opcua_bridge")

_REMEMBERED = 4096
"""Requests whose verdict by a result is remembered, so that another one is noticed."""
_REMEDY = "who else writes there? Give each service an account of its own at the broker: see secure-the-broker.md"


class ResultRouter:
    """Hands answers on to the stations of `pending`; `own_stations`: nobody else should ask for those.

    `other_asked` hears of results for those stations that nobody here asked for.
    """

    def __init__(
        self,
        pending: PendingRequests,
        own_stations: Collection[str],
        metrics: Metrics,
        *,
        other_asked: Callable[[Result], None] = lambda _result: None,
    ) -> None:
        self._other_asked = other_asked
        self._pending = pending
        self._own_stations = own_stations
        self._metrics = metrics
        self._verdicts: OrderedDict[str, Verdict] = OrderedDict()

    def take(self, message: Message) -> None:
        """Take a message of the result topic."""
        try:
            result = parse_result(message.payload)
        except Unreadable as error:
            self._metrics.results.labels("unreadable").inc()
            log.warning("a result cannot be read", code=error.code, reason=error.reason)
            return
        asked = self._pending.open.get(result.request_id)
        first = self._verdicts.get(result.request_id)
        if asked and (wrong := mismatch(asked.request, result)):
            self._refuse("mismatched", "a result does not belong to its request; refused", result, reason=wrong)
        elif first is not None and result.verdict != first and result.status != "expired":
            # A request that is asked again after its deadline, by a bridge that was restarted, contradicts nothing.
            self._refuse("contradicting", "a second result has another verdict; refused", result, first=first)
        elif asked:
            self._remember(result)
            asked.asker.take_answer(result.request_id, answer_of(result))
        else:
            self._belated(result)

    def take_error(self, message: Message) -> None:
        """Take an error report: a part whose own request could not be understood gets no result any more."""
        try:
            report = parse_error_report(message.payload)
        except Unreadable as error:
            log.warning("an error report cannot be read", code=error.code, reason=error.reason)
            return
        asked = self._pending.open.get(report.request_id or "")
        if asked is None:
            return
        if not is_about(report, asked.payload):
            self._metrics.results.labels("foreign_error").inc()
            log.warning(
                "an error report names a request of ours and is about another message; the part goes on waiting",
                request_id=report.request_id,
                reported_code=report.code,
                excerpt=report.excerpt,
                remedy=_REMEDY,
            )
            return
        self._metrics.results.labels("error").inc()
        asked.asker.take_answer(asked.request.id, unknown("error", f"{report.code}: {report.reason}", code=report.code))

    def _belated(self, result: Result) -> None:
        kind: str = self._pending.closed.kind(result.request_id)
        station = result.context.station
        if kind == "foreign" and station in self._own_stations:
            kind = "unasked"
            self._other_asked(result)
            log.warning(
                "a result is for a station of ours, and for no request of ours",
                station=station,
                request_id=result.request_id,
                remedy="after a restart it is for a request of before; else a second bridge serves it: stop one",
            )
        elif kind != "foreign":  # other bridges share the topic: theirs are nothing to say
            log.info("a result came too late or twice; it is not written", request_id=result.request_id, kind=kind)
        self._metrics.results.labels(kind).inc()

    def _remember(self, result: Result) -> None:
        self._verdicts.setdefault(result.request_id, result.verdict)
        while len(self._verdicts) > _REMEMBERED:
            self._verdicts.popitem(last=False)

    def _refuse(self, kind: str, event: str, result: Result, **about: object) -> None:
        self._metrics.results.labels(kind).inc()
        about |= {"request_id": result.request_id, "result": result.id, "verdict": result.verdict}
        log.error(event, **about, remedy=_REMEDY)


def mismatch(request: Request, result: Result) -> str:
    """Return in what a result is not of this request, empty where it is: model, version where asked for, station, part.

    A result that says no model, as one of a request that was refused, is held against the others alone.
    """
    pairs: list[tuple[str, object, object]] = [
        ("station", request.context.station, result.context.station),
        ("part_id", request.context.part_id, result.context.part_id),
    ]
    if result.model is not None:
        pairs.append(("model", request.model, result.model.name))
        if request.model_version is not None and result.model.version is not None:
            pairs.append(("model_version", request.model_version, result.model.version))
    return "; ".join(f"{name} is {got!r}, asked was {asked!r}" for name, asked, got in pairs if asked != got)


def is_about(report: ErrorReport, payload: bytes) -> bool:
    """Whether a report is about the very message that was sent; one without a digest is judged by its excerpt."""
    if report.digest is None:
        return report.excerpt == excerpt(payload)
    return report.digest == hashlib.sha256(payload).hexdigest()
