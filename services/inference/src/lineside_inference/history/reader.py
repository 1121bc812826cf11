"""Answers what is asked of the history: read-only, newest first, bounded in time, and beside what is written.

What a query did not reach in its time is asked for with the cursor that it returns.
"""

import json
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lineside_inference.history import folder as folders
from lineside_inference.history import part_filter
from lineside_inference.history.columns import VERDICTS
from lineside_inference.history.folder import File
from lineside_inference.history.query import By, Condition, HistoryQuery, conditions, instants, part_ids, where
from lineside_inference.history.schema import COLUMNS, Words, connect_to_read, document, key_of
from lineside_inference.history.store import is_damage

_WINDOW = 20_000
"""Parts that are looked through between two looks at the clock."""
_FEW = 5000
"""Matches of a part id up to which they are sorted; beyond it the parts are looked through in their order."""
_AT_ONCE = 200
_STEPS = 20_000
_GRACE_S = 0.5
_SELECT = f"SELECT {', '.join(COLUMNS)} FROM parts"  # noqa: S608 - constants
_ENDS = (
    "SELECT (SELECT min(number) FROM parts), (SELECT max(number) FROM parts), (SELECT min(at) FROM parts), "
    "(SELECT max(at) FROM parts)"
)
"""One by one, as SQLite looks at the ends of an index."""
_COLUMN_OF: dict[By, str] = {
    "label": "labels",
    "cause": "cause",
    "verdict": "verdict",
    "station": "station",
    "model": "model",
    "version": "model",
    "trigger": "trigger",
}


class OutOfTime(Exception):
    """The time of a query is over."""


@dataclass(frozen=True, slots=True)
class Page:
    """Parts, newest first; `next` is the cursor to go on with, None at the end of the history.

    `complete` is False where the time was over before the page was full. `unreadable` names files that were left out.
    """

    parts: list[dict[str, Any]]
    next: int | None
    complete: bool
    unreadable: list[str]


@dataclass(frozen=True, slots=True)
class Counts:
    """How many parts have each value, most first; `complete` is False where the time was over before all were seen."""

    counts: dict[str, int]
    parts: int
    complete: bool
    unreadable: list[str]


@dataclass(slots=True)
class _Open:
    """A file that is open for reading."""

    link: sqlite3.Connection
    words: Words
    part_filter: bytes | None
    """Of its part ids; None of the newest, to which some are added."""


@dataclass(slots=True)
class _Run:
    """One query while it is answered; `at` is the number before which everything was seen."""

    end: float
    rows: list[dict[str, Any]] = field(default_factory=list)
    counts: "Counter[str]" = field(default_factory=Counter)
    parts: int = 0
    at: int | None = None
    unreadable: list[str] = field(default_factory=list)


