"""Files of evidence as a box exports them, of parts that a test describes."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from lineside.capture import Event, Item, compose, share, with_references
from lineside.contract import Outcome, Result, to_json

BEGAN = datetime(2026, 3, 2, 6, tzinfo=UTC)


@dataclass(frozen=True)
class Made:
    """One part and what became of it."""

    id: str
    device: str = "box-1"
    version: str = "3"
    at_s: float = 0.0
    verdict: str = "pass"
    status: str = "ok"
    latency_ms: float = 20.0
    confidence: float = 0.9
    told: str | None = None
    """What the PLC got, where the bridge decided otherwise."""
    station: str = "station-1"
    model: str = "surface"


def lines(
    parts: Iterable[Made],
    *,
    rate: float | None = 1.0,
    embed_limit: int = 65_536,
    every: int = 0,
    says_share: bool = True,
) -> list[bytes]:
    """Return the records that the policy `always: [fail, unknown]` with this rate keeps.

    `says_share`: False for records as they were before each said of which share of all parts every one is kept.
    """
    share_said = {"fairShare": 1.0 if every == 1 else rate or 0.0} if says_share else {}
    found = []
    for number, part in enumerate(parts, 1):
        why = _why(part, rate, every, number)
        if why is not None:
            found.append(_line(part, {"why": why, **share_said}, embed_limit))
        if part.told is not None:
            found.append(_told(part, share_said))
    return found


def write(folder: Path, parts: Iterable[Made], **policy: object) -> Path:
    """Write a file of records into a folder and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "box.jsonl").write_bytes(b"".join(line + b"\n" for line in lines(parts, **policy)))  # type: ignore[arg-type]
    return folder


def many(
    version: str,
    *,
    devices: int = 8,
    parts: int = 400,
    slower: float = 1.0,
    unknowns: float = 0.01,
    seed: int = 1,
    tag: str = "",
) -> list[Made]:
    """Return the parts of a small fleet over a day, spread evenly."""
    random = np.random.default_rng(seed)
    made = []
    for device in range(devices):
        latencies = 20 * slower * np.exp(0.15 * random.standard_normal(parts)) * (1 + device / 20)
        for number in range(parts):
            verdict = "unknown" if random.random() < unknowns else "fail" if random.random() < 0.02 else "pass"
            made.append(
                Made(
                    f"{tag}v{version}-{device}-{number}",
                    f"box-{device}",
                    version,
                    86_400 * (number + float(random.random())) / parts,
                    verdict,
                    latency_ms=float(latencies[number]),
                    confidence=float(random.beta(9, 2)),
                )
            )
    return made


def _why(part: Made, rate: float | None, every: int, number: int) -> str | None:
    if part.verdict in {"fail", "unknown"}:
        return f"verdict {part.verdict}"
    if every and number % every == 0:
        return f"every {every}"
    return f"rate {rate:g}" if rate is not None and share(part.id) < rate else None


def _line(part: Made, said: dict[str, Any], embed_limit: int) -> bytes:
    result = Result.model_validate(
        {
            "id": f"r-{part.id}",
            "request_id": part.id,
            "status": part.status,
            "verdict": part.verdict if part.status == "ok" else "unknown",
            "reason": "made up",
            "scores": {"good": part.confidence} if part.status == "ok" else {},
            "timing_ms": {"total": part.latency_ms},
            "context": {"station": part.station},
        }
    )
    item = Item("auxiliary-outputs", "result", "json", to_json(result), "JSON", "json")
    moment = BEGAN + timedelta(seconds=part.at_s)
    event = Event(part.id, "plant", part.device, part.model, part.version, moment, {"kept": "always", **said})
    entry = compose(event, [item], embed_limit=embed_limit, text_as_base64=part.id.endswith("7"))
    return with_references(entry.body, [f"s3://bucket/{blob.name}" for blob in entry.blobs])


def _told(part: Made, said: dict[str, Any]) -> bytes:
    outcome = Outcome.model_validate(
        {
            "request_id": part.id,
            "trigger": "t",
            "model": part.model,
            "verdict": part.told,
            "origin": "deadline",
            "cause": "deadline",
            "reason": "made up",
        }
    )
    item = Item("auxiliary-outputs", "outcome", "json", to_json(outcome), "JSON", "json")
    moment = BEGAN + timedelta(seconds=part.at_s)
    extra = {"kept": "always", "why": f"the PLC got {part.told} (deadline)", "requestId": part.id, **said}
    event = Event(f"{part.id}-outcome", "plant", part.device, part.model, part.version, moment, extra)
    return compose(event, [item], embed_limit=65_536).body
