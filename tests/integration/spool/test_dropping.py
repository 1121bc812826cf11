from collections.abc import Callable

import pytest

from lineside.spool import Blob, Spool, SpoolFull
from tests.support.spooling import HOUR_MS, Box, drain, entry, fill, seal_all, take

BODY = b"x" * 100_000
MIB = 1024 * 1024


def test_delivered_and_kept_evidence_makes_room_first(open_spool: Callable[..., Spool]):
    spool = open_spool(max_bytes=MIB, keep_delivered_h=24, when_full="drop-delivered")
    spool.register(["disk"])
    keys = fill(spool, 8, body=BODY)
    seal_all(spool, max_records=2)
    spool.confirm(take(spool, "disk"))
    fill(spool, 3, start=8, body=BODY)
    assert [spool.find(key) for key in keys[:3]] == ["delivered", "delivered", "waiting"]
    status = spool.status()
    assert (status.dropped, status.records, status.kept_records) == ({"delivered": 2}, 9, 0)
    with pytest.raises(SpoolFull):
        fill(spool, 3, start=11, body=BODY, kept="sampled")
    assert spool.status().dropped == {"delivered": 2}


def test_then_the_oldest_sampled_and_never_the_others(open_spool: Callable[..., Spool]):
    spool = open_spool(max_bytes=MIB, when_full="drop-sampled")
    spool.register(["disk"])
    always = fill(spool, 4, "always", body=BODY)
    sampled = fill(spool, 6, "sampled", body=BODY, kept="sampled", blobs=(Blob("x", b"x"),))
    seal_all(spool, max_records=3)
    late = fill(spool, 2, "always", start=4, body=BODY)
    assert [spool.find(key) for key in sampled] == ["dropped"] * 2 + ["waiting"] * 4
    assert spool.status().dropped == {"sampled": 2}
    assert len(list((spool.folder / "blobs").glob("??/*"))) == 4
    seal_all(spool)
    before = spool.status()
    assert before.destinations[0].waiting_records == before.records == 10
    assert before.destinations[0].waiting_bytes == before.bytes
    assert sorted(drain(spool, "disk")) == sorted(always + late + sampled[2:])
    assert spool.status().bytes == 0


def test_what_may_be_on_its_way_is_not_dropped(open_spool: Callable[..., Spool]):
    spool = open_spool(max_bytes=MIB, when_full="drop-sampled")
    spool.register(["disk"])
    keys = fill(spool, 10, body=BODY, kept="sampled")
    seal_all(spool, max_records=5)
    lease = take(spool, "disk")
    fill(spool, 1, start=10, body=BODY)
    assert [spool.find(key) for key in keys[:6]] == ["waiting"] * 5 + ["dropped"]
    spool.release(lease, "away: part of it may have arrived")
    fill(spool, 1, start=11, body=BODY)
    assert len(spool.read(take(spool, "disk").batch)) == 5


def test_where_too_little_may_be_dropped_nothing_is(open_spool: Callable[..., Spool]):
    spool = open_spool(max_bytes=MIB, when_full="drop-sampled")
    fill(spool, 8, "always", body=BODY)
    fill(spool, 2, "sampled", body=BODY, kept="sampled")
    for size in (300_000, 2 * MIB):
        with pytest.raises(SpoolFull):
            spool.put(entry("large", body=b"x" * size))
    assert (spool.status().records, spool.status().dropped) == (10, {})


def test_a_batch_with_none_left_is_nobodys_business(open_spool: Callable[..., Spool]):
    spool = open_spool(max_bytes=MIB, when_full="drop-sampled", refusals=1)
    spool.register(["disk", "s3"])
    fill(spool, 2, body=BODY, kept="sampled")
    late = fill(spool, 1, body=BODY, start=2)
    seal_all(spool, max_records=2)
    spool.refuse(take(spool, "disk"), "no")
    fill(spool, 8, "other", body=BODY)
    spool.put(entry("one", "other", body=BODY))
    assert spool.dead_letters() == []
    lease = take(spool, "s3")
    assert [record.key for record in spool.read(lease.batch)] == late


def test_sampled_evidence_that_is_too_old_is_dropped(open_spool: Callable[..., Spool], box: Box):
    spool = open_spool(max_age_h=10, clock=box.clock())
    always = fill(spool, 2, "always")
    old = fill(spool, 3, "sampled", kept="sampled")
    box.passes(HOUR_MS)
    young = fill(spool, 2, "sampled", start=3, kept="sampled")
    for _ in range(9 * 60):
        assert spool._clock.is_trusted()
        box.passes(60_000)
    assert spool.sweep().dropped == {}
    box.passes(1)
    assert spool.sweep().dropped == {"age": 3}
    assert [spool.find(key) for key in always + old + young] == ["waiting"] * 2 + ["dropped"] * 3 + ["waiting"] * 2
    assert spool.status().dropped == {"age": 3}


def test_a_clock_that_is_set_a_year_ahead_drops_nothing(open_spool: Callable[..., Spool], box: Box):
    spool = open_spool(clock=box.clock())
    fill(spool, 3, kept="sampled")
    box.passes(HOUR_MS)
    assert spool.sweep().dropped == {}
    box.wall += 365 * 24 * HOUR_MS
    assert spool.sweep().dropped == {}
    box.passes(HOUR_MS)
    assert spool.sweep().dropped == {}
    assert spool.status().records == 3


def test_evidence_from_the_future_is_not_old(open_spool: Callable[..., Spool], box: Box):
    spool = open_spool(clock=box.clock())
    box.wall += 1000 * 24 * HOUR_MS
    fill(spool, 1, kept="sampled")
    spool.close()
    box.wall -= 1000 * 24 * HOUR_MS
    again = open_spool(clock=box.clock())
    box.passes(HOUR_MS)
    assert again.sweep().dropped == {}
    assert again.status().records == 1
