"""One exported record of evidence, read into what the gate needs of it."""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from lineside.contract import TRY_STATION, Outcome, Result, Unreadable, parse_outcome, parse_result

Fetch = Callable[[str], bytes]
"""Returns the object of a reference; raises ValueError where it is not at hand."""


@dataclass(frozen=True, slots=True)
class Record:
    """Who made it, of which version, when, and why it was kept; `about` is what it says."""

    request_id: str
    device: str
    model: str
    version: str
    time: datetime
    why: str
    about: Result | Outcome
    fair_share: float | None = None
    """Of which share of all parts the policy kept every one then; None where the record says nothing of it."""


def read(document: Mapping[str, Any], fetch: Fetch) -> Record | None:
    """Return a record; None where it is of no part of the line. Raises ValueError."""
    event = document.get("eventMetadata")
    if not isinstance(event, dict):
        raise ValueError("it has no eventMetadata")  # noqa: TRY004 - one kind of error for a line
    outputs = {item.get("name"): item for item in document.get("deviceFleetAuxiliaryOutputs") or []}
    kind = next((name for name in ("result", "outcome") if name in outputs), None)
    if kind is None:
        return None  # what a client captured by itself
    try:
        payload = _payload(outputs[kind], fetch)
        about = parse_result(payload) if kind == "result" else parse_outcome(payload)
        time = datetime.fromisoformat(event["inferenceTime"]).replace(tzinfo=UTC)
        device, model = str(event["deviceId"]), str(event["modelName"])
    except Unreadable as error:
        raise ValueError(f"its {kind} is not readable: {error.reason}") from None
    except (KeyError, TypeError) as error:
        raise ValueError(f"its eventMetadata lacks {error}") from None
    if isinstance(about, Result) and about.context.station == TRY_STATION:
        return None
    version = str(event.get("modelVersion") or "")
    why, share = str(event.get("why", "")), event.get("fairShare")
    if share is not None and (isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1):
        raise ValueError(f"its fairShare is {share!r:.40}, and no number from 0 to 1")
    return Record(about.request_id, device, model, version, time, why, about, share)


def _payload(item: Mapping[str, Any], fetch: Fetch) -> bytes:
    if "data-error" in item:
        raise ValueError(f"it is {item['data-error']}")
    if "data-ref" in item:
        return fetch(str(item["data-ref"]))
    data = item.get("data")
    if not isinstance(data, str):
        raise ValueError("its data is no text")  # noqa: TRY004 - one kind of error for a line
    return base64.b64decode(data, validate=True) if item.get("encoding") == "BASE64" else data.encode()


def confidence(result: Result) -> float | None:
    """Return the confidence of the surest finding, else of the best label, as the metrics count it."""
    if result.status != "ok":
        return None
    if result.findings:
        return result.findings[0].confidence
    return max(result.scores.values(), default=None)
