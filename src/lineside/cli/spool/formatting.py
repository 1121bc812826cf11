"""What the `lineside spool` commands print, as text and as JSON. Pure but for the clock."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lineside.cli.spool.location import SpoolLocation
from lineside.spool import Batch, Record
from lineside.spool.export import Exported
from lineside.spool.findings import Need, mebibytes, share
from lineside.spool.repair.verify import Report
from lineside.spool.store.values import DeadLetter, DestinationStatus, Status
from lineside.tables import table


def status_text(where: SpoolLocation, status: Status, wanted: Sequence[Need]) -> str:
    """Return the spool's state, a line a fact, a row a destination, and last what needs a person."""
    waiting, size = status.records - status.kept_records, status.bytes - status.kept_bytes
    facts = {
        "spool": f"{where.folder}, {share(status):.0%} of {mebibytes(status.max_bytes)} in use",
        "waiting": f"{waiting:,} records, {mebibytes(size)}{_oldest(status.oldest_ms)}",
        "not batched": f"{status.unsealed:,} records" if status.unsealed else "",
        "only kept": f"{status.kept_records:,} records, {mebibytes(status.kept_bytes)}, delivered to all"
        if status.kept_records
        else "",
        "disk": f"{mebibytes(status.free_bytes)} free",
        "dropped": _counts(status.dropped),
        "quarantined": _counts(status.quarantined),
    }
    lines = "".join(f"{name:<13}{value}\n" for name, value in facts.items() if value)
    if status.destinations:
        heads = ("DESTINATION", "STATE", "SINCE", "WAITING", "OLDEST", "DELIVERED", "DEAD", "DETAIL")
        rows = [_row(each) for each in status.destinations]
        lines += "\n" + table(heads, rows, right=("WAITING", "OLDEST", "DELIVERED", "DEAD"))
    else:
        lines += "\nNo destination is known: the forwarder has not run on this spool yet\n"
    if wanted:
        lines += "\n" + "".join(f"{need.about}: {need.what}\n  do: {need.remedy}\n" for need in wanted)
    return lines


def status_json(where: SpoolLocation, status: Status, wanted: Sequence[Need]) -> str:
    """Return the spool's state as JSON."""
    return _json(
        {"ok": not wanted, "folder": str(where.folder), **asdict(status), "needs": [asdict(need) for need in wanted]}
    )


def letters_text(letters: Sequence[DeadLetter]) -> str:
    """Return dead letters as a table."""
    if not letters:
        return "no dead letters\n"
    heads = ("DESTINATION", "BATCH", "MODEL", "RECORDS", "SIZE", "SINCE", "FIRST RECORD", "REASON")
    rows = [
        [
            letter.destination,
            str(letter.batch.number),
            letter.batch.stream,
            str(len(letter.batch.numbers)),
            mebibytes(letter.batch.size),
            _ago(letter.since_ms),
            letter.batch.name,
            letter.reason,
        ]
        for letter in letters
    ]
    return table(heads, rows, right=("BATCH", "RECORDS", "SIZE"))


def letters_json(letters: Sequence[DeadLetter]) -> str:
    """Return dead letters as JSON."""
    return _json(
        [
            {
                "destination": letter.destination,
                "batch": letter.batch.number,
                **_batch(letter.batch),
                "since_ms": letter.since_ms,
                "reason": letter.reason,
            }
            for letter in letters
        ]
    )


def records_text(records: Sequence[Record], total: int) -> str:
    """Return records that wait as a table, and how many more there are."""
    if not records:
        return "nothing waits\n"
    heads = ("NUMBER", "ID", "MODEL", "KEPT", "AGE", "SIZE", "OBJECTS")
    rows = [
        [
            str(record.number),
            record.key,
            record.stream,
            record.kept,
            _ago(record.created_ms),
            mebibytes(record.size),
            str(len(record.blobs)),
        ]
        for record in records
    ]
    more = total - len(records)
    return table(heads, rows, right=("NUMBER", "SIZE", "OBJECTS")) + (f"and {more:,} more\n" if more > 0 else "")


def records_json(records: Sequence[Record]) -> str:
    """Return records that wait as JSON, without their bodies."""
    names = ("number", "key", "stream", "folder", "kept", "producer", "sequence", "created_ms", "size")
    return _json(
        [
            {**{name: getattr(record, name) for name in names}, "blobs": [blob.name for blob in record.blobs]}
            for record in records
        ]
    )


def export_text(done: Exported, to: Path) -> str:
    """Return what an export wrote."""
    before = f"; {done.before:,} were there already" if done.before else ""
    text = (
        f"{done.records:,} records in {done.files:,} files and {done.blobs:,} objects, "
        f"{mebibytes(done.bytes)}, written to {to}{before}\n"
    )
    if done.damaged:
        text += f"{done.damaged} damaged objects were left out, and their records say so\n"
    return text


def export_json(done: Exported) -> str:
    """Return what an export wrote as JSON."""
    return _json(asdict(done))


def verify_text(report: Report) -> str:
    """Return what reading everything found, a line a problem."""
    counts = f"{report.records:,} records, {report.blobs:,} objects, {report.batches:,} batches"
    left = f"; {report.leftovers} leftovers of puts that were cut off, which the next start removes"
    text = f"read {counts}, {mebibytes(report.bytes)}{left if report.leftovers else ''}\n"
    if report.is_well:
        return f"{text}all of it is as it was written\n"
    problems = [[problem.about, problem.which, problem.what] for problem in report.problems]
    more = report.found - len(report.problems)
    text += "\n" + table(("WHAT", "WHICH", "PROBLEM"), problems) + (f"and {more:,} more\n" if more else "")
    return f"{text}\n{report.found} problems\n  do: {report.remedy}\n"


def verify_json(report: Report) -> str:
    """Return what reading everything found as JSON."""
    return _json({"ok": report.is_well, **asdict(report)})


def held_text(held: DestinationStatus, *, is_last: bool) -> str:
    """Return what a destination would have had still."""
    count = f"{held.waiting_records:,} records, {mebibytes(held.waiting_bytes)}"
    then = "it is the last one: they stay" if is_last else "what no other destination waits for is deleted"
    return f"{held.name} has not taken {count}, and refused {held.dead} batches for good; {then}\n"


def _row(each: DestinationStatus) -> list[str]:
    return [
        each.name,
        each.state or "-",
        _ago(each.since_ms) if each.since_ms else "-",
        f"{each.waiting_records:,} ({mebibytes(each.waiting_bytes)})" if each.waiting_records else "0",
        _ago(each.oldest_ms) if each.oldest_ms is not None else "-",
        f"{each.delivered_records:,} ({mebibytes(each.delivered_bytes)})" if each.delivered_records else "0",
        str(each.dead),
        each.detail,
    ]


def _batch(batch: Batch) -> dict[str, Any]:
    return {"model": batch.stream, "folder": batch.folder, "records": list(batch.numbers), "size": batch.size}


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()) if count)


def _oldest(created_ms: int | None) -> str:
    return f", oldest {_ago(created_ms)}" if created_ms is not None else ""


def _ago(instant_ms: int) -> str:
    """Return how long ago an instant is, for people; what a stepped clock puts into the future is now."""
    seconds = max(0, int(time.time() - instant_ms / 1000))
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def _json(document: Any) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
