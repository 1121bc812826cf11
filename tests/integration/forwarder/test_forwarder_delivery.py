"""The forwarder from a real spool to scripted destinations."""

import asyncio
import itertools
import json
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from lineside.connections import State
from lineside.spool import Spool
from lineside_forwarder.destination import BatchUpload
from lineside_forwarder.disk import DiskDestination
from lineside_forwarder.errors import BatchRefused, DestinationAway, ForwarderError, NotAllowed, Throttled
from lineside_forwarder.retry_schedule import FIRST_S, LONGEST_S
from tests.support.forwarding import HOUR, Scripted, Simulated, entry, forwarding, opened
from tests.support.waiting import until


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def spool(folder: Path):
    with opened(folder) as found:
        yield found


def keys(count: int, model: str = "spindle") -> list[str]:
    return [f"{model}-{number}" for number in range(count)]


def fill(spool: Spool, count: int, *models: str) -> None:
    for number in range(count):
        for model in models or ("spindle",):
            spool.put(entry(f"{model}-{number}", model))


def fails_at(*tries: int, error: ForwarderError):
    """Return an answer that raises at the given calls, counted from 0."""
    calls = iter(range(10**9))

    def answer(_upload: BatchUpload) -> None:
        if next(calls) in tries:
            raise error

    return answer


async def test_batches_arrive_in_order_and_leave_the_spool(folder: Path, spool: Spool) -> None:
    destination = Scripted()
    fill(spool, 25)
    async with forwarding(folder, destination) as running:
        await until(lambda: len(destination.captures()) == 25)
        await until(lambda: spool.status().records == 0)
        assert running.links["scripted"].state is State.ONLINE
        spool.put(entry("late"))
        await until(lambda: "late" in destination.captures())
    assert destination.captures() == [*keys(25), "late"]
    assert [len(upload.records) for upload in destination.arrived] == [10, 10, 5, 1]
    assert destination.arrived[0].path == "sme-capture/line/spindle/2026/11/22/02/box.spindle-0.jsonl"
    assert spool.find("spindle-3") == "delivered"


async def test_an_hour_that_is_over_does_not_wait(folder: Path, spool: Spool) -> None:
    destination = Scripted()
    spool.put(entry("a"))
    spool.put(entry("b", time=HOUR + timedelta(hours=1)))
    async with forwarding(folder, destination, push_period_s=3600):
        await until(lambda: destination.captures() == ["a"])
    assert spool.find("b") == "waiting"


async def test_streams_go_side_by_side_each_in_order(folder: Path, spool: Spool) -> None:
    gate = asyncio.Event()
    destination = Scripted()

    def answer(_upload: BatchUpload) -> None:
        if destination.gate is None:
            destination.gate = gate

    destination.answer = answer
    models = [f"model-{number}" for number in range(6)]
    fill(spool, 20, *models)
    async with forwarding(folder, destination, batch_size=5):
        await until(lambda: destination.running == 4)
        gate.set()
        await until(lambda: len(destination.captures()) == 120)
    for model in models:
        assert destination.captures(model) == keys(20, model)
    assert destination.most == 4


async def test_each_destination_has_its_own_progress(folder: Path, spool: Spool) -> None:
    good, bad = Scripted("good"), Scripted("bad", answer=fails_at(*range(100), error=DestinationAway("gone")))
    fill(spool, 25)
    async with forwarding(folder, good, bad) as running:
        await until(lambda: len(good.captures()) == 25)
        await until(lambda: running.links["bad"].state is State.BACKOFF)
        assert spool.status().records == 25
    assert not bad.captures()
    bad.answer = lambda _upload: None
    async with forwarding(folder, good, bad):
        await until(lambda: len(bad.captures()) == 25)
        await until(lambda: spool.status().records == 0)
    assert good.captures() == bad.captures() == keys(25)


async def test_a_batch_that_failed_comes_again_the_same(folder: Path, spool: Spool) -> None:
    destination = Scripted(answer=fails_at(0, 1, error=DestinationAway("reset by peer")))
    fill(spool, 15)
    async with forwarding(folder, destination, clock=Simulated()) as running:
        await until(lambda: len(destination.captures()) == 15)
        assert running.metric("failures_total", destination="scripted", cause="destination-away") == 2
    assert destination.captures() == keys(15)
    first = destination.begun[0]
    assert [upload.jsonl({}) for upload in destination.begun[:3]] == [first.jsonl({})] * 3
    assert {upload.path for upload in destination.begun[:3]} == {first.path}


