"""The history of the parts against raw JSON lines read by DuckDB, and against DuckDB's own file: size, search, Pareto.

`--parts` parts over 90 days are written as the service writes them, and as JSON lines, a file a day. The same questions
go to both in the same run: `search` finds one part by its id, anywhere; `pareto` counts labels and causes of one shift
of 8 hours. DuckDB gets the day's files alone for the shift. `batch` is how many parts the service's thread commits at
once; processor time counts what the service does for a part on either thread, from its messages on.
"""

import argparse
import contextlib
import math
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
from report import percentiles, write

from lineside.contract import CameraSource, Finding, ModelRef, Outcome, Request, Result, Times, Timing, uuid7
from lineside_inference.dataplane.judged import Judged
from lineside_inference.history.columns import judged_half, told_half
from lineside_inference.history.folder import files
from lineside_inference.history.query import HistoryQuery
from lineside_inference.history.reader import HistoryReader
from lineside_inference.history.schema import id_of
from lineside_inference.history.store import Halves, Store
from lineside_inference.interpret.thresholds import Thresholds

DAYS = 90
DAY_MS = 86_400_000
SHIFT_MS = 8 * 3_600_000
START = datetime(2026, 1, 1, tzinfo=UTC)
BULK, BATCH = 5000, 8
TIMED = 4000
LABELS = ("scratch", "dent", "stain", "burr", "crack")
CAUSES = ("deadline", "camera-stale", "engine-unavailable", "late")
IN_FORCE = Thresholds(dict.fromkeys(LABELS, 0.6), 0.75)
SIZE_GOAL, SEARCH_GOAL_MS, PARETO_GOAL_MS, CPU_GOAL_MS, RATIO_GOAL = 400, 50, 300, 0.3, 5


def messages(number: int, at: datetime) -> tuple[Judged, Outcome]:
    """Return what the service gets for a part."""
    chance = random.Random(number)
    defect = chance.random() < 0.1
    label, confidence = chance.choice(LABELS), round(chance.uniform(0.6, 0.99), 4)
    station = f"station-{number % 4 + 1}"
    request = Request.new(
        model="surface-defect",
        source=CameraSource(camera=station),
        context={"station": station, "part_id": part_id(number)},
        time=Times(received=at),
        deadline_ms=400.0,
    )
    result = Result(
        id=uuid7(),
        request_id=request.id,
        status="ok",
        verdict="fail" if defect else "pass",
        reason=f"{label} {confidence} >= 0.60",
        model=ModelRef(name="surface-defect", version="3", digest="sha256:" + "ab" * 32),
        findings=(Finding(label=label, confidence=confidence),) if defect else (),
        scores={label: confidence if defect else 0.1, "good": round(1 - confidence, 4)},
        timing_ms=Timing(queued=0.41, source=1.93, decode=2.2, infer=3.14, interpret=0.2, total=7.88),
        context=request.context,
    )
    is_unknown = chance.random() < 0.01
    outcome = Outcome(
        request_id=request.id,
        trigger=station,
        model="surface-defect",
        station=station,
        part_id=part_id(number),
        verdict="unknown" if is_unknown else result.verdict,
        origin="deadline" if is_unknown else "judged",
        cause=chance.choice(CAUSES) if is_unknown else "ok",
        reason=result.reason,
        written_at=at + timedelta(milliseconds=40),
        trigger_to_verdict_ms=41.237,
        deadline_ms=400.0,
        time=Times(published=at + timedelta(milliseconds=41)),
    )
    return Judged(request, result), outcome


def part_id(number: int) -> str:
    """Return a part's id, which does not come in the order of the parts."""
    return f"P-{number * 2_654_435_761 % 2**32:010d}-{number:08d}"


