"""A PLC's OPC UA server as a process of its own, which keeps a record of every done that was raised.

`python -m tests.faults.opcua_plc PORT` says {"ready": true} on stdout, then answers each line of JSON on stdin with
one line:
{"part": id, "station": name} brings a part; {"take": station, "lowers": bool} waits for done, lowers the request and
then done (or waits until the bridge has lowered it) and returns the verdict; {"write": tag, "value": v} writes one;
{"rises": true} returns what the PLC showed at each rise of done, and each done written while it was up already;
{"count": rounds, "every_ms": ms, "nodes": n} counts the counters up; {"reset": true} is as at the start.
"""

import asyncio
import contextlib
import gc
import logging
import sys
import time
from collections.abc import Callable
from typing import Any

from asyncua import Server, ua

from tests.support.commanded import obey_stdin

URI = "urn:lineside:test"
STATIONS = ("Station1", "Station2")
TAGS = {"PartPresent": False, "PartId": "", "Verdict": "", "RequestId": "", "VerdictPart": "", "Done": False}
COUNTERS = 20
BOUND_S = 300.0
HOLD_S = 0.15
"""How long the PLC looks at a verdict before it takes it: for a second bridge that writes over it."""


class Plc:
    def __init__(self) -> None:
        self.server = Server()
        self.index = 0
        self.memory = {(station, tag): value for station in STATIONS for tag, value in TAGS.items()}
        self.rises: list[dict[str, Any]] = []

    async def start(self, port: int) -> None:
        server = self.server
        await server.init()
        server.set_endpoint(f"opc.tcp://127.0.0.1:{port}")
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        self.index = await server.register_namespace(URI)
        for station in STATIONS:
            folder = await server.nodes.objects.add_object(ua.NodeId(station, self.index), station)
            for tag, value in TAGS.items():
                node = ua.NodeId(f"{station}.{tag}", self.index)
                await (await folder.add_variable(node, tag, value)).set_writable()
                server.iserver.aspace.add_datachange_callback(node, ua.AttributeIds.Value, self.observe(station, tag))
        for number in range(COUNTERS):
            await server.nodes.objects.add_variable(ua.NodeId(f"C{number}", self.index), f"C{number}", 0.0)
        await server.start()

    def observe(self, station: str, tag: str) -> Callable[[int, ua.DataValue], Any]:
        async def changed(_handle: int, value: ua.DataValue) -> None:
            before, self.memory[station, tag] = self.memory[station, tag], value.Value.Value
            if tag == "Done" and value.Value.Value:
                self.rises.append(self.shown(station) | {"again": before})

        return changed

    def shown(self, station: str) -> dict[str, Any]:
        return {"station": station} | {tag: self.memory[station, tag] for tag in TAGS}

    async def write(self, station: str, tag: str, value: Any) -> None:
        await self.server.get_node(ua.NodeId(f"{station}.{tag}", self.index)).write_value(value)

    async def part(self, part_id: str, station: str) -> None:
        await self.write(station, "PartId", part_id)
        await self.write(station, "PartPresent", value=True)

    async def done(self, station: str, *, is_up: bool) -> None:
        async with asyncio.timeout(BOUND_S):
            while self.memory[station, "Done"] is not is_up:
                await asyncio.sleep(0.005)

    async def take(self, station: str, *, lowers: bool, holds: bool) -> dict[str, Any]:
        """Return what was shown with done, and after a while of holding it."""
        with contextlib.suppress(TimeoutError):
            await self.done(station, is_up=True)
        first = self.shown(station)
        if holds:
            await asyncio.sleep(HOLD_S)
        last = self.shown(station)
        await self.write(station, "PartPresent", value=False)
        if lowers:
            await self.write(station, "Done", value=False)
        with contextlib.suppress(TimeoutError):
            await self.done(station, is_up=False)
        return {"first": first, "last": last, "after": self.shown(station)}

    async def count(self, rounds: int, every_ms: float, nodes: int) -> None:
        start = time.monotonic()
        for counted in range(1, rounds + 1):
            for number in range(nodes):
                await self.server.get_node(ua.NodeId(f"C{number}", self.index)).write_value(float(counted % 1000))
            await asyncio.sleep(max(0.0, start + counted * every_ms / 1000 - time.monotonic()))

    async def reset(self) -> None:
        for station, tag in self.memory:
            await self.write(station, tag, TAGS[tag])
        self.rises.clear()

    async def obey(self, command: dict[str, Any]) -> Any:
        if "part" in command:
            return await self.part(command["part"], command["station"])
        if "take" in command:
            return await self.take(command["take"], lowers=command["lowers"], holds=command.get("holds", False))
        if "write" in command:
            return await self.write(STATIONS[0], command["write"], command["value"])
        if "count" in command:
            return await self.count(command["count"], command["every_ms"], command["nodes"])
        if "reset" in command:
            return await self.reset()
        return self.rises


async def main(port: int) -> None:
    logging.disable(logging.CRITICAL)
    plc = Plc()
    await plc.start(port)
    await obey_stdin(plc.obey)
    await plc.server.stop()


if __name__ == "__main__":
    gc.set_threshold(50_000, 10, 10)  # half of the start of a server, 6,000 nodes, would be looking through them
    asyncio.run(main(int(sys.argv[1])))