class HistoryReader:
    """Reads the files of a folder, one query at a time, in whatever thread; `on_damage` hears of a damaged file."""

    def __init__(self, folder: Path, *, query_s: float, on_damage: Callable[[Path], None] = lambda _path: None) -> None:
        self._folder = folder
        self._query_s = query_s
        self._on_damage = on_damage
        self._open: dict[Path, _Open] = {}
        self._lock = threading.Lock()

    def page(self, query: HistoryQuery) -> Page:
        """Return one page; raises OSError where the folder cannot be read, OutOfTime where nothing could be seen."""
        with self._lock:
            run = _Run(time.monotonic() + self._query_s, at=query.before)
            try:
                self._walk(query, run, lambda file, opened: self._fill(run, file, opened, query))
            except OutOfTime:
                if run.at == query.before and not run.rows:
                    raise
                return Page(run.rows, run.at, complete=False, unreadable=run.unreadable)
            last = run.rows[-1]["number"] if len(run.rows) >= query.limit else None
            return Page(run.rows, last, complete=True, unreadable=run.unreadable)

    def find(self, request_id: str) -> dict[str, Any] | None:
        """Return one part, None where it is not (any more) in the history; raises OSError, OutOfTime."""
        key = key_of(request_id)
        with self._lock:
            run = _Run(time.monotonic() + self._query_s)

            def look(_file: File, opened: _Open) -> bool:
                row = opened.link.execute(f"{_SELECT} WHERE id = ?", (key,)).fetchone()
                opened.words.refresh()
                run.rows += [document(row, opened.words.texts)] if row is not None else []
                return row is not None

            self._walk(HistoryQuery(), run, look)
            return run.rows[0] if run.rows else None

    def counts(self, query: HistoryQuery, by: By) -> Counts:
        """Return how many parts have each label, cause, ...; raises OSError, OutOfTime where nothing was seen."""
        with self._lock:
            run = _Run(time.monotonic() + self._query_s, at=query.before)
            is_complete = True
            try:
                self._walk(query, run, lambda file, opened: self._count(run, file, opened, query, by))
            except OutOfTime:
                if run.at == query.before:
                    raise
                is_complete = False
            ranked = dict(sorted(run.counts.items(), key=lambda item: (-item[1], item[0])))
            return Counts(ranked, run.parts, is_complete, run.unreadable)

    def close(self) -> None:
        """Close the files."""
        with self._lock:
            for path in list(self._open):
                self._shut(path)

    # Files.

    def _walk(self, query: HistoryQuery, run: _Run, work: Callable[[File, _Open], bool]) -> None:
        """Do something with each file that is concerned, newest first, until it returns True.

        What is damaged is left out, and told. Raises OutOfTime.
        """
        found = folders.files(self._folder) if self._folder.is_dir() else []
        for path in set(self._open) - {file.path for file in found}:
            self._shut(path)
        for file in reversed(found):
            if query.before is not None and file.first >= query.before:
                continue
            self._check_time(run)
            try:
                opened = self._opened(file.path)
                with self._bounded(opened.link, run):
                    if work(file, opened):
                        return
            except sqlite3.Error as error:
                self._shut(file.path)
                if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
                    raise OutOfTime from None
                if file.path.exists():  # else it was given up meanwhile
                    run.unreadable.append(f"{file.path.name}: {error}")
                    if is_damage(error):
                        self._on_damage(file.path)
            run.at = file.first

    def _opened(self, path: Path) -> _Open:
        opened = self._open.get(path)
        if opened is None:
            link = connect_to_read(path)
            opened = self._open[path] = _Open(link, Words(link), _filter_of(link))
        elif opened.part_filter is None:
            opened.part_filter = _filter_of(opened.link)
        return opened

    def _shut(self, path: Path) -> None:
        opened = self._open.pop(path, None)
        if opened is not None:
            opened.link.close()

    @contextmanager
    def _bounded(self, link: sqlite3.Connection, run: _Run) -> Iterator[None]:
        """Interrupt what takes much longer than its time: the looks at the clock come between statements alone."""
        hard = run.end + _GRACE_S
        link.set_progress_handler(lambda: time.monotonic() > hard, _STEPS)
        try:
            yield
        finally:
            link.set_progress_handler(None, 0)

    def _check_time(self, run: _Run) -> None:
        if time.monotonic() > run.end:
            raise OutOfTime

    # One file.

    def _bounds(self, opened: _Open, query: HistoryQuery) -> tuple[int, int] | None:
        """Return the first and the last number that can match, None where none can."""
        times, link = instants(query), opened.link
        least, most, earliest, latest = link.execute(_ENDS).fetchone()
        if least is None:
            return None
        is_within = (query.start is None or query.start <= earliest) and (query.end is None or latest < query.end)
        if not is_within:
            if (query.start is not None and latest < query.start) or (query.end is not None and query.end <= earliest):
                return None
            sql, given = where(times)
            least, most = link.execute(f"SELECT min(number), max(number) FROM parts WHERE {sql}", given).fetchone()  # noqa: S608 - constants and question marks
        if least is None:
            return None
        if query.before is not None:
            most = min(most, query.before - 1)
        return (least, most) if least <= most else None

    def _fill(self, run: _Run, file: File, opened: _Open, query: HistoryQuery) -> bool:
        """Add a file's matches to the page, as many as it has place for; return whether it is full."""
        few = self._few(opened, query) if _may_match(opened, query) else []
        if few is not None and not few:
            return False
        opened.words.refresh()
        fixed = conditions(query, opened.words)
        if fixed is None:
            return False
        rest = [*fixed, *instants(query)]
        if few is not None:
            for numbers in _batched(few):
                self._check_time(run)
                marks = ",".join("?" * len(numbers))
                self._add(run, opened, where([(f"number IN ({marks})", numbers)], rest), query)
                run.at = max(file.first, numbers[-1])
                if len(run.rows) >= query.limit:
                    return True
            return False
        bounds = self._bounds(opened, query)
        for low, high in _windows(*bounds) if bounds else ():
            self._check_time(run)
            self._add(run, opened, where([("number BETWEEN ? AND ?", (low, high))], rest, part_ids(query)), query)
            run.at = low
            if len(run.rows) >= query.limit:
                return True
        return False

    def _few(self, opened: _Open, query: HistoryQuery) -> list[int] | None:
        """Return the numbers of a part id's matches, the last first, by its index alone; None where they are many."""
        wanted = part_ids(query)
        if not wanted:
            return None
        before: list[Condition] = [] if query.before is None else [("number < ?", [query.before])]
        sql, given = where(wanted, before)
        found = opened.link.execute(
            f"SELECT number FROM parts INDEXED BY parts_part_id WHERE {sql} LIMIT {_FEW + 1}",  # noqa: S608 - constants
            given,
        ).fetchall()
        return None if len(found) > _FEW else sorted((number for (number,) in found), reverse=True)

    def _add(self, run: _Run, opened: _Open, condition: Condition, query: HistoryQuery) -> None:
        sql, given = condition
        rows = opened.link.execute(
            f"{_SELECT} WHERE {sql} ORDER BY number DESC LIMIT {query.limit - len(run.rows):d}", given
        ).fetchall()
        opened.words.refresh()  # afterwards: a row that was just written may have new ones
        run.rows += [document(row, opened.words.texts) for row in rows]

    def _count(self, run: _Run, file: File, opened: _Open, query: HistoryQuery, by: By) -> bool:
        bounds = self._bounds(opened, query) if _may_match(opened, query) else None
        if bounds is None:
            return False
        opened.words.refresh()
        fixed = conditions(query, opened.words)
        if fixed is None:
            return False
        column = _COLUMN_OF[by]
        for low, high in _windows(*bounds):
            self._check_time(run)
            sql, given = where([("number BETWEEN ? AND ?", (low, high))], fixed, instants(query), part_ids(query))
            found = opened.link.execute(
                f"SELECT {column}, count(*) FROM parts WHERE {sql} GROUP BY {column}",  # noqa: S608 - constants
                given,
            ).fetchall()
            opened.words.refresh()
            for value, count in found:
                run.parts += count
                for name in _names(by, value, opened.words):
                    run.counts[name] += count
            run.at = max(file.first, low)
        return False


