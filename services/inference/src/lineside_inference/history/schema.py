"""One file of the history: its tables, its words, and a row of it as a document."""

import json
import sqlite3
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lineside_inference.history.columns import ORIGINS, STAGES, VERDICTS, WORDS, Columns, instant

VERSION = 1
APPLICATION = 0x4C534849
"""`PRAGMA application_id` of a history's file."""

PLAIN = (
    "at",
    "asked_at",
    "judged_at",
    "written_at",
    "late",
    "part_id",
    "verdict",
    "written",
    "judged",
    "origin",
    "reason",
    "write_error",
    "confidence",
    "findings",
    "scores",
    "timings",
    "to_verdict_ms",
    "deadline_ms",
    "evidence",
    "mark",
)
COLUMNS = ("number", "id", *WORDS, *PLAIN)
"""Columns of a row, in the order of the table and of every `SELECT`."""

_SCHEMA = f"""
CREATE TABLE words (id INTEGER PRIMARY KEY, kind INTEGER NOT NULL, text TEXT NOT NULL, UNIQUE (kind, text));
CREATE TABLE parts (number INTEGER PRIMARY KEY, id NOT NULL, {", ".join((*WORDS, *PLAIN))});
CREATE UNIQUE INDEX parts_id ON parts (id);
CREATE INDEX parts_part_id ON parts (part_id) WHERE part_id IS NOT NULL;
CREATE INDEX parts_at ON parts (at);
CREATE TABLE about (day INTEGER NOT NULL, part_filter BLOB);
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION};
"""


def create(link: sqlite3.Connection, day: int) -> None:
    """Make the tables in a new file, which begins on this day since 1970."""
    link.executescript(f"BEGIN IMMEDIATE;{_SCHEMA}INSERT INTO about (day) VALUES ({day:d});COMMIT;")  # noqa: S608 - a number


def key_of(request_id: str) -> bytes | str:
    """Return a request's id as it is stored: a UUID in 16 bytes, any other as its text."""
    try:
        found = uuid.UUID(request_id)
    except ValueError:
        return request_id
    return found.bytes if str(found) == request_id else request_id


def id_of(key: bytes | str) -> str:
    """Return the request's id of a stored one."""
    return str(uuid.UUID(bytes=key)) if isinstance(key, bytes) else key


class Words:
    """The texts that a file has once each, by their numbers; what is asked for and not there yet is added."""

    def __init__(self, link: sqlite3.Connection) -> None:
        self._link = link
        self._ids: dict[tuple[int, str], int] = {}
        self.texts: dict[int, str] = {}
        self.kinds: dict[str, dict[int, str]] = {name: {} for name in WORDS}
        self._last = 0
        self.refresh()

    def refresh(self) -> None:
        """Read what came since the last time."""
        for number, kind, text in self._link.execute(
            "SELECT id, kind, text FROM words WHERE id > ? ORDER BY id", (self._last,)
        ).fetchall():
            self._learn(number, kind, text)

    def number(self, name: str, text: str | None) -> int | None:
        """Return the number of a column's text, writing it where it is new."""
        if text is None:
            return None
        kind = WORDS.index(name)
        known = self._ids.get((kind, text))
        if known is None:
            known = self._link.execute("INSERT INTO words (kind, text) VALUES (?, ?)", (kind, text)).lastrowid or 0
            self._learn(known, kind, text)
        return known

    def _learn(self, number: int, kind: int, text: str) -> None:
        self._ids[kind, text] = number
        self.texts[number] = text
        self.kinds[WORDS[kind]][number] = text
        self._last = max(self._last, number)


def values(columns: Columns, words: Words) -> Columns:
    """Return columns as they are stored, their texts as numbers."""
    return {name: words.number(name, value) if name in WORDS else value for name, value in columns.items()}


def document(row: Iterable[Any], texts: Mapping[int, str]) -> dict[str, Any]:
    """Return a row, all its columns, as people and programs read it."""
    found = dict(zip(COLUMNS, row, strict=True))
    words = {name: texts.get(found[name]) if found[name] is not None else None for name in WORDS}
    model, version, digest = json.loads(words["model"]) if words["model"] else (None, None, None)
    timings = json.loads(found["timings"]) if found["timings"] else []
    is_told = found["mark"] is not None
    request_id = id_of(found["id"])
    return {
        "number": found["number"],
        "request_id": request_id,
        "at": instant(found["at"]),
        "station": words["station"],
        "part_id": found["part_id"],
        "trigger": words["trigger"],
        "verdict": _named(VERDICTS, found["verdict"]),
        "told": is_told,
        "written": _named(VERDICTS, found["written"]),
        "judged": _named(VERDICTS, found["judged"]),
        "origin": _named(ORIGINS, found["origin"]),
        "cause": words["cause"],
        "reason": found["reason"],
        "write_error": found["write_error"],
        "late": bool(found["late"]) if is_told else None,
        "asked_at": instant(found["asked_at"]),
        "judged_at": instant(found["judged_at"]),
        "written_at": instant(found["written_at"]),
        "model": model,
        "version": version,
        "digest": digest,
        "confidence": found["confidence"],
        "labels": json.loads(words["labels"]) if words["labels"] else [],
        "findings": [
            {"label": label, "confidence": confidence} for label, confidence in json.loads(found["findings"] or "[]")
        ],
        "scores": json.loads(found["scores"] or "{}"),
        "thresholds": json.loads(words["thresholds"] or "{}"),
        "timing_ms": {stage: ms for stage, ms in zip(STAGES, timings, strict=False) if ms is not None},
        "trigger_to_verdict_ms": found["to_verdict_ms"],
        "deadline_ms": found["deadline_ms"],
        "evidence_id": request_id if found["evidence"] else None,
    }


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Open a file for reading alone; raises sqlite3.Error where it is none of ours."""
    link = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, check_same_thread=False, timeout=0.5
    )
    try:
        link.execute("PRAGMA query_only = ON")
        link.execute("PRAGMA cache_size = -4096")
        check(link, path)
    except BaseException:
        link.close()
        raise
    return link


def check(link: sqlite3.Connection, path: Path) -> None:
    """Raise sqlite3.DatabaseError where a file is no history of this version."""
    application = link.execute("PRAGMA application_id").fetchone()[0]
    version = link.execute("PRAGMA user_version").fetchone()[0]
    if (application, version) != (APPLICATION, VERSION):
        raise NotAHistory(f"{path.name} is no history of version {VERSION} (it says {application:#x}, {version})")


def check_whole(link: sqlite3.Connection) -> None:
    """Raise sqlite3.DatabaseError where a file is damaged, as far as SQLite's quick check sees it."""
    found = link.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise NotAHistory(f"it fails SQLite's quick_check: {found}")


class NotAHistory(sqlite3.DatabaseError):
    """The file is another program's, or of another version."""


def _named(names: tuple[str, ...], number: int | None) -> str | None:
    return None if number is None else names[number]
