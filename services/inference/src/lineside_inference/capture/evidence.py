"""After each verdict: whether its evidence is kept, and how long the answer waits for it to be on the disk."""

import asyncio
import time
from collections.abc import Collection

from lineside.contract import Capture, Outcome, Result
from lineside.errors import LinesideError
from lineside_inference.capture.decide import Decision, PartCounter, decide, decide_outcome, fair_share, is_part
from lineside_inference.capture.record_builder import RecordBuilder, Seen, outcome_key
from lineside_inference.capture.recorder import Recorder
from lineside_inference.dataplane.judged import Judged

_OVERHEAD = 8192
"""Bytes of a record beside its image and tensors, about."""
_OUTCOME_WAIT_S = 2.0
_ANSWER_FIRST_S = 0.003
"""The threads that make a record take turns with the one that answers: an answer that waits for none goes first."""


class Evidence:
    """Decides by the policy and hands over to the recorder; used on the event loop."""

    def __init__(self, recorder: Recorder, builder: RecordBuilder) -> None:
        self._recorder = recorder
        self._builder = builder
        self._counter = PartCounter()

    def wanted(self, capture: Capture) -> Collection[str]:
        """Return which evidence inputs a policy keeps; nothing is collected where no evidence is kept."""
        return capture.keep if self._recorder.is_on else ()

    async def keep(self, judged: Judged, capture: Capture, *, outcome: Outcome | None = None) -> Result:
        """Keep the evidence where the policy says so; return the Result, with `evidence_id` where that is on the disk.

        `outcome` is what the PLC got, where that is known already.
        Waits for the disk for the setting's `wait_ms` at most, and until the deadline; the capture goes on after that.
        """
        request, result = judged.request, judged.result
        decision = self._decide(judged, capture, outcome) if self._recorder.is_on else None
        if decision is None:
            return result
        start = time.monotonic()
        wait_s = min(self._recorder.settings.wait_ms / 1000, judged.deadline.left() if judged.deadline else 0.0)
        try:
            kept = self._recorder.submit(
                lambda: self._builder.entry(judged, decision, fair_share(capture)),
                key=request.id,
                model=request.model,
                size=judged.evidence.size + _OVERHEAD,
                after_s=0.0 if wait_s > 0 else _ANSWER_FIRST_S,
            )
        except LinesideError:
            return result  # the recorder has counted and said it
        if decision.kept == "sampled":
            self._counter.sampled(request.model)
        if wait_s > 0:
            await asyncio.wait((kept,), timeout=wait_s)
        is_there = kept.done() and not kept.cancelled() and kept.exception() is None
        return result.model_copy(
            update={
                "evidence_id": request.id if is_there else None,
                "timing_ms": result.timing_ms.waited(round((time.monotonic() - start) * 1000, 3)),
            }
        )

    async def conclude(self, outcome: Outcome, seen: Seen, capture: Capture) -> None:
        """Keep a record of what the PLC got, where that is an `unknown` of the bridge's own; return once it is there.

        The wait is bounded, and what cannot be kept is counted and said by the recorder.
        """
        decision = decide_outcome(capture, outcome) if self._recorder.is_on else None
        if decision is None:
            return
        try:
            kept = self._recorder.submit(
                lambda: self._builder.outcome(outcome, seen, decision, fair_share(capture)),
                key=outcome_key(outcome.request_id),
                model=outcome.model,
                size=len(seen.image or b"") + _OVERHEAD,
            )
        except LinesideError:
            return
        await asyncio.wait((kept,), timeout=_OUTCOME_WAIT_S)

    def _decide(self, judged: Judged, capture: Capture, outcome: Outcome | None) -> Decision | None:
        request, result = judged.request, judged.result
        counts = self._counter.count(request.model, judged.arrival.wall, counted=is_part(request, result))
        return decide(capture, request, result, counts, outcome)