def _filter_of(link: sqlite3.Connection) -> bytes | None:
    found: bytes | None = link.execute("SELECT part_filter FROM about").fetchone()[0]
    return found


def _may_match(opened: _Open, query: HistoryQuery) -> bool:
    """Return False where a file surely has no part of this id."""
    if query.part_id is None or query.match != "exact" or opened.part_filter is None:
        return True
    return part_filter.may_have(opened.part_filter, query.part_id)


def _names(by: By, value: int | None, words: Words) -> list[str]:
    """Return what a stored value counts as; a part with several labels counts for each."""
    if value is None:
        return []
    if by == "verdict":
        return [VERDICTS[value]]
    text = words.texts[value]
    if by == "label":
        return list(json.loads(text))
    if by in {"model", "version"}:
        model, version, _digest = json.loads(text)
        return [model if by == "model" else f"{model} {version}"] if version is not None or by == "model" else []
    return [text]


def _windows(low: int, high: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges of numbers to look through, the last first."""
    while high >= low:
        start = max(low, high - _WINDOW + 1)
        yield start, high
        high = start - 1


def _batched(numbers: list[int]) -> Iterator[tuple[int, ...]]:
    for at in range(0, len(numbers), _AT_ONCE):
        yield tuple(numbers[at : at + _AT_ONCE])
