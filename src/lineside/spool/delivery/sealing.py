"""Groups records into runs, in the order of their numbers, and seals runs into batches, which never change."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from sqlite3 import Connection

from lineside.spool.store.database import Database, full
from lineside.spool.store.entry import Batch
from lineside.spool.store.values import Run

_CHUNK = 2_000
_FEW = 8
_MARK = "sealed:"

BATCH = "number, name, stream, folder, numbers, size"
"""The columns of a batch, in the order of `batch_of`."""


@dataclass(slots=True)
class _Growing:
    folder: str
    numbers: list[int] = field(default_factory=list)
    size: int = 0


class Sealing:
    """Makes batches of what was put."""

    def __init__(self, records: Database, progress: Database, wall_ms: Callable[[], int]) -> None:
        self._records = records
        self._progress = progress
        self._wall_ms = wall_ms
        self._low = 0

    def start_over(self) -> None:
        """Forget from where on there is something to seal: the files were repaired."""
        self._low = 0

    def unsealed(self, max_records: int) -> list[Run]:
        """Return the first `max_records` records without a batch, as runs, in the order of their first records."""
        with self._progress.reading() as link:
            marks = dict(link.execute("SELECT name, value FROM counters WHERE name GLOB 'sealed*'").fetchall())
        low = max(self._low, marks.get("sealed", 0))
        runs: list[Run] = []
        growing: dict[str, _Growing] = {}
        found = 0
        for number, stream, folder, size in self._from(low):
            if number <= marks.get(_MARK + stream, 0):
                if not found:
                    low = number
                continue
            if found == max_records:
                break
            found += 1
            run = growing.get(stream)
            if run is not None and run.folder != folder:
                runs.append(Run(stream, run.folder, tuple(run.numbers), run.size, closed=True))
                run = None
            if run is None:
                run = growing[stream] = _Growing(folder)
            run.numbers.append(number)
            run.size += size
        self._low = low
        runs += [Run(stream, run.folder, tuple(run.numbers), run.size, closed=False) for stream, run in growing.items()]
        return sorted(runs, key=lambda run: run.numbers[0])

    def seal(self, run: Run, max_records: int, max_bytes: int, *, is_tight: bool = False) -> Batch | None:
        """Make a batch of a run's first records; see Spool.seal. On a full disk few batches are made ahead."""
        with self._progress.writing() as link:
            if (
                is_tight
                and link.execute("SELECT count(*) FROM (SELECT 1 FROM batches LIMIT ?)", (_FEW,)).fetchone()[0] == _FEW
            ):
                raise full(self._progress.path)
            mark = _value(link, _MARK + run.stream)
            going: set[int] = set()
            for (numbers,) in link.execute("SELECT numbers FROM leaving").fetchall():
                going.update(json.loads(numbers))
            wanted = [number for number in run.numbers if number > mark and number not in going][:max_records]
            taken: list[int] = []
            size, bodies, name = 0, 0, ""
            for number, key, record, body in self._there(wanted):
                if taken and bodies + body > max_bytes:
                    break
                name = name or key
                taken.append(number)
                size += record
                bodies += body
            _set(link, "sealed", max(_value(link, "sealed"), self._low))
            if not taken:
                return None
            _set(link, _MARK + run.stream, taken[-1])
            found = link.execute(
                "INSERT INTO batches (name, stream, folder, first, numbers, records, size, sealed_ms) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING number",
                (
                    name,
                    run.stream,
                    run.folder,
                    taken[0],
                    json.dumps(taken, separators=(",", ":")),
                    len(taken),
                    size,
                    self._wall_ms(),
                ),
            ).fetchall()
        return Batch(found[0][0], name, run.stream, run.folder, tuple(taken), size)

    def _from(self, number: int) -> Iterator[tuple[int, str, str, int]]:
        """Yield number, stream, folder and size of the records after one."""
        while True:
            with self._records.reading() as link:
                rows = link.execute(
                    "SELECT number, stream, folder, size FROM records WHERE number > ? ORDER BY number LIMIT ?",
                    (number, _CHUNK),
                ).fetchall()
            yield from rows
            if len(rows) < _CHUNK:
                return
            number = rows[-1][0]

    def _there(self, numbers: list[int]) -> list[tuple[int, str, int, int]]:
        """Return number, key, size and the body's length of those records that are still there."""
        with self._records.reading() as link:
            return link.execute(
                "SELECT number, key, size, length(body) FROM records "
                "WHERE number IN (SELECT value FROM json_each(?)) ORDER BY number",
                (json.dumps(numbers),),
            ).fetchall()


def batch_of(row: tuple[int, str, str, str, str, int]) -> Batch:
    """Return a batch from its columns."""
    number, name, stream, folder, numbers, size = row
    return Batch(number, name, stream, folder, tuple(json.loads(numbers)), size)


def _value(link: Connection, name: str) -> int:
    found = link.execute("SELECT value FROM counters WHERE name = ?", (name,)).fetchone()
    return int(found[0]) if found else 0


def _set(link: Connection, name: str, value: int) -> None:
    link.execute(
        "INSERT INTO counters VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", (name, value)
    )