class Parts:
    """Parts of the benchmark; made from a few hundred messages, so that making them is not what is measured."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.step_ms = DAYS * DAY_MS / count
        self._templates = [self._halves(*messages(number, START)) for number in range(997)]

    def at(self, number: int) -> int:
        """Return the instant of a part in milliseconds."""
        return round(START.timestamp() * 1000 + number * self.step_ms)

    @staticmethod
    def _halves(judged: Judged, outcome: Outcome) -> tuple[dict[str, Any], dict[str, Any]]:
        return judged_half(judged, IN_FORCE, judged.request.time.received or START), told_half(outcome)

    def halves(self, number: int) -> Halves:
        """Return what is written of a part."""
        judged, told = self._templates[number % len(self._templates)]
        at, name = self.at(number), part_id(number)
        key = id_of(at.to_bytes(6) + b"\x70\x00\x80" + number.to_bytes(7))
        return Halves(
            key,
            judged | {"at": at, "asked_at": at, "judged_at": at + 9, "part_id": name},
            told | {"at": at + 40, "written_at": at + 40, "part_id": name, "mark": number * 40_503 % 2**47},
        )


def fill(parts: Parts, folder: Path, lines: Path) -> dict[str, float]:
    """Write all parts to both; return how much processor time the history took in bulk, and the bytes of a part."""
    store, day, out = Store(folder, max_bytes=1 << 42, days=3650), -1, None
    spent, lines_bytes = 0.0, 0
    lines.mkdir()
    for numbers in batches(parts):
        batch = [parts.halves(number) for number in numbers]
        now = parts.at(numbers[0])
        start = time.process_time()
        store.write(batch, now)
        spent += time.process_time() - start
        if now // DAY_MS != day:
            day = now // DAY_MS
            if out:
                out.close()
            out = (lines / f"{day}.jsonl").open("w", encoding="utf-8")
            print(f"{numbers[0]:>10} parts", file=sys.stderr)
        if out is None:
            raise SystemExit("no parts")
        for part in batch:
            lines_bytes += out.write(line(part))
    if out:
        out.close()
    start = time.process_time()
    while store.add_filter():
        pass
    filters = time.process_time() - start
    store.close()
    used = sum(file.bytes for file in files(folder))
    return {
        "bytes a part": used / parts.count,
        "bytes a JSON line": lines_bytes / parts.count,
        "files": float(len(files(folder))),
        "bulk processor ms a part": spent * 1000 / parts.count,
        "filter processor ms a part": filters * 1000 / parts.count,
    }


def batches(parts: Parts) -> Iterator[range]:
    """Yield the numbers of the parts in large batches, none of which is of two days."""
    first = 0
    while first < parts.count:
        day, last = parts.at(first) // DAY_MS, min(parts.count, first + BULK)
        while parts.at(last - 1) // DAY_MS != day:
            last -= 1
        yield range(first, last)
        first = last


def line(part: Halves) -> str:
    """Return a part as one line of JSON, its labels and cause as they are asked for."""
    judged, told = part.judged or {}, part.told or {}
    labels = judged["labels"] or "[]"
    return (
        f'{{"request_id":"{part.request_id}","at":{told["at"]},"station":"{told["station"]}",'
        f'"part_id":"{told["part_id"]}","trigger":"{told["trigger"]}","verdict":{told["verdict"]},'
        f'"judged":{judged["judged"]},"origin":{told["origin"]},"cause":"{told["cause"]}","late":{told["late"]},'
        f'"asked_at":{judged["asked_at"]},"judged_at":{judged["judged_at"]},"written_at":{told["written_at"]},'
        f'"model":{judged["model"]},"confidence":{judged["confidence"]},"labels":{labels},'
        f'"findings":{judged["findings"] or "[]"},"scores":{judged["scores"]},"thresholds":{judged["thresholds"]},'
        f'"timings":{judged["timings"]},"to_verdict_ms":{told["to_verdict_ms"]},"deadline_ms":{told["deadline_ms"]}}}\n'
    )


def write_cost(folder: Path, count: int) -> dict[str, float]:
    """Return the processor time of a part as the service spends it: from its messages, in the batches of a line."""
    at = datetime.now(UTC)
    given = [messages(number, at) for number in range(count)]
    store = Store(folder, max_bytes=1 << 42, days=3650)
    store.open(round(at.timestamp() * 1000))
    cpu, wall = time.process_time(), time.perf_counter()
    for first in range(0, count, BATCH):
        batch = [
            Halves(judged.request.id, judged_half(judged, IN_FORCE, at), told_half(outcome))
            for judged, outcome in given[first : first + BATCH]
        ]
        store.write(batch, round(at.timestamp() * 1000))
    figures = {
        "processor ms a part": (time.process_time() - cpu) * 1000 / count,
        "wall ms a batch": (time.perf_counter() - wall) * 1000 / (count / BATCH),
    }
    store.close()
    return figures


def duckdb_file(path: Path, lines: Path, parts: Parts, ids: list[str], shift: tuple[int, int]) -> dict[str, float]:
    """Return the same figures of DuckDB's own file, which is filled at once, and of its inserts in a line's batches."""
    link = duckdb.connect(str(path))
    link.execute(f"CREATE TABLE parts AS SELECT * FROM read_json('{lines}/*.jsonl', format='newline_delimited')")  # noqa: S608 - a path of ours
    link.execute("CREATE INDEX by_part ON parts (part_id)")
    link.execute("CHECKPOINT")
    size = path.stat().st_size / parts.count
    search = [
        timed(lambda name=name: link.execute("SELECT * FROM parts WHERE part_id = ?", [name]).fetchall())
        for name in ids
    ]
    pareto = [timed(lambda: duckdb_pareto(link, "parts", shift)) for _ in range(3)]
    row = link.execute("SELECT * FROM parts LIMIT 1").fetchone() or ()
    marks = ", ".join("?" * len(row))
    count = 1000
    cpu = time.process_time()
    for _ in range(count // BATCH):
        link.execute("BEGIN")
        link.executemany(f"INSERT INTO parts VALUES ({marks})", [row] * BATCH)  # noqa: S608 - question marks
        link.execute("COMMIT")
    spent = (time.process_time() - cpu) * 1000 / count
    link.close()
    return {
        "bytes a part": size,
        "search p50 ms": percentiles(search)["p50"],
        "pareto ms": statistics.median(pareto),
        "processor ms a part": spent,
    }


def duckdb_pareto(link: duckdb.DuckDBPyConnection, source: str, shift: tuple[int, int]) -> object:
    """Count labels and causes of a shift."""
    within = f'FROM {source} WHERE "at" >= {shift[0]} AND "at" < {shift[1]}'
    labels = link.execute(
        f"SELECT unnest(labels) AS label, count(*) {within} GROUP BY label ORDER BY 2 DESC"
    ).fetchall()
    causes = link.execute(f"SELECT cause, count(*) {within} GROUP BY cause ORDER BY 2 DESC").fetchall()
    return labels, causes


def timed(work: Callable[[], object]) -> float:
    """Return the milliseconds of some work."""
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1000


@contextlib.contextmanager
def work_folder(given: Path | None) -> Iterator[Path]:
    """Give a folder for all files of the run, which is removed."""
    made = Path(tempfile.mkdtemp(prefix="lineside-history-", dir=given))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def main() -> None:
    """Measure, print, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write figures and ratios there")
    parser.add_argument("--quick", action="store_true", help="200,000 parts, for a first look")
    parser.add_argument("--parts", type=int, help="how many parts (10,000,000)")
    parser.add_argument("--folder", type=Path, help="where the files are made; about 2 KB a part")
    given = parser.parse_args()
    parts = Parts(given.parts or (200_000 if given.quick else 10_000_000))
    random.seed(7)
    ids = [part_id(random.randrange(parts.count)) for _ in range(40)]
    begin = parts.at(parts.count * 2 // 3) // DAY_MS * DAY_MS + 6 * 3_600_000
    shift = (begin, begin + SHIFT_MS)
    with work_folder(given.folder) as work:
        figures: dict[str, Any] = {"parts": parts.count}
        written = fill(parts, work / "history", work / "lines")
        cost = write_cost(work / "cost", min(TIMED, parts.count))
        reader = HistoryReader(work / "history", query_s=60.0)
        first = timed(lambda: reader.page(HistoryQuery(part_id=ids[0])))
        search = [timed(lambda name=name: found(reader, name)) for name in ids]
        prefix = [
            timed(lambda name=name: reader.page(HistoryQuery(part_id=name[:9], match="prefix"))) for name in ids[:10]
        ]
        contains = timed(lambda: reader.page(HistoryQuery(part_id=ids[1][4:], match="contains")))
        asked = HistoryQuery(start=shift[0], end=shift[1])
        pareto = [timed(lambda: (reader.counts(asked, "label"), reader.counts(asked, "cause"))) for _ in range(5)]
        in_shift = reader.counts(asked, "cause").parts
        reader.close()
        link = duckdb.connect()
        every = f"read_json('{work}/lines/*.jsonl', format='newline_delimited')"
        day = f"read_json('{work}/lines/{begin // DAY_MS}.jsonl', format='newline_delimited')"
        raw_search = [
            timed(lambda name=name: link.execute(f"SELECT * FROM {every} WHERE part_id = ?", [name]).fetchall())  # noqa: S608 - a path of ours
            for name in ids[:2]
        ]
        raw_pareto = [timed(lambda: duckdb_pareto(link, day, shift)) for _ in range(3)]
        if our_pareto(work / "history", asked) != raw_counts(link, day, shift):
            raise SystemExit("the two sides count differently")
        link.close()
        other = duckdb_file(work / "duckdb.db", work / "lines", parts, ids, shift)
    ours = {
        "bytes a part": written["bytes a part"],
        "search p50 ms": percentiles(search)["p50"],
        "pareto ms": statistics.median(pareto),
        "processor ms a part": cost["processor ms a part"],
    }
    nothing = float("nan")
    raw = {
        "bytes a part": written["bytes a JSON line"],
        "search p50 ms": statistics.median(raw_search),
        "pareto ms": statistics.median(raw_pareto),
        "processor ms a part": nothing,
    }
    rows = {"history (SQLite)": ours, "JSON lines by DuckDB": raw, "DuckDB's own file": other}
    print(f"{'':<22}" + "".join(f"{name:>22}" for name in ours))
    for name, values in rows.items():
        print(f"{name:<22}" + "".join(f"{values[column]:>22.2f}" for column in ours))
    more = {
        "search p95 ms": percentiles(search)["p95"],
        "search first ms": first,
        "prefix p50 ms": percentiles(prefix)["p50"],
        "contains ms": contains,
        "parts in the shift": float(in_shift),
        **cost,
        **{name: value for name, value in written.items() if name != "bytes a JSON line"},
    }
    for name, value in more.items():
        print(f"{name:<28}{value:>14.3f}")
    goals = {
        f"a part <= {SIZE_GOAL} bytes": ours["bytes a part"] <= SIZE_GOAL,
        f"search <= {SEARCH_GOAL_MS} ms": more["search p95 ms"] <= SEARCH_GOAL_MS,
        f"pareto <= {PARETO_GOAL_MS} ms": ours["pareto ms"] <= PARETO_GOAL_MS,
        f"write <= {CPU_GOAL_MS} ms of processor a part": ours["processor ms a part"] <= CPU_GOAL_MS,
    }
    for goal, is_met in goals.items():
        print(f"{'met   ' if is_met else 'MISSED'} {goal}")
    figures |= {
        "history": {**ours, **more},
        "json_lines": {k: v for k, v in raw.items() if not math.isnan(v)},
        "duckdb": other,
    }
    ratios = {
        "search": raw["search p50 ms"] / ours["search p50 ms"],
        "pareto": raw["pareto ms"] / ours["pareto ms"],
    }
    write(given.json, figures=figures, ratios=ratios)


def found(reader: HistoryReader, name: str) -> None:
    """Find one part, and be sure that it is the one."""
    (part,) = reader.page(HistoryQuery(part_id=name)).parts
    if part["part_id"] != name:
        raise SystemExit(f"{name} was asked for, {part['part_id']} found")


def our_pareto(folder: Path, asked: HistoryQuery) -> dict[str, dict[str, int]]:
    """Return the counts of the history."""
    reader = HistoryReader(folder, query_s=60.0)
    counts = {by: reader.counts(asked, by).counts for by in ("label", "cause")}
    reader.close()
    return counts


def raw_counts(link: duckdb.DuckDBPyConnection, source: str, shift: tuple[int, int]) -> dict[str, dict[str, int]]:
    """Return the counts of the JSON lines."""
    labels, causes = duckdb_pareto(link, source, shift)  # type: ignore[misc]
    return {"label": dict(labels), "cause": dict(causes)}


if __name__ == "__main__":
    main()
