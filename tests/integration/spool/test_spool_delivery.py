import os
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from lineside.spool import Blob, LeaseLost, Spool
from tests.support.spooling import HOUR_MS, Box, drain, entry, fill, seal_all, take
from tests.support.waiting import HANG_S

HOLDER = """
import sys, time
from pathlib import Path
from lineside.spool import Spool, SpoolSettings
with Spool.open(SpoolSettings(folder=Path(sys.argv[1]))) as spool:
    print(spool.lease("disk").batch.number, flush=True)
    sys.stdin.read()
"""


def test_runs_are_of_one_stream_and_folder_in_order(spool: Spool):
    for key, stream, hour in [("1", "a", "01"), ("2", "b", "01"), ("3", "a", "01"), ("4", "a", "02"), ("5", "a", "01")]:
        spool.put(entry(key, stream, hour))
    found = [(run.stream, run.folder[-2:], run.numbers, run.closed) for run in spool.unsealed()]
    assert found == [
        ("a", "01", (1, 3), True),
        ("b", "01", (2,), False),
        ("a", "02", (4,), True),
        ("a", "01", (5,), False),
    ]
    assert [run.numbers for run in spool.unsealed(max_records=2)] == [(1,), (2,)]


def test_a_batch_is_the_first_records_of_its_run_within_both_bounds(spool: Spool):
    fill(spool, 6, body=b"x" * 100)
    (run,) = spool.unsealed()
    first = spool.seal(run, 2, 1 << 20)
    second = spool.seal(run, 10, 250)
    third = spool.seal(run, 10, 1)
    assert first is not None
    assert second is not None
    assert third is not None
    assert (first.numbers, first.name, first.size) == ((1, 2), "model-000000", 200)
    assert (second.numbers, second.name) == ((3, 4), "model-000002")
    assert third.numbers == (5,)
    assert [left.numbers for left in spool.unsealed()] == [(6,)]


def test_two_who_seal_the_same_run_make_no_double(open_spool: Callable[..., Spool]):
    one, two = open_spool(), open_spool()
    fill(one, 4)
    (mine,), (theirs,) = one.unsealed(), two.unsealed()
    first = one.seal(mine, 3, 1 << 20)
    second = two.seal(theirs, 3, 1 << 20)
    assert first is not None
    assert second is not None
    assert (first.numbers, second.numbers) == ((1, 2, 3), (4,))
    assert two.seal(theirs, 3, 1 << 20) is None
    assert one.unsealed() == two.unsealed() == []


