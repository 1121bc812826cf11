"""Where requests come in and answers go out: a place for each, no second run of the same one, a line in the log."""

from contextlib import AbstractContextManager

import structlog

from lineside import contract, telemetry
from lineside.contract import Outcome, Request, Result, to_json
from lineside_inference.capture.evidence import Evidence
from lineside_inference.capture.record_builder import Seen
from lineside_inference.dataplane.admission import Admission, is_lines_own
from lineside_inference.dataplane.workers import Workers
from lineside_inference.deadline import Arrival
from lineside_inference.errors import IdReused
from lineside_inference.live.live_feed import LiveFeed
from lineside_inference.metrics import Metrics
from lineside_inference.settings import LimitSettings
from lineside_inference.usecases.idempotency import Repeats
from lineside_inference.usecases.judging import Pipeline, StageTimer, refusal

log = structlog.get_logger("lineside.inference")


class RequestHandler:
    """Admission, idempotency, evidence, metrics and log around the pipeline."""

    def __init__(
        self,
        limits: LimitSettings,
        pipeline: Pipeline,
        metrics: Metrics,
        feed: LiveFeed,
        evidence: Evidence,
        *,
        gate: Admission,
        workers: Workers,
    ) -> None:
        self.gate = gate
        self.workers = workers
        self.metrics = metrics
        self._feed = feed
        self._evidence = evidence
        self._limits = limits
        self._pipeline = pipeline
        self._repeats = Repeats(most=limits.remembered, max_bytes=limits.remembered_bytes)

    def admit(self, *, line: bool) -> AbstractContextManager[None]:
        """Hold a place from when a request is understood to its answer; raises Refused where there is none."""
        return self.gate.places.admit(line=line, wait_s=self._pipeline.pace.wait(self._limits.queue))

    async def answer(self, request: Request, size: int, mark: bytes, arrival: Arrival) -> bytes:
        """Return the Result as JSON of a request that came in so many bytes; `mark` is its fingerprint."""
        line = is_lines_own(request, size, self.gate.max_line_bytes)
        context = request.context
        with (
            self.admit(line=line),
            telemetry.about_request(request.id, station=context.station, part_id=context.part_id),
        ):
            try:
                body, is_repeat = await self._repeats.answer(request, mark, lambda: self._run(request, arrival, line))
            except IdReused as error:
                return self._done(refusal(request, error, arrival), request)
            if is_repeat:
                self.metrics.repeats.inc()
                log.info("answered again")
            return body

    async def conclude(self, outcome: Outcome) -> None:
        """Take what the PLC got for a part: it is what is shown, counted and kept of it from now on."""
        with telemetry.about_request(outcome.request_id, station=outcome.station, part_id=outcome.part_id):
            if not self._feed.conclude(outcome):
                return
            self.metrics.concluded(outcome)
            part = self._feed.find(outcome.request_id)
            judged = contract.parse_result(part.result) if part and part.result else None
            if judged and judged.verdict != outcome.verdict:
                log.warning(
                    "the PLC got another verdict than was judged",
                    judged=judged.verdict,
                    written=outcome.verdict,
                    origin=outcome.origin,
                    cause=outcome.cause,
                    write_error=outcome.write_error,
                )
            source = (part.head["request"] or {}).get("source", {}) if part else {}
            picture = self._feed.picture(judged.id) if judged else None
            seen = Seen(
                verdict=judged.verdict if judged else None,
                model_version=judged.model.version if judged and judged.model else None,
                camera=source.get("camera"),
                picture=picture.data if picture else None,
            )
            await self._evidence.conclude(outcome, seen, self._pipeline.policy.capture)

    def load(self) -> dict[str, int]:
        """Return how many requests are worked on and how many wait."""
        return self.gate.places.load()

    async def _run(self, request: Request, arrival: Arrival, line: bool) -> bytes:
        stages = StageTimer(arrival, self._evidence.collect(self._pipeline.policy.capture), line=line)
        result = await self._pipeline.run(request, arrival, stages)
        result = await self._evidence.keep(
            request,
            result,
            stages.taken,
            self._pipeline.policy.capture,
            arrival=arrival,
            left_s=stages.deadline.left() if stages.deadline else 0.0,
            outcome=self._feed.outcome_of(request.id),
        )
        return self._done(result, request, stages.image)

    def _done(self, result: Result, request: Request, image: bytes | None = None) -> bytes:
        self.metrics.answered(result, request.model)
        if result.status == "ok":
            log.debug("judged", model=request.model, verdict=result.verdict, ms=result.timing_ms.total)
        else:
            log.warning("not judged", model=request.model, status=result.status, code=result.code, reason=result.reason)
        body = to_json(result)
        self._feed.offer(request, result, body, image)
        return body