async def test_one_probe_while_it_is_away_and_seldom(folder: Path, spool: Spool) -> None:
    clock = Simulated()
    destination = Scripted(answer=lambda _upload: raise_(DestinationAway("no route to host")))
    fill(spool, 3, *(f"model-{number}" for number in range(8)))
    async with forwarding(folder, destination, clock=clock, push_period_s=0.01):
        await until(lambda: len(destination.begun) > 1)
        destination.most = 0
        await until(lambda: clock.time > 600)
        assert destination.most == 1
        assert len(destination.begun) < 30
        destination.answer = lambda _upload: None
        await until(lambda: len(destination.captures()) == 24)


def raise_(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(
    ("error", "alarm"),
    [
        (DestinationAway("500 for this one"), None),
        (NotAllowed("403 below this prefix"), "permission"),
        (ZeroDivisionError("oops"), "fault"),
    ],
)
async def test_a_batch_that_always_fails_holds_only_its_own_stream(
    folder: Path, spool: Spool, error: Exception, alarm: str | None
) -> None:
    def answer(upload: BatchUpload) -> None:
        if upload.batch.stream == "bad":
            raise error

    clock = Simulated()
    destination = Scripted(answer=answer, clock=clock)
    fill(spool, 20, "bad", "good")
    # Captured, for showing the tracebacks takes longer than the test.
    with capture_logs():
        async with forwarding(folder, destination, batch_size=1, clock=clock) as running:
            await until(lambda: len(destination.captures()) == 20)
            begun = zip(destination.begun, destination.begun_at, strict=True)
            tries = [at for upload, at in begun if upload.batch.stream == "bad"]
            assert tries
            for number, (earlier, later) in enumerate(itertools.pairwise(tries)):
                least = min(LONGEST_S, FIRST_S * 2**number)
                assert later - earlier > least * 0.999, "it waits twice as long each time"
            if alarm:
                await until(lambda: running.metric("alarm", destination="scripted", reason=alarm) == 1)
            destination.answer = lambda _upload: None
            await until(lambda: len(destination.captures()) == 40)
            if alarm:
                await until(lambda: running.metric("alarm", destination="scripted", reason=alarm) == 0)
    assert destination.captures("bad") == keys(20, "bad")


async def test_patience_that_is_asked_for_is_given(folder: Path, spool: Spool) -> None:
    clock = Simulated()
    destination = Scripted(answer=fails_at(0, error=Throttled("SlowDown", retry_after_s=90)), clock=clock)
    fill(spool, 10)
    async with forwarding(folder, destination, clock=clock):
        await until(destination.captures)
    asked, again = destination.begun_at
    assert again - asked >= 90


async def test_what_is_not_allowed_raises_an_alarm_until_it_is(folder: Path, spool: Spool) -> None:
    clock = Simulated()
    destination = Scripted(answer=lambda _upload: raise_(NotAllowed("NoSuchBucket", reason="no-bucket")), clock=clock)
    fill(spool, 10)
    async with forwarding(folder, destination, clock=clock) as running:
        await until(lambda: len(destination.begun) == 3)
        assert running.metric("alarm", destination="scripted", reason="no-bucket") == 1
        first, second, third = destination.begun_at
        assert second - first >= 60
        assert third - second >= 90
        (shown,) = spool.status().destinations
        assert (shown.state, shown.detail) == ("BACKOFF", "NoSuchBucket")
        destination.answer = lambda _upload: None
        await until(lambda: len(destination.captures()) == 10)
        assert running.metric("alarm", destination="scripted", reason="no-bucket") == 0


async def test_a_batch_that_is_refused_is_set_aside_and_can_be_retried(folder: Path, spool: Spool) -> None:
    def answer(upload: BatchUpload) -> None:
        if upload.batch.name == "spindle-1":
            raise BatchRefused("EntityTooLarge")

    destination = Scripted(answer=answer)
    fill(spool, 4)
    async with forwarding(folder, destination, batch_size=1, clock=Simulated(), refusals=3):
        await until(lambda: len(destination.captures()) == 3)
        assert sum(upload.batch.name == "spindle-1" for upload in destination.begun) == 3
        (letter,) = spool.dead_letters()
        assert letter.reason == "EntityTooLarge"
        assert spool.find("spindle-1") == "dead"
        destination.answer = lambda _upload: None
        assert spool.retry("scripted") == 1
        await until(lambda: len(destination.captures()) == 4)
        await until(lambda: spool.status().records == 0)
    assert destination.captures() == ["spindle-0", "spindle-2", "spindle-3", "spindle-1"]


async def test_what_refuses_every_batch_is_not_blamed_on_the_batches(folder: Path, spool: Spool) -> None:
    def refuses(upload: BatchUpload) -> None:
        raise BatchRefused(f"InvalidRequest, as for {upload.batch.name}")

    destination = Scripted(answer=refuses)
    fill(spool, 6)
    with capture_logs():
        async with forwarding(folder, destination, batch_size=1, clock=Simulated(), refusals=2) as running:
            await until(lambda: len({upload.batch.name for upload in destination.begun}) >= 2)
            await until(lambda: running.metric("alarm", destination="scripted", reason="configuration") == 1)
            await until(lambda: "every batch is refused: InvalidRequest" in running.links["scripted"].detail)
            tries = len(destination.begun)
            await until(lambda: len(destination.begun) >= tries + 6)
            assert spool.dead_letters() == []
            destination.answer = lambda _upload: None
            await until(lambda: len(destination.captures()) == 6)
            await until(lambda: running.metric("alarm", destination="scripted", reason="configuration") == 0)
    assert sorted(destination.captures()) == keys(6)


async def test_two_bad_batches_are_set_aside_while_others_arrive(folder: Path, spool: Spool) -> None:
    def answer(upload: BatchUpload) -> None:
        if upload.batch.stream != "good":
            raise BatchRefused("EntityTooLarge")

    destination = Scripted(answer=answer)
    fill(spool, 1, "bad", "worse")
    fill(spool, 40, "good")
    with capture_logs():
        async with forwarding(folder, destination, batch_size=1, clock=Simulated(), refusals=2) as running:
            await until(lambda: len(spool.dead_letters()) == 2)
            await until(lambda: len(destination.captures()) == 40)
            assert running.metric("alarm", destination="scripted", reason="configuration") in {None, 0}


async def test_a_fault_in_one_destination_does_not_stop_the_other(folder: Path, spool: Spool) -> None:
    good, bad = Scripted("good"), Scripted("bad", answer=lambda _upload: raise_(ZeroDivisionError("oops")))
    fill(spool, 10)
    async with forwarding(folder, good, bad) as running:
        await until(lambda: len(good.captures()) == 10)
        await until(lambda: running.links["bad"].state is State.BACKOFF)
        assert "oops" in running.links["bad"].detail
        assert running.metric("alarm", destination="bad", reason="fault") == 1
        assert not running.task.done()


async def test_quiet_hours_hold_what_they_are_for_and_say_until_when(folder: Path, spool: Spool) -> None:
    clock = Simulated(HOUR.replace(hour=23, minute=20))
    destination = Scripted()
    fill(spool, 10)
    async with forwarding(folder, destination, clock=clock, quiet=["22:00-23:30"]) as running:
        await until(lambda: running.links["scripted"].state is State.PAUSED)
        assert running.links["scripted"].detail == "quiet hours, goes on at 23:30"
        await until(lambda: len(destination.captures()) == 10)
        assert clock.time >= 600
        assert running.links["scripted"].state is State.ONLINE


async def test_with_a_period_it_goes_in_rounds(folder: Path, spool: Spool) -> None:
    clock = Simulated()
    destination = Scripted(clock=clock)
    fill(spool, 25)
    async with forwarding(folder, destination, clock=clock, period_s={"scripted": 100.0}) as running:
        await until(lambda: len(destination.captures()) == 25)
        (supervisor,) = running.forwarder._supervisors
        await until(lambda: supervisor._next_round > clock.time)  # the first round is over
        spool.put(entry("late"))
        await until(lambda: len(destination.captures()) == 26)
    first, _second, third, late = destination.begun_at
    assert first >= 100
    assert late - third >= 100


async def test_what_is_under_way_at_the_stop_is_finished(folder: Path, spool: Spool) -> None:
    destination = Scripted(gate=asyncio.Event())
    fill(spool, 20)
    async with forwarding(folder, destination) as running:
        await until(lambda: destination.running)
        stopping = asyncio.create_task(running.forwarder.drain(20))
        await asyncio.sleep(0)
        destination.gate.set()
        await stopping
    assert destination.captures() == keys(10)
    assert spool.status().records == 10


async def test_what_does_not_end_at_the_stop_goes_back(folder: Path, spool: Spool) -> None:
    destination = Scripted(gate=asyncio.Event())
    fill(spool, 20)
    async with forwarding(folder, destination, drain_s=0.01):
        await until(lambda: destination.running)
    assert not destination.running
    assert not destination.captures()
    destination.gate = None
    async with forwarding(folder, destination):
        await until(lambda: len(destination.captures()) == 20)
    assert destination.captures() == keys(20)


async def test_two_forwarders_at_once_share_the_work(folder: Path, spool: Spool) -> None:
    one, other = Scripted(), Scripted()
    fill(spool, 50, "spindle", "cards")
    async with forwarding(folder, one, batch_size=5), forwarding(folder, other, batch_size=5):
        await until(lambda: spool.status().records == 0)
    found = one.captures() + other.captures()
    assert sorted(found) == sorted(keys(50) + keys(50, "cards"))


async def test_a_destination_that_is_no_longer_named_is_said(folder: Path, spool: Spool) -> None:
    old, new = Scripted("old"), Scripted("new")
    async with forwarding(folder, old) as running:
        await until(lambda: running.spool_link.state is State.ONLINE)
    fill(spool, 10)
    async with forwarding(folder, new) as running:
        await until(lambda: len(new.captures()) == 10)
        assert running.metric("alarm", destination="old", reason="not-configured") == 1
        assert spool.status().records == 10
        spool.forget("old")
        await until(lambda: spool.status().records == 0)
        await until(lambda: running.metric("alarm", destination="old", reason="not-configured") == 0)


async def test_a_spool_that_cannot_be_used_is_tried_until_it_can(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    folder.write_text("in the way")
    destination = Scripted()
    async with forwarding(folder, destination) as running:
        await until(lambda: running.spool_link.attempts > 2)
        assert str(folder) in running.spool_link.detail
        folder.unlink()
        await until(lambda: running.spool_link.state is State.ONLINE)
        with opened(folder) as spool:
            fill(spool, 10)
        await until(lambda: len(destination.captures()) == 10)


async def test_the_figures_are_the_spools(folder: Path, spool: Spool) -> None:
    destination = Scripted(answer=lambda _upload: raise_(DestinationAway("gone")))
    fill(spool, 10)
    async with forwarding(folder, destination) as running:
        await until(lambda: running.metric("waiting_records", destination="scripted") == 10)
        assert running.metric("spool_records") == 10
        assert running.metric("spool_bytes") == spool.status().bytes
        await until(lambda: running.metric("sealed_batches_total") == 1)


async def test_to_a_disk_with_images(folder: Path, spool: Spool, tmp_path: Path) -> None:
    top = tmp_path / "evidence"
    top.mkdir()
    for number in range(12):
        spool.put(entry(f"spindle-{number}", image=bytes([number]) * 10_000))
    async with forwarding(folder, DiskDestination("disk", top)):
        await until(lambda: spool.status().records == 0)
    lines = [json.loads(line) for path in sorted(top.rglob("*.jsonl")) for line in path.read_bytes().splitlines()]
    assert sorted(line["eventMetadata"]["eventId"] for line in lines) == sorted(keys(12))
    for line in lines:
        number = int(line["eventMetadata"]["eventId"].removeprefix("spindle-"))
        assert content(line["deviceFleetInputs"][0]["data-ref"]) == bytes([number]) * 10_000
    assert not list((folder / "blobs").rglob("*.blob"))


def content(address: str) -> bytes:
    return Path(address.removeprefix("file://")).read_bytes()
