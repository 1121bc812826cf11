"""Answers a request for a verdict, whatever face it came by: let in, judged once, kept as evidence, shown, counted."""

from dataclasses import replace

import structlog

from lineside import telemetry
from lineside.contract import Request, to_json
from lineside_inference.capture.evidence import Evidence
from lineside_inference.dataplane.admission import Admission, is_lines_own
from lineside_inference.dataplane.judged import Judged
from lineside_inference.deadline import Arrival
from lineside_inference.errors import IdReused
from lineside_inference.history.keeper import HistoryKeeper
from lineside_inference.interpret.thresholds import thresholds
from lineside_inference.live.live_feed import LiveFeed
from lineside_inference.usecases.idempotency import AnswerCache
from lineside_inference.usecases.judging import Judging, refused
from lineside_inference.usecases.metrics import Metrics

log = structlog.get_logger("lineside.inference")


class RequestHandler:
    """Admission, idempotency, evidence, live feed, metrics and log around judging."""

    def __init__(
        self,
        judging: Judging,
        answers: AnswerCache,
        *,
        gate: Admission,
        evidence: Evidence,
        history: HistoryKeeper,
        feed: LiveFeed,
        metrics: Metrics,
    ) -> None:
        self._judging = judging
        self._answers = answers
        self._gate = gate
        self._metrics = metrics
        self._evidence = evidence
        self._history = history
        self._feed = feed

    async def answer(self, request: Request, size: int, fingerprint: bytes, arrival: Arrival) -> bytes:
        """Return the Result as JSON of a request that came in `size` bytes.

        The same bytes again for a request whose id was asked before. Raises Refused where there is no place for it.
        """
        line = is_lines_own(request, size, self._gate.max_line_bytes)
        context = request.context
        with (
            self._gate.places.admit(line=line),
            telemetry.about_request(request.id, station=context.station, part_id=context.part_id),
        ):
            try:
                body, is_repeat = await self._answers.answer(
                    request, fingerprint, lambda: self._judge(request, arrival, line=line)
                )
            except IdReused as error:
                return self._done(refused(request, error, arrival))
            if is_repeat:
                self._metrics.repeats.inc()
                log.info("answered again")
            return body

    async def _judge(self, request: Request, arrival: Arrival, *, line: bool) -> bytes:
        keep = self._evidence.wanted(self._judging.policy.capture)
        judged = await self._judging.judge(request, arrival, line=line, keep=keep)
        capture, outcome = self._judging.policy.capture, self._feed.outcome_of(request.id)
        return self._done(replace(judged, result=await self._evidence.keep(judged, capture, outcome=outcome)))

    def _done(self, judged: Judged) -> bytes:
        request, result = judged.request, judged.result
        self._metrics.answered(judged)
        if result.status == "ok":
            log.debug("judged", model=request.model, verdict=result.verdict, ms=result.timing_ms.total)
        else:
            log.warning("not judged", model=request.model, status=result.status, code=result.code, reason=result.reason)
        body = to_json(result)
        self._feed.offer(judged, body)
        model = judged.evidence.model
        self._history.judged(judged, thresholds(self._judging.policy, model.card) if model else None)
        return body
