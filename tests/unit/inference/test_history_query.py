"""What the history finds is what plain Python finds in the same parts, whatever is asked and however it is paged."""

from collections import Counter
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineside_inference.history import part_filter
from lineside_inference.history import reader as reading
from lineside_inference.history.query import HistoryQuery, successor
from lineside_inference.history.reader import HistoryReader, OutOfTime
from lineside_inference.history.retention import DAY_MS
from lineside_inference.history.store import Halves, Store
from tests.unit.inference.test_history_store import MIB, NOON_MS, ask, judge, told

STATIONS, PARTS, MODELS = ("s1", "s2"), ("P-1", "P-10", "P-2", "p-1", "零件", "%_", "\x1dP", "P\U0010ffff"), ("a", "b")
LABELS, CAUSES = ("scratch", "dent"), ("ok", "deadline")


def made(folder: Path) -> list[dict[str, Any]]:
    """Write some parts over three days into files of their own; return them as the history answers them."""
    store = Store(folder, max_bytes=64 * MIB, days=90)
    for number in range(240):
        request = ask(PARTS[number % 8], model=MODELS[number % 3 % 2])
        labels = [label for at, label in enumerate(LABELS) if number // 3 % 4 & (1 << at)]
        findings = tuple({"label": label, "confidence": number % 100 / 100} for label in labels)
        model = {"name": request.model, "version": str(number % 5 % 2 + 1)}
        half = judge(request, "fail" if labels else "pass", findings=findings, model=model, scores={"good": 0.25})
        half |= {"station": STATIONS[number % 7 % 2], "at": NOON_MS + number * DAY_MS // 100}
        end = told(request.id, ("pass", "fail", "unknown", None)[number % 11 % 4], cause=CAUSES[number % 9 % 2])
        end |= {"station": half["station"], "part_id": half["part_id"], "at": half["at"]}
        now = NOON_MS + number // 80 * DAY_MS
        store.write(
            [Halves(request.id, half if number % 13 else None, end if number % 5 or number % 13 == 0 else None)], now
        )
    assert store.add_filter()  # of the first of the two older files: the second does without
    store.close()
    reader = HistoryReader(folder, query_s=30)
    parts = reader.page(HistoryQuery(limit=1000)).parts
    reader.close()
    return parts


class Known:
    """A reader, and all that it can read."""

    def __init__(self, folder: Path) -> None:
        self.parts = made(folder)
        self.reader = HistoryReader(folder, query_s=30)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Known:
    found = Known(tmp_path_factory.mktemp("history"))
    assert len(found.parts) == 240
    return found


def matches(part: dict[str, Any], query: HistoryQuery, at: int) -> bool:
    name, wanted = part["part_id"], query.part_id
    is_part = wanted is None or (
        name is not None
        and {"exact": name == wanted, "prefix": name.startswith(wanted), "contains": wanted in name}[query.match]
    )
    confidence = part["confidence"]
    return (
        is_part
        and (query.start is None or at >= query.start)
        and (query.end is None or at < query.end)
        and query.station in {None, part["station"]}
        and (query.label is None or query.label in part["labels"])
        and (not query.verdicts or part["verdict"] in query.verdicts)
        and query.cause in {None, part["cause"]}
        and query.model in {None, part["model"]}
        and query.version in {None, part["version"]}
        and (query.confidence_from is None or (confidence is not None and confidence >= query.confidence_from))
        and (query.confidence_to is None or (confidence is not None and confidence <= query.confidence_to))
    )


def ms(part: dict[str, Any]) -> int:
    return round(datetime.fromisoformat(part["at"]).timestamp() * 1000)


maybe_ms = st.none() | st.integers(NOON_MS - DAY_MS, NOON_MS + 4 * DAY_MS)
fragments = st.sampled_from([*PARTS, "P", "-", "1", "0", "件", "nothing", "\U0010ffff", "%"])
queries = st.builds(
    HistoryQuery,
    start=maybe_ms,
    end=maybe_ms,
    station=st.none() | st.sampled_from((*STATIONS, "s3")),
    part_id=st.none() | fragments,
    match=st.sampled_from(("exact", "prefix", "contains")),
    label=st.none() | st.sampled_from((*LABELS, "burr")),
    verdicts=st.frozensets(st.sampled_from(("pass", "fail", "unknown")), max_size=3),
    cause=st.none() | st.sampled_from((*CAUSES, "late")),
    model=st.none() | st.sampled_from((*MODELS, "c")),
    version=st.none() | st.sampled_from(("1", "2", "9")),
    confidence_from=st.none() | st.floats(0, 1),
    confidence_to=st.none() | st.floats(0, 1),
    limit=st.sampled_from((1, 3, 50, 1000)),
)


@given(query=queries, few=st.sampled_from((0, 5, 5000)), window=st.sampled_from((1, 7, 20_000)))
@settings(max_examples=300, deadline=None)
def test_it_finds_what_plain_python_finds(known: Known, query: HistoryQuery, few: int, window: int) -> None:
    reader = known.reader
    expected = [part for part in known.parts if matches(part, query, ms(part))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "_FEW", few)
        patch.setattr(reading, "_WINDOW", window)
        found: list[dict[str, Any]] = []
        asked, pages = query, 0
        while True:
            page = reader.page(asked)
            found += page.parts
            assert page.complete
            if page.next is None:
                break
            asked, pages = replace(query, before=page.next), pages + 1
            assert pages <= len(known.parts)
        assert found == expected
        causes = reader.counts(query, "cause")
        assert causes.counts == Counter(part["cause"] for part in expected)
        assert causes.parts == len(expected)
        labels = reader.counts(query, "label").counts
        assert labels == Counter(label for part in expected for label in part["labels"])


@given(prefix=st.text(max_size=6), text=st.text(max_size=8))
def test_all_that_begins_so_lies_before_the_successor(prefix: str, text: str) -> None:
    after = successor(prefix)
    begins = text.encode("utf-8", "surrogatepass").startswith(prefix.encode("utf-8", "surrogatepass"))
    key = text.encode("utf-8", "surrogatepass")
    within = key >= prefix.encode("utf-8", "surrogatepass") and (
        after is None or key < after.encode("utf-8", "surrogatepass")
    )
    assert begins == within


def test_a_query_that_runs_out_of_time_goes_on_by_its_cursor(known: Known, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = known.reader
    monkeypatch.setattr(reading, "_WINDOW", 10)
    now = [0.0]
    monkeypatch.setattr(reading.time, "monotonic", lambda: now.__setitem__(0, now[0] + 1.0) or now[0])
    reader._query_s = 5.0
    found: list[dict[str, Any]] = []
    cursor, pages = None, 0
    while True:
        page = reader.page(HistoryQuery(cause="deadline", limit=1000, before=cursor))
        found += page.parts
        pages += not page.complete
        cursor = page.next
        if cursor is None:
            break
    reader._query_s = 30.0
    assert pages > 2
    assert found == [part for part in known.parts if part["cause"] == "deadline"]


def test_one_that_can_see_nothing_in_its_time_says_so(tmp_path: Path) -> None:
    made(tmp_path)
    reader = HistoryReader(tmp_path, query_s=-1)
    with pytest.raises(OutOfTime):
        reader.page(HistoryQuery())
    with pytest.raises(OutOfTime):
        reader.counts(HistoryQuery(), "cause")


def test_an_empty_history_answers(tmp_path: Path) -> None:
    reader = HistoryReader(tmp_path / "none", query_s=1)
    assert reader.page(HistoryQuery()).parts == []
    assert reader.find("r-1") is None


@given(known=st.lists(st.text(max_size=12), max_size=60), other=st.text(max_size=12))
def test_a_filter_of_part_ids_denies_none_that_it_has(known: list[str], other: str) -> None:
    bits = part_filter.make(known, len(known))
    assert all(part_filter.may_have(bits, part_id) for part_id in known)
    assert other in known or not part_filter.may_have(part_filter.make([], 0), other)


def test_a_filter_of_part_ids_spares_most_files() -> None:
    bits = part_filter.make((f"P-{number}" for number in range(2000)), 2000)
    assert sum(part_filter.may_have(bits, f"Q-{number}") for number in range(2000)) < 60