def test_a_slow_stream_does_not_hide_what_a_fast_one_adds(spool: Spool):
    spool.put(entry("slow", "slow"))
    fill(spool, 5000 // 50, "fast")
    for run in spool.unsealed():
        if run.stream == "fast":
            spool.seal(run, 1000, 1 << 20)
    fill(spool, 3, "fast", start=1000)
    assert [(run.stream, len(run.numbers)) for run in spool.unsealed()] == [("slow", 1), ("fast", 3)]


def test_batches_of_a_stream_go_in_order_one_at_a_time(spool: Spool):
    spool.register(["disk"])
    keys = fill(spool, 25)
    other = fill(spool, 5, "other")
    seal_all(spool)
    one, two = take(spool, "disk"), take(spool, "disk")
    assert (one.batch.stream, two.batch.stream) == ("model", "other")
    assert spool.lease("disk") is None
    spool.confirm(two)
    assert spool.lease("disk") is None
    spool.release(one, "away")
    again = take(spool, "disk")
    assert again.batch == one.batch
    assert (again.attempts, again.refusals) == (2, 0)
    spool.confirm(again)
    assert drain(spool, "disk") == keys[10:]
    assert all(spool.find(key) == "delivered" for key in keys + other)


def test_only_the_streams_that_are_asked_for(spool: Spool):
    spool.register(["disk"])
    fill(spool, 1, "a")
    fill(spool, 1, "b")
    seal_all(spool)
    assert spool.lease("disk", streams=[]) is None
    lease = spool.lease("disk", streams=["b"])
    assert lease is not None
    assert lease.batch.stream == "b"


def test_what_all_destinations_have_is_deleted_and_not_before(spool: Spool):
    assert spool.register(["disk", "s3"]) == []
    keys = fill(spool, 15, blobs=(Blob("x", b"x" * 4000),))
    seal_all(spool)
    assert drain(spool, "disk") == keys
    status = {found.name: found for found in spool.status().destinations}
    assert (status["disk"].waiting_records, status["disk"].delivered_records) == (0, 15)
    assert (status["s3"].waiting_records, status["s3"].delivered_records) == (15, 0)
    assert status["s3"].waiting_bytes == spool.status().bytes == status["disk"].delivered_bytes
    assert spool.find(keys[0]) == "waiting"
    assert len(list((spool.folder / "blobs").glob("??/*"))) == 15
    lease = take(spool, "s3")
    spool.confirm(lease)
    assert spool.status().records == 5
    assert len(list((spool.folder / "blobs").glob("??/*"))) == 5
    assert drain(spool, "s3") == keys[10:]
    assert (spool.status().records, spool.status().bytes) == (0, 0)
    assert not list((spool.folder / "blobs").glob("??/*"))


def test_a_lease_is_answered_once(spool: Spool):
    spool.register(["disk"])
    fill(spool, 20)
    seal_all(spool)
    lease = take(spool, "disk")
    spool.confirm(lease)
    for answer in (spool.confirm, lambda lost: spool.release(lost, ""), lambda lost: spool.refuse(lost, "")):
        with pytest.raises(LeaseLost, match="Batch 1 is not leased to this process for 'disk'"):
            answer(lease)
    status = spool.status()
    assert (status.records, status.destinations[0].delivered_records) == (10, 10)


def test_another_process_does_not_answer_for_us(open_spool: Callable[..., Spool]):
    one, two = open_spool(), open_spool()
    one.register(["disk"])
    fill(one, 1)
    seal_all(one)
    lease = take(one, "disk")
    assert two.lease("disk") is None
    with pytest.raises(LeaseLost):
        two.confirm(lease)
    one.close()
    theirs = take(two, "disk")
    assert (theirs.batch, theirs.attempts) == (lease.batch, 2)
    two.confirm(theirs)


def test_the_lease_of_a_killed_process_returns(spool: Spool):
    spool.register(["disk"])
    fill(spool, 1)
    seal_all(spool)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(spool.folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"1\n"
        assert spool.lease("disk") is None, "its owner lives"
        os.kill(holder.pid, signal.SIGKILL)
    finally:
        holder.kill()
        holder.communicate(timeout=HANG_S)
    lease = take(spool, "disk")
    assert (lease.batch.numbers, lease.attempts) == ((1,), 2)
    assert len(list((spool.folder / "locks").glob("????????-*.lock"))) == 1


def test_two_forwarders_share_the_streams_without_doubles(open_spool: Callable[..., Spool]):
    one, two = open_spool(), open_spool()
    one.register(["disk"])
    for stream in ("a", "b", "c", "d"):
        fill(one, 12, stream)
    seal_all(one, max_records=3)
    arrived: list[str] = []
    held = []
    while True:
        held = [(spool, lease) for spool in (one, two) if (lease := spool.lease("disk"))]
        if not held:
            break
        assert len({lease.batch.stream for _spool, lease in held}) == len(held)
        for spool, lease in held:
            arrived += [record.key for record in spool.read(lease.batch)]
            spool.confirm(lease)
    assert len(arrived) == len(set(arrived)) == 48
    for stream in ("a", "b", "c", "d"):
        own = [key for key in arrived if key.startswith(stream)]
        assert own == sorted(own)


def test_refused_too_often_is_a_dead_letter_and_the_rest_goes_on(open_spool: Callable[..., Spool]):
    spool = open_spool(refusals=2)
    spool.register(["disk", "s3"])
    keys = fill(spool, 4)
    seal_all(spool, max_records=2)
    drain(spool, "s3")
    assert spool.refuse(take(spool, "disk"), "too large") is False
    lease = take(spool, "disk")
    assert (lease.attempts, lease.refusals) == (2, 1)
    assert spool.refuse(lease, "too large") is True
    assert drain(spool, "disk") == keys[2:]
    (letter,) = spool.dead_letters()
    assert (letter.destination, letter.batch, letter.reason) == ("disk", lease.batch, "too large")
    assert spool.dead_letters("s3") == []
    assert [spool.find(key) for key in keys] == ["dead", "dead", "delivered", "delivered"]
    status = spool.status()
    assert status.records == 2
    assert [(found.dead, found.waiting_records) for found in status.destinations] == [(1, 0), (0, 0)]


def test_a_dead_letter_is_tried_again_when_a_person_says_so(open_spool: Callable[..., Spool]):
    spool = open_spool(refusals=1)
    spool.register(["disk"])
    keys = fill(spool, 6)
    seal_all(spool, max_records=2)
    for _ in range(2):
        assert spool.refuse(take(spool, "disk"), "no")
    assert spool.retry("disk", 99) == 0
    assert spool.retry("s3") == 0
    assert spool.retry("disk", 2) == 1
    assert spool.find(keys[2]) == "waiting"
    assert spool.status().destinations[0].waiting_records == 4
    again = take(spool, "disk")
    assert (again.batch.number, again.attempts, again.refusals) == (2, 1, 0)
    spool.confirm(again)
    assert spool.refuse(take(spool, "disk"), "no")
    assert spool.retry("disk") == 2
    assert drain(spool, "disk") == keys[:2] + keys[4:]
    assert spool.status().records == 0
    assert spool.dead_letters() == []


def test_a_retried_dead_letter_brings_nothing_else_back(open_spool: Callable[..., Spool]):
    spool = open_spool(refusals=1)
    spool.register(["disk", "s3"])  # s3 has nothing yet, so that all batches are still there
    keys = fill(spool, 6)
    seal_all(spool, max_records=2)
    assert spool.refuse(take(spool, "disk"), "no")
    assert drain(spool, "disk") == keys[2:]
    spool.retry("disk")
    assert drain(spool, "disk") == keys[:2]
    assert drain(spool, "s3") == keys
    assert spool.status().records == 0


def test_a_forgotten_destination_holds_nothing_back(spool: Spool):
    spool.register(["disk", "old"])
    fill(spool, 20)
    seal_all(spool)
    held = take(spool, "old")
    drain(spool, "disk")
    assert spool.register(["disk", "new"]) == ["old"]
    drain(spool, "new")
    assert spool.status().records == 20
    spool.forget("old")
    assert (spool.status().records, [found.name for found in spool.status().destinations]) == (0, ["disk", "new"])
    with pytest.raises(LeaseLost):
        spool.confirm(held)


def test_with_no_destination_left_nothing_is_deleted(spool: Spool):
    spool.register(["disk"])
    fill(spool, 20)
    seal_all(spool)
    spool.confirm(take(spool, "disk"))
    spool.forget("disk")
    spool.sweep()
    assert spool.status().records == 10
    spool.register(["other"])
    assert len(drain(spool, "other")) == 10


def test_a_new_destination_gets_all_that_is_there(spool: Spool):
    spool.register(["disk"])
    keys = fill(spool, 20)
    seal_all(spool)
    spool.confirm(take(spool, "disk"))
    spool.register(["disk", "s3"])
    assert drain(spool, "s3") == keys[10:]
    assert drain(spool, "disk") == keys[10:]
    assert spool.status().records == 0


def test_delivered_evidence_stays_as_long_as_it_is_to(open_spool: Callable[..., Spool], box: Box):
    spool = open_spool(keep_delivered_h=2, clock=box.clock())
    spool.register(["disk"])
    keys = fill(spool, 20, blobs=(Blob("x", b"x" * 4000),))
    seal_all(spool)
    spool.confirm(take(spool, "disk"))
    status = spool.status()
    assert (status.records, status.kept_records, status.destinations[0].waiting_records) == (20, 10, 10)
    assert status.kept_bytes == status.destinations[0].delivered_bytes
    assert (spool.find(keys[0]), spool.find(keys[10])) == ("delivered", "waiting")
    assert [record.key for record in spool.iterate()] == keys[10:]
    box.passes(2 * HOUR_MS - 1)
    assert spool.sweep().deleted == 0
    box.passes(1)
    assert spool.sweep().deleted == 10
    assert (spool.status().records, spool.status().kept_records, spool.status().dropped) == (10, 0, {})
    assert spool.find(keys[0]) == "delivered"
    assert len(list((spool.folder / "blobs").glob("??/*"))) == 10


def test_a_new_destination_gets_what_is_only_kept_too(open_spool: Callable[..., Spool]):
    spool = open_spool(keep_delivered_h=2)
    spool.register(["disk"])
    keys = fill(spool, 5)
    seal_all(spool)
    drain(spool, "disk")
    spool.register(["disk", "s3"])
    assert drain(spool, "s3") == keys
    assert spool.status().kept_records == 5
    assert drain(spool, "disk") == []


def test_a_restart_keeps_everything(open_spool: Callable[..., Spool]):
    spool = open_spool(refusals=1)
    spool.register(["disk", "s3"])
    keys = fill(spool, 8)
    seal_all(spool, max_records=2)
    spool.confirm(take(spool, "disk"))
    spool.refuse(take(spool, "disk"), "no")
    leased = take(spool, "disk")
    spool.report("disk", "ONLINE", "fine")
    before = spool.status()
    spool.close()
    again = open_spool(refusals=1)
    assert again.status().destinations == before.destinations
    assert take(again, "disk").batch == leased.batch
    assert drain(again, "s3") == keys
    assert len(again.dead_letters()) == 1


def test_the_state_of_a_destination_is_kept_with_since_when(open_spool: Callable[..., Spool], box: Box):
    spool = open_spool(clock=box.clock())
    spool.register(["s3"])
    spool.report("s3", "BACKOFF", "no route")
    began = box.wall
    box.passes(1000)
    spool.report("s3", "BACKOFF", "timeout")
    spool.report("unknown", "ONLINE", "")
    (found,) = spool.status().destinations
    assert (found.name, found.state, found.detail, found.since_ms) == ("s3", "BACKOFF", "timeout", began)
    spool.report("s3", "ONLINE", "")
    (found,) = spool.status().destinations
    assert (found.state, found.since_ms) == ("ONLINE", began + 1000)


def test_the_age_of_the_oldest(open_spool: Callable[..., Spool], box: Box):
    spool = open_spool(clock=box.clock())
    assert spool.status().oldest_ms is None
    spool.register(["disk", "s3"])
    first = box.wall
    fill(spool, 1)
    box.passes(1000)
    fill(spool, 1, start=1)
    seal_all(spool, max_records=1)
    box.passes(1000)
    fill(spool, 1, start=2)
    spool.confirm(take(spool, "disk"))
    found = spool.status()
    assert [one.oldest_ms for one in found.destinations] == [first + 1000, first]
    assert (found.oldest_ms, found.unsealed) == (first, 1)


def test_a_deletion_that_was_cut_off_is_finished_at_the_next_start(spool: Spool, monkeypatch: pytest.MonkeyPatch):
    spool.register(["disk"])
    fill(spool, 10, blobs=(Blob("x", b"x" * 4000),))
    seal_all(spool)
    lease = take(spool, "disk")
    monkeypatch.setattr(spool._deleting, "carry_out", lambda _decision: 0)  # as if killed here
    spool.confirm(lease)
    assert spool.status().records == 10
    spool.close()
    with Spool.open(spool.settings) as again:
        assert again.status().records == 0
        assert again.unsealed() == []
        assert not list((again.folder / "blobs").glob("??/*"))
        assert again.status().destinations[0].waiting_records == 0
