"""Results as messages on the bus."""

from typing import Any

from lineside.contract import ModelRef, Result, Timing, to_json, uuid7


def result(
    verdict: str = "pass", *, station: str | None = "station-1", model: str | None = "surface-defect", **fields: Any
) -> Result:
    """Return a result; `latency` and `confidence` are put where they belong."""
    latency, confidence = fields.pop("latency", 8.0), fields.pop("confidence", None)
    return Result.model_validate(
        {
            "id": uuid7(),
            "request_id": uuid7(),
            "status": "ok",
            "verdict": verdict,
            "reason": "made for a test",
            "model": ModelRef(name=model, version="1") if model else None,
            "findings": [] if confidence is None else [{"label": "scratch", "confidence": confidence}],
            "timing_ms": Timing(total=latency),
            "context": {"station": station},
            **fields,
        }
    )


def message(verdict: str = "pass", **fields: Any) -> bytes:
    return to_json(result(verdict, **fields))
