"""Random steps against a spool and against a simple model of it."""

import itertools
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lineside.spool import Batch, Blob, Entry, Lease, Spool, SpoolSettings
from tests.support.variables import LONG

DESTINATIONS = ("disk", "s3")
STREAMS = ("a", "b")
REFUSALS = 1  # so that dead letters are common


class Steps(RuleBasedStateMachine):
    """The model: what was put, in which batches it is, and what each destination got."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.settings = SpoolSettings(folder=self.folder / "spool", refusals=REFUSALS)
        self.spool = Spool.open(self.settings, producer="test")
        self.spool.register(DESTINATIONS)
        self.keys = itertools.count()
        self.put_keys: list[tuple[str, str]] = []
        self.unsealed: dict[str, list[str]] = {stream: [] for stream in STREAMS}
        self.batches: dict[int, tuple[str, list[str]]] = {}
        self.waiting: dict[str, list[int]] = {name: [] for name in DESTINATIONS}
        self.refusals: dict[tuple[str, int], int] = {}
        self.dead: dict[str, set[int]] = {name: set() for name in DESTINATIONS}
        self.leases: dict[str, dict[str, Lease]] = {name: {} for name in DESTINATIONS}
        self.arrived: dict[str, list[str]] = {name: [] for name in DESTINATIONS}

    def teardown(self) -> None:
        self.spool.close()
        shutil.rmtree(self.folder)

    @rule(stream=st.sampled_from(STREAMS), count=st.integers(1, 4), with_blob=st.booleans())
    def put(self, stream: str, count: int, with_blob: bool) -> None:
        for _ in range(count):
            key = f"{next(self.keys):05}"
            blobs = (Blob("x", key.encode() * 10),) if with_blob else ()
            receipt = self.spool.put(Entry(key, stream, f"f/{stream}/2026/11/22/02", key.encode(), blobs=blobs))
            assert receipt.is_new
            assert receipt.number == len(self.put_keys) + 1
            self.put_keys.append((key, stream))
            self.unsealed[stream].append(key)

    @precondition(lambda self: self.put_keys)
    @rule(data=st.data())
    def put_again(self, data: st.DataObject) -> None:
        key, stream = data.draw(st.sampled_from(self.put_keys))
        assert not self.spool.put(Entry(key, stream, "f", b"other", blobs=(Blob("x", b"other"),))).is_new

    @rule(most=st.integers(1, 3))
    def seal(self, most: int) -> None:
        for run in self.spool.unsealed():
            batch = self.spool.seal(run, most, 1 << 20)
            assert batch is not None
            keys = self.unsealed[batch.stream][: len(batch.numbers)]
            del self.unsealed[batch.stream][: len(batch.numbers)]
            assert batch.name == keys[0]
            assert len(keys) == min(most, len(run.numbers))
            self.batches[batch.number] = (batch.stream, keys)
            for waiting in self.waiting.values():
                waiting.append(batch.number)

    @rule()
    def lease_for_all(self) -> None:
        for name in DESTINATIONS:
            self.lease(name)

    def lease(self, name: str) -> None:
        held = self.leases[name]
        free = [number for number in sorted(self.waiting[name]) if self.batches[number][0] not in held]
        lease = self.spool.lease(name)
        if not free:
            assert lease is None
            return
        assert lease is not None
        assert lease.batch.number == free[0]
        assert lease.refusals == self.refusals.get((name, free[0]), 0)
        self._check(lease.batch)
        held[lease.batch.stream] = lease

    @precondition(lambda self: any(self.leases.values()))
    @rule(data=st.data(), answer=st.sampled_from(["confirm", "release", "refuse"]))
    def answer(self, data: st.DataObject, answer: str) -> None:
        name = data.draw(st.sampled_from([name for name in DESTINATIONS if self.leases[name]]))
        lease = self.leases[name].pop(data.draw(st.sampled_from(sorted(self.leases[name]))))
        number = lease.batch.number
        if answer == "release":
            self.spool.release(lease, "away")
        elif answer == "refuse":
            refusals = self.refusals[name, number] = self.refusals.get((name, number), 0) + 1
            assert self.spool.refuse(lease, "no") is (refusals == REFUSALS)
            if refusals == REFUSALS:
                self.waiting[name].remove(number)
                self.dead[name].add(number)
        else:
            self.spool.confirm(lease)
            self.waiting[name].remove(number)
            self.arrived[name] += self.batches[number][1]

    @rule(name=st.sampled_from(DESTINATIONS))
    def retry(self, name: str) -> None:
        assert self.spool.retry(name) == len(self.dead[name])
        for number in self.dead[name]:
            self.refusals[name, number] = 0
            self.waiting[name].append(number)
        self.dead[name] = set()

    @rule()
    def reopen(self) -> None:
        self.spool.close()
        self.spool = Spool.open(self.settings, producer="test")
        assert self.spool.register(DESTINATIONS) == []
        self.leases = {name: {} for name in DESTINATIONS}

    @rule()
    def sweep(self) -> None:
        assert self.spool.sweep().dropped == {}

    @invariant()
    def the_status_is_the_models(self) -> None:
        status = self.spool.status()
        there = self._there()
        unsealed = sum(len(keys) for keys in self.unsealed.values())
        assert (status.records, status.unsealed) == (len(there), unsealed)
        for found in status.destinations:
            waiting = sum(len(self.batches[number][1]) for number in self.waiting[found.name])
            assert found.waiting_records == waiting + unsealed
            assert found.delivered_records == len(self.arrived[found.name])
            assert found.dead == len(self.dead[found.name])
        assert [letter.batch.number for letter in self.spool.dead_letters("s3")] == sorted(self.dead["s3"])

    @invariant()
    def what_is_there_is_there(self) -> None:
        records = list(self.spool.iterate())
        assert [record.key for record in records] == self._there()
        files = {path.relative_to(self.spool.folder).as_posix() for path in self.spool.folder.glob("blobs/??/*")}
        assert files == {blob.file for record in records for blob in record.blobs}

    @invariant()
    def every_key_is_known(self) -> None:
        there = set(self._there())
        dead = {key for numbers in self.dead.values() for number in numbers for key in self.batches[number][1]}
        for key, _stream in self.put_keys[-10:]:
            expected = "dead" if key in dead else "waiting" if key in there else "delivered"
            assert self.spool.find(key) == expected

    def _there(self) -> list[str]:
        """Return the keys that some destination has not got, in the order in which they were put."""
        done = set(self.arrived["disk"]) & set(self.arrived["s3"])
        return [key for key, _stream in self.put_keys if key not in done]

    def _check(self, batch: Batch) -> None:
        stream, keys = self.batches[batch.number]
        records = self.spool.read(batch)
        assert [(record.key, record.stream, record.body) for record in records] == [
            (key, stream, key.encode()) for key in keys
        ]
        for record in records:
            for blob in record.blobs:
                with self.spool.open_blob(blob) as file:
                    assert file.read() == record.key.encode() * 10


Steps.TestCase.settings = settings(
    max_examples=300 if LONG else 30, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
)
TestSteps = Steps.TestCase
