"""What is asked of the history, and how one file answers it: conditions of SQL, or that it has no such part."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lineside_inference.history.columns import VERDICTS
from lineside_inference.history.schema import Words

Match = Literal["exact", "prefix", "contains"]
By = Literal["label", "cause", "verdict", "station", "model", "version", "trigger"]
_MAX_CODE_POINT = 0x10FFFF
_SURROGATES = range(0xD800, 0xE000)

Condition = tuple[str, Sequence[Any]]
"""SQL, and what its question marks stand for."""


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """Filters, each absent where it is None; instants are milliseconds since 1970, `start` within and `end` without."""

    start: int | None = None
    end: int | None = None
    station: str | None = None
    part_id: str | None = None
    match: Match = "exact"
    label: str | None = None
    verdicts: frozenset[str] = frozenset()
    cause: str | None = None
    model: str | None = None
    version: str | None = None
    confidence_from: float | None = None
    confidence_to: float | None = None
    before: int | None = None
    """Only parts that came before the one of this number."""
    limit: int = 100


def conditions(query: HistoryQuery, words: Words) -> list[Condition] | None:
    """Return what a row must fulfil but for its instant and part id; None where no part of this file can."""
    found: list[Condition] = []
    if query.verdicts:
        numbers = sorted(VERDICTS.index(name) for name in query.verdicts)
        found.append((f"verdict IN ({_marks(numbers)})", numbers))
    for column, is_wanted in _of_words(query):
        numbers = [number for number, text in words.kinds[column].items() if is_wanted(text)]
        if not numbers:
            return None
        found.append((f"{column} IN ({_marks(numbers)})", numbers))
    if query.confidence_from is not None:
        found.append(("confidence >= ?", [query.confidence_from]))
    if query.confidence_to is not None:
        found.append(("confidence <= ?", [query.confidence_to]))
    return found


def _of_words(query: HistoryQuery) -> list[tuple[str, Callable[[str], bool]]]:
    """Return columns of words, each with what its text must be."""
    wanted: list[tuple[str, Callable[[str], bool]]] = []
    if query.station is not None:
        wanted.append(("station", lambda text: text == query.station))
    if query.cause is not None:
        wanted.append(("cause", lambda text: text == query.cause))
    if query.label is not None:
        wanted.append(("labels", lambda text: query.label in json.loads(text)))
    if query.model is not None or query.version is not None:
        wanted.append(("model", lambda text: _is_model(text, query.model, query.version)))
    return wanted


def _is_model(text: str, model: str | None, version: str | None) -> bool:
    name, number, _digest = json.loads(text)
    return model in {None, name} and version in {None, number}


def instants(query: HistoryQuery) -> list[Condition]:
    """Return what a row's instant must fulfil."""
    found: list[Condition] = []
    if query.start is not None:
        found.append(("at >= ?", [query.start]))
    if query.end is not None:
        found.append(("at < ?", [query.end]))
    return found


def part_ids(query: HistoryQuery) -> list[Condition]:
    """Return what a row's part id must fulfil, character by character as it was scanned, in any alphabet."""
    wanted = query.part_id
    if wanted is None:
        return []
    known: Condition = ("part_id IS NOT NULL", [])
    if query.match == "exact":
        return [("part_id = ?", [wanted])]
    if query.match == "contains":
        return [known, ("instr(part_id, ?) > 0", [wanted])]
    after = successor(wanted)
    return [known, ("part_id >= ?", [wanted]), *([("part_id < ?", [after])] if after is not None else [])]


def successor(prefix: str) -> str | None:
    """Return the smallest text that is greater than all that begin so, None where there is none."""
    for end in range(len(prefix), 0, -1):
        code = ord(prefix[end - 1])
        if code < _MAX_CODE_POINT:
            after = code + 1
            return prefix[: end - 1] + chr(_SURROGATES.stop if after in _SURROGATES else after)
    return None


def where(*groups: Sequence[Condition]) -> Condition:
    """Return conditions as one, without `WHERE`."""
    every = [condition for group in groups for condition in group]
    return " AND ".join(sql for sql, _ in every) or "1", [value for _, values in every for value in values]


def _marks(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))
