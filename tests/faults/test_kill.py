"""`kill -9` of each process in the middle of a run: every part still gets exactly one verdict, the line recovers.

`unknown` is a verdict. The parts keep coming until, after the restart, the line judges again. Evidence that was
reported as kept is delivered, once. One line bears all the kills of a broker, one after the other.
"""

import os
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from lineside_bench import config
from lineside_bench.options import Options
from lineside_bench.peers.broker import BrokerKind
from lineside_bench.reporting.evidence import reported
from lineside_bench.reporting.records import PartRecord
from lineside_bench.runner.simulated_line import SimulatedLine
from tests.support.waiting import HANG_S, until
from tests.support.whole_line import judged, parts_coming

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROCESSES = ("triton", "broker", "inference", "topic-bridge", "opcua-bridge")
MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
USUAL = BrokerKind.mosquitto if MOSQUITTO else BrokerKind.amqtt
BROKERS = [USUAL] if USUAL is BrokerKind.amqtt else [USUAL, BrokerKind.amqtt]


@pytest.fixture(scope="module", autouse=True)
def answers_wait_for_the_disk() -> Iterator[None]:
    """So that every answer, on any disk, says of its evidence that it is kept, and the line is held to it."""
    real = config.settings_document

    def patient(*given: Any, **named: Any) -> dict[str, Any]:
        document = real(*given, **named)
        document["inference"]["capture"] = {"wait_ms": 100}
        return document

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(config, "settings_document", patient)
        yield


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def line(request: pytest.FixtureRequest) -> AsyncIterator[SimulatedLine]:
    async with SimulatedLine(Options(parts=None, rate=15, broker=request.param)) as line:
        yield line


def pid_of(line: SimulatedLine, name: str) -> int:
    pid = line.processes[name].pid
    assert pid is not None
    return pid


def restarts(line: SimulatedLine) -> dict[str, int]:
    return {name: process.restarts for name, process in line.processes.items()}


def assert_every_part_once(summary: dict, parts: list[PartRecord]) -> None:
    """Assert it of the whole run, and of the parts since a fault that hardly any was judged wrongly."""
    assert summary["missing"] == 0, summary["problems"]
    assert summary["duplicates"] == 0, summary["problems"]
    assert summary["wrong_write_backs"] == 0, summary["problems"]
    assert sum(summary["verdicts"].values()) == summary["parts"]
    wrong = [record.part_id for record in parts if record.verdict in ("pass", "fail") and not record.is_right]
    assert len(wrong) <= 0.03 * len(parts), wrong


def assert_no_evidence_lost(summary: dict) -> None:
    evidence = summary["evidence"]
    assert (evidence["lost"], evidence["repeated"]) == (0, 0), summary["problems"]
    assert evidence["delivered"] > 0, evidence


@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.parametrize("line", BROKERS, indirect=True)
async def test_a_killed_process_costs_no_part_its_verdict(line: SimulatedLine, name: str) -> None:
    await kill_and_go_on(line, name)


@pytest.mark.parametrize("line", [USUAL], indirect=True)
async def test_a_killed_forwarder_costs_no_evidence(line: SimulatedLine) -> None:
    await kill_and_go_on(line, "forwarder")


async def kill_and_go_on(line: SimulatedLine, name: str) -> None:
    """Kill a process in the middle of a run, wait until the line judges again, and look at all that came of it."""
    fed, before, delivered = len(line.records), restarts(line), len(line.files.events)
    async with parts_coming(line, 15):
        os.kill(pid_of(line, name), signal.SIGKILL)
        await until(lambda: line.processes[name].restarts > before[name], f"{name} started again")
        await line.processes[name].until_ready(HANG_S)
        await judged(line, 30)
    summary = await line.summary()
    assert_every_part_once(summary, list(line.records)[fed:])
    assert_no_evidence_lost(summary)
    assert summary["evidence"]["delivered"] > delivered
    assert restarts(line) == before | {name: before[name] + 1}


@pytest.mark.parametrize("name", ["triton", "inference", "topic-bridge", "broker"])
@pytest.mark.parametrize("line", [USUAL], indirect=True)
async def test_a_process_that_hangs_costs_no_part_its_verdict(line: SimulatedLine, name: str) -> None:
    fed = len(line.records)
    async with parts_coming(line, 15):
        hanging = pid_of(line, name)
        os.kill(hanging, signal.SIGSTOP)
        try:
            unknowns = line.tally.verdicts["unknown"]
            await until(lambda: line.tally.verdicts["unknown"] >= unknowns + 10, "the fail-safe while it hangs")
        finally:
            os.kill(hanging, signal.SIGCONT)
        await judged(line, 30)
    # The fail-safe came while the process hung: that is what was waited for above. By how much a part may be late is no
    # question for a busy machine; `lineside bench` counts it.
    assert_every_part_once(await line.summary(), list(line.records)[fed:])


async def test_the_harness_sees_lost_evidence_and_a_part_without_a_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: with the forwarder and then the opcua-bridge stopped for good, the summary says so."""
    monkeypatch.setattr("lineside_bench.reporting.evidence.LONGEST_S", 2.0)
    async with SimulatedLine(Options(parts=None, rate=15, broker=USUAL, patience_s=1.0)) as line:
        async with parts_coming(line, 15):
            await line.processes["forwarder"].stop()
            await until(lambda: bool(reported(line.observer.exchanges())), "evidence reported as kept")
            await line.processes["opcua-bridge"].stop()
            await until(lambda: line.tally.missing >= 2, "parts without a verdict")
        summary = await line.summary()
    assert summary["missing"] >= 2
    with pytest.raises(AssertionError):
        assert_every_part_once(summary, list(line.records))
    assert summary["evidence"]["lost"] > 0
    with pytest.raises(AssertionError):
        assert_no_evidence_lost(summary)
