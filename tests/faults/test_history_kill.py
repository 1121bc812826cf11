"""The history agrees with the PLC's own log, part by part, whichever process of the way is killed in between.

What the PLC simulator saw written is the truth; each row of the history is held against it by its request's id.
"""

import os
import shutil
import signal
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from lineside_bench.options import Options
from lineside_bench.peers.broker import BrokerKind
from lineside_bench.processes.ports import HOST
from lineside_bench.reporting.records import PartRecord
from lineside_bench.runner.simulated_line import SimulatedLine
from tests.support.waiting import HANG_S, until
from tests.support.whole_line import judged, parts_coming

pytestmark = pytest.mark.asyncio(loop_scope="module")

MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
STATIONS = 3
USUAL = BrokerKind.mosquitto if MOSQUITTO else BrokerKind.amqtt


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def line() -> AsyncIterator[SimulatedLine]:
    async with SimulatedLine(Options(parts=None, rate=15, broker=USUAL, stations=STATIONS)) as line:
        yield line


async def rows(line: SimulatedLine) -> dict[str, dict[str, Any]]:
    """Return all of the history by the requests' ids; no request is in it twice."""
    found: dict[str, dict[str, Any]] = {}
    cursor: dict[str, int] = {}
    async with httpx.AsyncClient(base_url=f"http://{HOST}:{line.ports['inference']}", timeout=HANG_S) as client:
        while True:
            page = (await client.get("/v1/history", params={"limit": 1000, **cursor})).raise_for_status().json()
            for part in page["parts"]:
                assert part["request_id"] not in found, "a part is in the history twice"
                found[part["request_id"]] = part
            if page["next"] is None:
                return found
            cursor = {"cursor": page["next"]}


def differences(records: list[PartRecord], history: dict[str, dict[str, Any]]) -> list[str]:
    """Return what the history has otherwise than the PLC, or not at all."""
    wrong: list[str] = []
    for record in records:
        for write_back in record.write_backs[:1]:
            row = history.get(write_back.request_id)
            if row is None:
                wrong.append(f"{record.part_id}: missing")
                continue
            seen = (write_back.verdict, write_back.part_id, record.station)
            if (row["written"], row["part_id"], row["station"]) != seen:
                wrong.append(f"{record.part_id}: {seen} in the PLC, {row} in the history")
    return wrong


async def agrees(line: SimulatedLine, records: list[PartRecord]) -> list[str]:
    """Return the differences that remain once the outcomes that are under way have come."""
    found: list[str] = []

    async def none_left() -> bool:
        found[:] = differences(records, await rows(line))
        return not found

    await until(none_left, lambda: f"{len(found)} of {len(records)}: {found[:5]}", despite=httpx.HTTPError)
    return found


async def kill(line: SimulatedLine, name: str) -> None:
    restarts, pid = line.processes[name].restarts, line.processes[name].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await until(lambda: line.processes[name].restarts > restarts, f"{name} started again")
    await line.processes[name].until_ready(HANG_S)


@pytest.mark.parametrize("name", ["inference", "topic-bridge"])
async def test_every_part_is_in_the_history_as_the_plc_has_it_under_kills(line: SimulatedLine, name: str) -> None:
    fed = len(line.records)
    async with parts_coming(line, 15):
        for _ in range(3):
            await kill(line, name)
            await judged(line, 15)
    records = [record for record in list(line.records)[fed:] if record.write_backs]
    assert len(records) > 50
    assert await agrees(line, records) == []


async def test_a_killed_opcua_bridge_leaves_a_part_without_its_outcome_at_most_and_none_with_a_wrong_one(
    line: SimulatedLine,
) -> None:
    """What was written and not yet told dies with it: of such a part the history has what was judged, and says so."""
    fed = len(line.records)
    async with parts_coming(line, 15):
        for _ in range(2):
            await kill(line, "opcua-bridge")
            await judged(line, 15)
    records = [record for record in list(line.records)[fed:] if record.write_backs]

    async def is_settled() -> bool:
        history = await rows(line)
        untold = {request_id for request_id, row in history.items() if not row["told"]}
        wrong = [record for record in records if differences([record], history)]
        return len(wrong) <= 2 * STATIONS and all(r.write_backs[0].request_id in untold for r in wrong)

    await until(is_settled, "the history has every part", despite=httpx.HTTPError)


async def test_the_harness_sees_what_is_missing_and_what_differs(line: SimulatedLine) -> None:
    """Negative control: with a row changed and another taken away, it says so."""
    async with parts_coming(line, 15):
        pass
    records = [record for record in line.records if record.write_backs]
    history = await rows(line)
    changed, gone = (record.write_backs[0].request_id for record in records[:2])
    del history[gone]
    history[changed] = history[changed] | {"written": "nothing"}
    assert len(differences(records, history)) >= 2
