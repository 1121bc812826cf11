"""`kill -9` of each process in the middle of a run: every part still gets exactly one verdict, the line recovers.

`unknown` is a verdict. The parts keep coming until, after the restart, the line judges again. Evidence that was
reported as kept is delivered, once.
"""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from lineside_bench.broker import Kind
from lineside_bench.evidence import reported
from lineside_bench.line import Line
from lineside_bench.options import Options

BOUND_S = 60
PROCESSES = ("triton", "broker", "inference", "topic-bridge", "opcua-bridge")
MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
BROKERS = [
    pytest.param(Kind.mosquitto, marks=pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed")),
    Kind.amqtt,
]


async def until(condition: Callable[[], bool], what: str) -> None:
    try:
        async with asyncio.timeout(BOUND_S):
            while not condition():
                await asyncio.sleep(0.02)
    except TimeoutError:
        pytest.fail(f"not within {BOUND_S} s: {what}")


class Feeding:
    """A running line that is fed without end."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self._task = asyncio.create_task(line.run())

    async def stop(self) -> dict:
        """Stop feeding, wait for what is under way, and return what came of all parts."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        return await self.line.summary()


@asynccontextmanager
async def parts_coming(broker: Kind, **options) -> AsyncIterator[Feeding]:
    async with Line(Options(parts=None, rate=15, broker=broker, **options)) as line:
        feeding = Feeding(line)
        try:
            await judged(line, 15)
            yield feeding
        finally:
            await feeding.stop()


async def judged(line: Line, count: int) -> None:
    """Wait until that many more parts got pass or fail."""

    def now() -> int:
        return line.tally.verdicts["pass"] + line.tally.verdicts["fail"]

    start = now()
    await until(lambda: now() >= start + count, f"{count} more parts judged")


def pid_of(line: Line, name: str) -> int:
    pid = line.processes[name].pid
    assert pid is not None
    return pid


def assert_every_part_once(line: Line, summary: dict) -> None:
    assert summary["missing"] == 0, summary["problems"]
    assert summary["duplicates"] == 0, summary["problems"]
    assert summary["wrong_write_backs"] == 0, summary["problems"]
    assert sum(summary["verdicts"].values()) == summary["parts"]
    wrong = [record.part_id for record in line.records if record.verdict in ("pass", "fail") and not record.is_right]
    assert len(wrong) <= 0.03 * summary["parts"], wrong


def assert_no_evidence_lost(summary: dict) -> None:
    evidence = summary["evidence"]
    assert (evidence["lost"], evidence["repeated"]) == (0, 0), summary["problems"]
    assert evidence["delivered"] > 0, evidence


@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.parametrize("broker", BROKERS)
async def test_a_killed_process_costs_no_part_its_verdict(broker: Kind, name: str) -> None:
    await kill_and_go_on(broker, name)


async def test_a_killed_forwarder_costs_no_evidence() -> None:
    await kill_and_go_on(Kind.auto, "forwarder")


async def kill_and_go_on(broker: Kind, name: str) -> None:
    """Kill a process in the middle of a run, wait until the line judges again, and look at all that came of it."""
    async with parts_coming(broker) as feeding:
        line = feeding.line
        os.kill(pid_of(line, name), signal.SIGKILL)
        await until(lambda: line.processes[name].restarts == 1, f"{name} started again")
        await line.processes[name].until_ready(BOUND_S)
        await judged(line, 30)
        summary = await feeding.stop()
    assert_every_part_once(line, summary)
    assert_no_evidence_lost(summary)
    assert summary["restarts"] == {process: int(process == name) for process in line.processes}


@pytest.mark.parametrize("name", ["triton", "inference", "topic-bridge", "broker"])
async def test_a_process_that_hangs_costs_no_part_its_verdict(name: str) -> None:
    async with parts_coming(Kind.auto) as feeding:
        line = feeding.line
        hanging = pid_of(line, name)
        os.kill(hanging, signal.SIGSTOP)
        try:
            unknowns = line.tally.verdicts["unknown"]
            await until(lambda: line.tally.verdicts["unknown"] >= unknowns + 10, "the fail-safe while it hangs")
        finally:
            os.kill(hanging, signal.SIGCONT)
        await judged(line, 30)
        summary = await feeding.stop()
    assert_every_part_once(line, summary)
    assert summary["late"] <= 0.02 * summary["parts"], summary["problems"]


async def test_the_harness_sees_a_part_without_a_verdict() -> None:
    """Negative control: with the opcua-bridge stopped for good, parts are missing and the summary says so."""
    async with parts_coming(Kind.auto, patience_s=1.0) as feeding:
        await feeding.line.processes["opcua-bridge"].stop()
        await until(lambda: feeding.line.tally.missing >= 2, "parts without a verdict")
        summary = await feeding.stop()
    assert summary["missing"] >= 2
    with pytest.raises(AssertionError):
        assert_every_part_once(feeding.line, summary)


async def test_the_harness_sees_evidence_that_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: with the forwarder stopped for good nothing arrives, and the summary says so."""
    monkeypatch.setattr("lineside_bench.line.EVIDENCE_S", 2.0)
    async with parts_coming(Kind.auto) as feeding:
        line = feeding.line
        await line.processes["forwarder"].stop()
        await until(lambda: bool(reported(line.observer.exchanges())), "evidence reported as kept")
        summary = await feeding.stop()
    assert summary["evidence"]["lost"] > 0
    with pytest.raises(AssertionError):
        assert_no_evidence_lost(summary)
