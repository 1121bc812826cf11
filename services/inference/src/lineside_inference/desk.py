"""Where requests come in and answers go out: a place for each, no second run of the same one, a line in the log."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

from lineside import contract, telemetry
from lineside.contract import Outcome, Request, Result, to_json
from lineside_inference.capture.evidence import Evidence
from lineside_inference.capture.record import Seen
from lineside_inference.deadline import Arrival
from lineside_inference.errors import IdReused, Refused, Stopping
from lineside_inference.feed import Feed
from lineside_inference.metrics import Metrics
from lineside_inference.pipeline import Pipeline, Stages, refusal
from lineside_inference.repeats import Repeats
from lineside_inference.settings import LimitSettings

log = structlog.get_logger("lineside.inference")


class Desk:
    """Admission, idempotency, evidence, metrics and log around the pipeline."""

    def __init__(
        self,
        limits: LimitSettings,
        pipeline: Pipeline,
        metrics: Metrics,
        feed: Feed,
        evidence: Evidence,
        *,
        is_draining: Callable[[], bool],
    ) -> None:
        self.metrics = metrics
        self._feed = feed
        self._evidence = evidence
        self._is_draining = is_draining
        self._limits = limits
        self._pipeline = pipeline
        self._repeats = Repeats(most=limits.remembered, most_bytes=limits.remembered_bytes)
        self._inside = 0

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Hold a place from a request's first byte to its answer; raises Refused where there is none.

        The body counts too, so that slow or large ones are bounded as well.
        """
        if self._is_draining():
            raise Stopping("the inference service is stopping", remedy="Ask again in a moment")
        if self._inside >= self._limits.concurrency + self._limits.queue:
            raise Refused(
                f"{self._inside} requests are being worked on or wait",
                remedy="Ask again in a moment; the bounds are inference.limits.concurrency and queue",
                retry_after_s=max(1, math.ceil(self._pipeline.pace.wait(self._limits.queue))),
            )
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    async def answer(self, request: Request, arrival: Arrival) -> bytes:
        """Return the request's Result as JSON."""
        context = request.context
        with telemetry.about_request(request.id, **_about(context.station, context.part_id)):
            try:
                body, is_repeat = await self._repeats.answer(request, lambda: self._run(request, arrival))
            except IdReused as error:
                return self._done(refusal(request, error, arrival), request)
            if is_repeat:
                self.metrics.repeats.inc()
                log.info("answered again")
            return body

    async def conclude(self, outcome: Outcome) -> None:
        """Take what the PLC got for a part: it is what is shown, counted and kept of it from now on."""
        with telemetry.about_request(outcome.request_id, **_about(outcome.station, outcome.part_id)):
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
        working = min(self._inside, self._limits.concurrency)
        return {"working": working, "waiting": self._inside - working}

    async def _run(self, request: Request, arrival: Arrival) -> bytes:
        stages = Stages(arrival, self._evidence.collect(self._pipeline.policy.capture))
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


def _about(station: str | None, part_id: str | None) -> dict[str, str]:
    """Return what log lines say of a part beside its request's id."""
    said = {"station": station, "part_id": part_id}
    return {name: value for name, value in said.items() if value is not None}
