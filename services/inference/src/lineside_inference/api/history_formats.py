"""The history as JSON, JSON lines and CSV. In CSV nothing runs in a spreadsheet, and control characters are shown."""

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

JSON, JSON_LINES, CSV = "application/json", "application/x-ndjson", "text/csv; charset=utf-8; header=present"

_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")  # noqa: RUF001 - what some spreadsheets take for the same
_CONTROLS = {
    code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"  # noqa: PLR2004 - what two digits hold
    for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
}
"""Control characters, as scanners send them, line separators, and what turns the direction of text."""

COLUMNS = (
    "number",
    "request_id",
    "at",
    "station",
    "part_id",
    "trigger",
    "verdict",
    "told",
    "written",
    "judged",
    "origin",
    "cause",
    "reason",
    "write_error",
    "late",
    "asked_at",
    "judged_at",
    "written_at",
    "model",
    "version",
    "digest",
    "confidence",
    "labels",
    "findings",
    "scores",
    "thresholds",
    "timing_ms",
    "trigger_to_verdict_ms",
    "deadline_ms",
    "evidence_id",
)
"""The columns of the CSV: a part's fields, in their order."""


def as_json_lines(parts: Sequence[dict[str, Any]]) -> bytes:
    """Return a JSON object a line."""
    return b"".join(json.dumps(part, separators=(",", ":")).encode() + b"\n" for part in parts)


def as_csv(parts: Sequence[dict[str, Any]]) -> bytes:
    """Return CSV (RFC 4180) with a line of names, in UTF-8; what has parts of its own is JSON in a cell."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows([cell(part[name]) for name in COLUMNS] for part in parts)
    return text.getvalue().encode()


def cell(value: object) -> str | int | float:
    """Return what stands in a cell: of a text that a spreadsheet would take for a formula, the text behind a `'`."""
    if value is None or value in ([], {}):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return value
    if isinstance(value, list | dict):
        if isinstance(value, list) and all(isinstance(one, str) for one in value):
            return cell("; ".join(value))
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).translate(_CONTROLS)
    shown = str(value).translate(_CONTROLS)
    return f"'{shown}" if shown.lstrip(" \u00a0\u3000").startswith(_FORMULA) else shown
