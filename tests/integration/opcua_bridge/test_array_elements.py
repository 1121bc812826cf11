"""Elements of arrays on servers of four makers: what is read of them, and that a verdict touches no neighbour.

asyncua and python-opcua ignore an IndexRange, node-opcua and open62541 (o6) honour it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from lineside_bench.checkout import find_root
from lineside_bench.plcs.control import PlcProcess
from lineside_bench.plcs.environment import Stack
from lineside_bench.plcs.program import PlcConfig
from lineside_bench.plcs.station import NAMESPACE
from lineside_bench.processes.ports import HOST

PARTS = 4
HELD_S = 0.12
"""For how long the PLC keeps a level, as the agreement has it: longer than from one sample to the next."""
TAGS: dict[str, tuple[str, Any]] = {
    "Line.Present": ("Boolean", [False, False, False]),
    "Line.Ids": ("String", ["", "of another station", ""]),
    "Line.Speed": ("Double", [1.5]),
    "Line.Verdict": ("String", ""),
    "Line.Done": ("Boolean", False),
    "Line.Verdicts": ("String", ["first", "", "last"]),
    "Line.Codes": ("Int16", [11, 12, 13, 14]),
    "Line.Flags": ("Boolean", [True, False, True]),
}
WRITABLE = ["Line.Verdict", "Line.Done", "Line.Verdicts", "Line.Codes", "Line.Flags"]


def tag(name: str, index: int | None = None) -> str:
    node = f"nsu={NAMESPACE};s=Line.{name}"
    return node if index is None else f"index={index};{node}"


SCALARS = {"verdict": tag("Verdict"), "done": tag("Done")}
ELEMENTS = {
    "verdict": tag("Verdicts", 1),
    "code": tag("Codes", 3),
    "codes": {"ok": 1, "default": 99},
    "done": tag("Flags", 1),
}


def trigger(write_back: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": "line",
        "when": {"kind": "edge", "node": tag("Present", 1)},
        "only_if": [{"node": tag("Present", 2), "equals": True}],
        "station": "line",
        "model": "surface-defect",
        "source": {"kind": "camera", "camera": "line"},
        "deadline_ms": 60_000,
        "sample": {"part_id": tag("Ids", 2), "speed": tag("Speed")},
        "write_back": write_back,
    }


@asynccontextmanager
async def plc_on(stack: Stack) -> AsyncIterator[tuple[PlcProcess, Any]]:
    program = PlcProcess(stack, PlcConfig(0, HOST, NAMESPACE, TAGS, WRITABLE, {}), root=find_root())
    async with program:
        yield program, SimpleNamespace(endpoint=program.url)


async def content(program: PlcProcess, name: str) -> Any:
    return (await program.read(f"Line.{name}"))[f"Line.{name}"]


@pytest.mark.parametrize("stack", Stack)
async def test_elements_trigger_and_are_sampled_and_their_neighbours_are_no_parts(
    stack: Stack, line_of: Any, configure: Any, wait_until: Any
) -> None:
    async with plc_on(stack) as (program, where), line_of(configure(where, trigger(SCALARS))) as line:
        await line.ready()

        async def shown(present: list[bool]) -> None:
            await program.write(("Line.Present", present))
            await asyncio.sleep(HELD_S)

        for number in range(PARTS):
            ids = ["", f"other-{number}", f"P-{number}"]
            wanted = number % 3 != 2
            held = line.metric("triggers_total", trigger="line", kind="condition")
            await program.write(
                ("Line.Done", False),
                ("Line.Ids", ids),
                ("Line.Speed", [number + 0.5]),
                ("Line.Present", [False, False, wanted]),
                ("Line.Present", [False, True, wanted]),
            )
            if wanted:
                asked = sum(each % 3 != 2 for each in range(number + 1))
                request = await line.request(asked)
                assert (request.context.part_id, request.context.tags["speed"]) == (f"P-{number}", number + 0.5)
                await shown([True, True, wanted])
                await line.answer(request, "pass")
                await wait_until(lambda: content(program, "Done"))
                await shown([False, True, wanted])
                await program.write(("Line.Done", False))
                await shown([True, True, wanted])
            else:
                await wait_until(
                    lambda seen=held: line.metric("triggers_total", trigger="line", kind="condition") > seen
                )
            await shown([True, False, wanted])
        assert [request.context.part_id for request in line.requests()] == ["P-0", "P-1", "P-3"]
        assert line.metric("source_timestamps_unusable", trigger="line") == 0


@pytest.mark.parametrize("stack", [Stack.node_opcua, Stack.o6])
async def test_a_verdict_is_written_to_its_element_and_to_no_other(
    stack: Stack, line_of: Any, configure: Any, wait_until: Any
) -> None:
    async with plc_on(stack) as (program, where), line_of(configure(where, trigger(ELEMENTS))) as line:
        await line.ready()
        for number, verdict in enumerate(("fail", "pass")):
            await program.write(
                ("Line.Flags", [True, False, True]),
                ("Line.Ids", ["", "", f"P-{number}"]),
                ("Line.Present", [False, True, True]),
            )
            await line.answer(await line.request(number + 1), verdict)

            async def is_done() -> bool:
                return bool((await content(program, "Flags"))[1])

            await wait_until(is_done)
            assert await content(program, "Verdicts") == ["first", verdict, "last"]
            assert await content(program, "Codes") == [11, 12, 13, 1]
            assert await content(program, "Flags") == [True, True, True]
            await program.write(("Line.Present", [False, False, True]))
            await asyncio.sleep(HELD_S)
        assert line.metric("write_failures_total") == 0


@pytest.mark.parametrize("stack", [Stack.asyncua, Stack.python_opcua])
async def test_where_a_write_would_replace_the_array_the_start_is_refused(
    stack: Stack, line_of: Any, configure: Any, wait_until: Any
) -> None:
    async with plc_on(stack) as (program, where), line_of(configure(where, trigger(ELEMENTS)), fails=True) as line:
        await wait_until(lambda: line.service.failed)
        for role, name in (("verdict", "Verdicts"), ("code", "Codes"), ("done", "Flags")):
            assert f"write_back.{role}: node" in line.service.failed
            assert f"Line.{name}': the server ignores which element is asked for" in line.service.failed
            assert await content(program, name) == TAGS[f"Line.{name}"][1]
