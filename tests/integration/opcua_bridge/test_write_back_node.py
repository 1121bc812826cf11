"""Triggers and write-back against a server that is not asyncua: node-opcua, in a process of its own."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from lineside_opcua_bridge.settings import Settings
from tests.support.waiting import HANG_S, until

STATION = "/Objects/Line/Station1"
TAGS = "nsu=urn:lineside:node;s=Station1"


class Node:
    """The server's process, told what to do line by line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.port = 0

    async def say(self, **command: Any) -> Any:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        return (await self.hear())["ok"]

    async def hear(self) -> dict[str, Any]:
        assert self._process.stdout
        async with asyncio.timeout(HANG_S):
            while line := await self._process.stdout.readline():
                if line.startswith(b"{"):
                    heard: dict[str, Any] = json.loads(line)
                    return heard
        raise AssertionError("the server ended")

    async def get(self, tag: str) -> Any:
        return await self.say(get=f"Station1.{tag}")

    async def set(self, **tags: Any) -> None:
        await self.say(set={f"Station1.{tag}": value for tag, value in tags.items()})

    async def is_done_low(self) -> bool:
        return not await self.get("Done")

    async def until_done(self) -> None:
        await until(lambda: self.get("Done"))


@asynccontextmanager
async def started(folder: Path) -> AsyncIterator[Node]:
    process = await asyncio.create_subprocess_exec(
        "node",
        "server.mjs",
        '{"port": 0, "namespaces": ["urn:before"]}',
        cwd=folder,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    node = Node(process)
    try:
        node.port = (await node.hear())["port"]
        yield node
    finally:
        process.kill()
        await process.wait()


def settings_for(node: Node, **trigger: Any) -> Settings:
    made = {
        "name": "t",
        "when": {"kind": "edge", "node": f"{STATION}/PartPresent"},
        "station": "s",
        "model": "m",
        "source": {"kind": "camera", "camera": "c"},
        "deadline_ms": 20_000,
        "debounce_ms": 0,
        "sample": {"part_id": f"{STATION}/PartId", "speed": f"{TAGS}.Speed"},
        "write_back": {
            "verdict": f"{TAGS}.Verdict",
            "code": f"{STATION}/Code",
            "codes": {"ok": 1, "default": 9},
            "confidence": f"{TAGS}.Confidence",
            "findings": f"{TAGS}.Findings",
            "request_id": f"{TAGS}.RequestId",
            "done": f"{TAGS}.Done",
        },
    } | trigger
    section = {
        "endpoint": f"opc.tcp://127.0.0.1:{node.port}",
        "security": {"policy": "none"},
        "publishing_interval_ms": 10,
        "http": {"port": 8082, "drain_s": 0.5},
        "triggers": [made],
    }
    return Settings.model_validate({"opcua_bridge": section})


@pytest.mark.parametrize("clear_done", ["plc", "bridge"])
async def test_a_part_gets_its_verdict_from_another_stack(
    node_opcua: Path, line_of: Any, wait_until: Any, clear_done: str
) -> None:
    async with started(node_opcua) as node:
        made = settings_for(node).opcua_bridge.triggers[0].write_back
        assert made
        written = made.model_dump() | {"clear_done": clear_done}
        async with line_of(settings_for(node, write_back=written)) as line:
            await wait_until(lambda: line.service.is_ready, within=30)
            # This server samples every 50 ms: only a handshake tells when it has seen the trigger low.
            for number in (1, 2) if clear_done == "bridge" else (1,):
                await node.set(PartId=f"P-{number}", Verdict="", Done=False)
                await node.set(PartPresent=True)
                request = await line.request(number)
                assert (request.context.part_id, request.context.tags) == (f"P-{number}", {"speed": 1200.5})
                await line.answer(request, "fail")
                await node.until_done()
                shown = [await node.get(tag) for tag in ("Verdict", "Code", "Confidence", "Findings", "RequestId")]
                assert shown == ["fail", 1, 0.93, 1, request.id]
                await node.set(PartPresent=False)
                if clear_done == "bridge":
                    await until(node.is_done_low)


async def test_an_event_of_another_stack_needs_no_filter_that_it_lacks(
    node_opcua: Path, line_of: Any, wait_until: Any
) -> None:
    async with started(node_opcua) as node:
        trigger = {"when": {"kind": "event", "fields": {"what": "Message"}}, "sample": {}}
        async with line_of(settings_for(node, **trigger)) as line:
            await wait_until(lambda: line.service.is_ready, within=30)
