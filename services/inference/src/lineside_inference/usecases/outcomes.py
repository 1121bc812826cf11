"""Takes what the PLC got for a part, as the opcua-bridge tells it."""

import asyncio
from collections.abc import Callable

import structlog

from lineside import contract, telemetry
from lineside.contract import Capture, Outcome
from lineside_inference.capture.evidence import Evidence
from lineside_inference.capture.record_builder import Seen
from lineside_inference.history.keeper import HistoryKeeper
from lineside_inference.live.live_feed import LiveFeed
from lineside_inference.usecases.metrics import Metrics

log = structlog.get_logger("lineside.inference")


class Outcomes:
    """Shows, counts and keeps outcomes; `capture` returns the capture policy in force."""

    def __init__(
        self,
        feed: LiveFeed,
        evidence: Evidence,
        history: HistoryKeeper,
        metrics: Metrics,
        capture: Callable[[], Capture],
    ) -> None:
        self._feed = feed
        self._history = history
        self._evidence = evidence
        self._metrics = metrics
        self._capture = capture

    async def conclude(self, outcome: Outcome) -> None:
        """Take an outcome: it is what is shown, counted and kept of the part from now on. Again, it changes nothing.

        Returns once the history has it on the disk, or after a bounded time where that takes long.
        """
        await asyncio.gather(self._history.conclude(outcome), self._show(outcome))

    async def _show(self, outcome: Outcome) -> None:
        with telemetry.about_request(outcome.request_id, station=outcome.station, part_id=outcome.part_id):
            if not self._feed.conclude(outcome):
                return
            self._metrics.concluded(outcome)
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
            image = self._feed.image(judged.id) if judged else None
            seen = Seen(
                verdict=judged.verdict if judged else None,
                model_version=judged.model.version if judged and judged.model else None,
                camera=source.get("camera"),
                image=image.data if image else None,
            )
            await self._evidence.conclude(outcome, seen, self._capture())
