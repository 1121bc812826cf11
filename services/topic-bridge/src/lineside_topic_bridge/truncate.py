"""Shortens a result to the bus's message limit: details are left out, the verdict never."""

from datetime import datetime

from lineside.contract import Result, to_json

_REASON_CHARACTERS = 500


def truncate(result: Result, max_bytes: int, published: datetime) -> bytes:
    """Return the result as JSON of at most `max_bytes` bytes where leaving details out allows it, stamped as published.

    The findings of least confidence are left out first (counted in `findings_omitted`), then the scores, then the end
    of a long reason and the context's fields beside station and part.
    """
    result = result.model_copy(update={"time": result.time.model_copy(update={"published": published})})
    payload = to_json(result)
    while len(payload) > max_bytes and result.findings:
        kept = sorted(result.findings, key=lambda finding: -finding.confidence)[: len(result.findings) // 2]
        omitted = result.findings_omitted + len(result.findings) - len(kept)
        result = result.model_copy(update={"findings": tuple(kept), "findings_omitted": omitted})
        payload = to_json(result)
    if len(payload) > max_bytes:
        result = result.model_copy(update={"scores": {}})
        payload = to_json(result)
    if len(payload) > max_bytes:
        context = type(result.context)(station=result.context.station, part_id=result.context.part_id)
        result = result.model_copy(update={"reason": result.reason[:_REASON_CHARACTERS], "context": context})
        payload = to_json(result)
    return payload
