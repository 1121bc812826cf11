"""Delivers results and error reports from the bus to the workers that wait for them.

Any client that may write to these topics can name an open request. So an answer must belong to its request: a result
must name the model, the station and the part of the request; an error report must have the digest of the request's own
bytes. An answer that does not belong is refused and counted, and the part goes on waiting. The first result counts; a
second one with another verdict is logged as a contradiction, which an operator should see.
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
"""How many requests' verdicts are remembered, to notice another one."""
_REMEDY = "who else writes there? Give each service an account of its own at the broker: see secure-the-broker.md"


class ResultRouter:
    """Delivers answers to the askers of the open requests in `pending`.

    `other_asked` gets the results for `own_stations` that nobody here asked for: no other bridge should serve those.
    `heard` is called for each late result of a request of ours.
    """

    def __init__(
        self,
        pending: PendingRequests,
        own_stations: Collection[str],
        metrics: Metrics,
        *,
        other_asked: Callable[[Result], None] = lambda _result: None,
        heard: Callable[[], None] = lambda: None,
    ) -> None:
        self._other_asked = other_asked
        self._heard = heard
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
        pending = self._pending.open.get(result.request_id)
        first = self._verdicts.get(result.request_id)
        if pending and (wrong := mismatch(pending.request, result)):
            self._refuse("mismatched", "a result does not belong to its request; refused", result, reason=wrong)
        elif first is not None and result.verdict != first and result.status != "expired":
            # A request that a restarted bridge asked again after its deadline has expired: that is no contradiction.
            self._refuse("contradicting", "a second result has another verdict; refused", result, first=first)
        elif pending:
            self._remember(result)
            pending.asker.take_answer(result.request_id, answer_of(result))
        else:
            self._take_unmatched(result)

    def take_error(self, message: Message) -> None:
        """Take an error report: the request could not be understood, so there will be no result."""
        try:
            report = parse_error_report(message.payload)
        except Unreadable as error:
            log.warning("an error report cannot be read", code=error.code, reason=error.reason)
            return
        pending = self._pending.open.get(report.request_id or "")
        if pending is None:
            return
        if not is_about(report, pending.payload):
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
        pending.asker.take_answer(
            pending.request.id, unknown("error", f"{report.code}: {report.reason}", code=report.code)
        )

    def _take_unmatched(self, result: Result) -> None:
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
        elif kind != "foreign":  # results of other bridges on the topic are not logged
            self._heard()
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
    """Return where a result differs from its request in model, version if asked for, station or part; empty: nowhere.

    A result without a model, as that of a refused request, is compared by the others alone.
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
    """Whether a report is about the message that was sent; one without a digest is compared by its excerpt."""
    if report.digest is None:
        return report.excerpt == excerpt(payload)
    return report.digest == hashlib.sha256(payload).hexdigest()
