"""Observations from evidence: files of records as the forwarder delivers and `lineside spool export` writes them.

Evidence is no fair sample: fails and unknowns are kept always, passes by chance or not at all. But the policy's `rate`
keeps a part by a number that its id alone decides (`lineside.capture.share`), so among all that was kept, the parts
whose number is below the rate are the sample that `rate` alone would have made, whatever their verdict. Those are
taken, and no others; evidence that holds only chosen parts is refused. Each record says what the rate was when its part
came: so a version whose parts all fail, or are all unknown, is judged too, and parts from before there was a rate are
left out.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np

from lineside.capture import share
from lineside.contract import Outcome, Result
from lineside.documents import read_json
from lineside_fleet.gate.observations import SLICES, Cell, Observations, Samples, Window
from lineside_fleet.gate.sources import records
from lineside_fleet.gate.sources.errors import NotObserved
from lineside_fleet.gate.sources.records import Record

MAX_RECORDS: Final = 5_000_000
MAX_LINE: Final = 64 * 1024 * 1024
"""Bytes of a line, which may have an image in it."""
MOST_UNREADABLE: Final = 0.001
"""Share of the records that may be damaged; more, and what is missing may be what matters."""
_OBJECTS = "raw-data/"
_BY_RATE = re.compile(r"rate ([01](?:\.\d+)?(?:e-\d+)?|\d(?:\.\d+)?e-\d+)")


@dataclass(slots=True)
class _Part:
    device: str
    time: datetime
    version: str
    share: float | None = None
    """Of which share of all parts every one was kept when it came; None where nothing says it."""
    result: Result | None = None
    told: Outcome | None = None


@dataclass(slots=True)
class _Read:
    parts: dict[str, _Part] = field(default_factory=dict)
    records: int = 0
    unreadable: list[str] = field(default_factory=list)
    others: set[str] = field(default_factory=set)


def observe(
    paths: Sequence[Path], *, model: str | None = None, version: str | None = None, window: Window | None = None
) -> Observations:
    """Return what files or folders of records show of one model; raises NotObserved.

    `version` and `window` leave out what is of another version, or outside. Where no window is given it is that of the
    records themselves.
    """
    source = ", ".join(map(str, paths))
    read, models = _Read(), set[str]()
    for record in _records(paths, read):
        read.records += 1
        if read.records > MAX_RECORDS:
            raise NotObserved(f"{source}: more than {MAX_RECORDS} records", remedy="choose fewer hours")
        if model is None or record.model == model:
            models.add(record.model)
            _take(read, record)
    if len(models) > 1:
        raise NotObserved(f"{source}: records of models {', '.join(sorted(models))}", remedy="choose one by --model")
    if len(read.unreadable) > MOST_UNREADABLE * max(read.records, 1):
        what = f"{len(read.unreadable)} of {read.records + len(read.unreadable)} records are unreadable"
        raise NotObserved(f"{source}: {what}, the first: {read.unreadable[0]}", remedy="export or copy them again")
    if not read.parts:
        raise NotObserved(f"{source}: no record of a part", remedy="see the path and the model's name")
    asked = {
        key: part
        for key, part in read.parts.items()
        if (version is None or part.version in {version, ""})
        and (window is None or window.start <= part.time <= window.end)
    }
    rate = _rate(asked, read, source) if asked else 0.0
    chosen = {key: part for key, part in asked.items() if share(key) < rate and part.share != 0}
    if not chosen:
        of = f" of version {version}" if version else ""
        there = ", ".join(sorted({part.version for part in read.parts.values()} - {""})) or "none"
        raise NotObserved(
            f"{source}: no record of a part{of} in {len(read.parts)} parts",
            remedy=f"see the version and the window; versions there: {there}",
        )
    window = window or _window([part.time for part in chosen.values()])
    remarks = [f"a fair sample of {rate:.4g} of all parts, by the capture policy's rate"] if rate < 1 else []
    if by_choice := sum(part.share == 0 for part in asked.values()):
        remarks.append(f"{by_choice} parts are left out: when they came, the policy kept no fair share of all")
    remarks += [f"{len(read.unreadable)} records are unreadable: {read.unreadable[0]}"] if read.unreadable else []
    versions = sorted({part.version for part in chosen.values()} - {""})
    return Observations(source, tuple(versions), window, tuple(_cells(chosen, window, rate)), remarks=tuple(remarks))


def _take(read: _Read, record: Record) -> None:
    """Put a record beside what is known of its part; the same one delivered twice changes nothing."""
    part = read.parts.setdefault(record.request_id, _Part(record.device, record.time, record.version))
    if isinstance(record.about, Result):
        part.result, part.time, part.version = record.about, record.time, record.version
    else:
        part.told = record.about
        part.version = part.version or record.version
    said = record.fair_share if record.fair_share is not None else _share_of(record.why)
    part.share = part.share if said is None else said
    if record.why.startswith("every "):
        read.others.add(record.why)


def _share_of(why: str) -> float | None:
    """Return what the reason of a record says of the share, where an older version wrote it; None where nothing."""
    if found := _BY_RATE.fullmatch(why):
        return float(found[1])
    return 1.0 if why == "every 1" else None


def _rate(parts: dict[str, _Part], read: _Read, source: str) -> float:
    """Return the share of which the evidence holds every part; raises NotObserved."""
    shares = [part.share for part in parts.values() if part.share]
    if not shares:
        others = ", ".join(sorted(read.others))
        also = f" or by {others!r}, which is no fair share of fails and passes alike" if others else ""
        raise NotObserved(
            f"{source}: {len(parts)} parts that were chosen for what they are{also}",
            remedy="set the policy's capture rate on both sides for the window, for instance 1.0 to keep every part",
        )
    return min(shares)


def _window(times: Sequence[datetime]) -> Window:
    first, last = min(times), max(times)
    return Window(first, max(last, first + timedelta(seconds=1)))


def _cells(parts: dict[str, _Part], window: Window, rate: float) -> Iterator[Cell]:
    """Yield each device in each slice of time, also where it judged nothing."""
    grouped: dict[tuple[str, int], list[_Part]] = {
        (device, number): [] for device in sorted({part.device for part in parts.values()}) for number in range(SLICES)
    }
    for part in parts.values():
        grouped[part.device, window.slice_of(part.time)].append(part)
    for (device, number), members in grouped.items():
        members.sort(key=lambda part: part.time)
        results = [part.result for part in members if part.result is not None]
        latencies = [r.timing_ms.total for r in results if r.status == "ok" and r.timing_ms.total is not None]
        confidences = [value for r in results if (value := records.confidence(r)) is not None]
        verdicts = [_verdict(part) for part in members]
        yield Cell(
            device,
            number,
            # So that parts an hour are those of the line, not of the sample.
            window.seconds / SLICES * rate,
            parts=len(members),
            errors=sum(r.status != "ok" for r in results),
            unknowns=verdicts.count("unknown"),
            fails=verdicts.count("fail"),
            latency=Samples(np.array(latencies)),
            confidence=Samples(np.array(confidences)),
        )


def _verdict(part: _Part) -> str:
    """Return what the PLC got, where the bridge told; else what was judged. No verdict counts as unknown."""
    if part.told is not None:
        return part.told.verdict or "unknown"
    return part.result.verdict if part.result is not None else "unknown"


def _records(paths: Sequence[Path], read: _Read) -> Iterator[Record]:
    for path in paths:
        files = sorted(path.rglob("*.jsonl")) if path.is_dir() else [path]
        if not files:
            raise NotObserved(f"{path}: no file of records (.jsonl) in it", remedy="name the folder that was exported")
        for file in files:
            yield from _of_file(file, read)


def _of_file(file: Path, read: _Read) -> Iterator[Record]:
    try:
        with file.open("rb") as lines:
            number = 0
            while line := lines.readline(MAX_LINE):
                number += 1
                if len(line) == MAX_LINE:
                    raise NotObserved(f"{file}:{number}: a line of {MAX_LINE} bytes or more", remedy="is it evidence?")
                try:
                    record = records.read(_document(line), lambda reference: _object(reference, file.parent))
                except ValueError as error:
                    read.unreadable.append(f"{file}:{number}: {error}")
                    continue
                if record is not None:
                    yield record
    except OSError as error:
        raise NotObserved(f"{file}: {error.strerror}", remedy="name files of records, or a folder with them") from None


def _document(line: bytes) -> dict[str, object]:
    document = read_json(line)
    if not isinstance(document, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004 - one kind of error for a line
    return document


def _object(reference: str, beside: Path) -> bytes:
    """Return the object that lies beside the file of records, wherever both were copied to."""
    _where, found, name = reference.rpartition(_OBJECTS)
    path = Path(name)
    if not found or path.is_absolute() or ".." in path.parts:
        raise ValueError(f"its object {reference!r:.80} is at no place beside the file")
    try:
        return (beside / _OBJECTS / path).read_bytes()
    except OSError as error:
        raise ValueError(f"its object {reference!r:.80} cannot be read: {error.strerror}") from None
