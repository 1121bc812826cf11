"""A plant floor's PLC as a process: a tag for every kind of trigger, tags for windows, nodes for verdicts.

`python -m tests.e2e.floor_process PORT`; it says {"ready": true} on stdout, then answers each line of JSON on stdin
with {"ok": ...}:
{"set": {tag: value}} writes tags with one source timestamp, and returns it; with "at" that is the timestamp.
{"play": [[value, ...], ...], "tags": [...], "every_ms": ms} writes row by row, in real time and with source timestamps
exactly that far apart, and returns those. {"event": message} raises an event. {"read": [tag, ...]} returns values.
"""

import asyncio
import logging
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

from asyncua import Server, ua

from tests.support.commanded import obey_stdin

URI = "urn:lineside:floor"
SIGNALS: dict[str, bool | int | float | str] = {"Edge": False, "Change": "P-0", "Limit": 0.0, "Counter": 7}
SIGNALS |= {"Ask": False, "Many": False}
STATIONS = (*SIGNALS, "Period", "Event", "Window")
ANSWERS: dict[str, bool | str] = {"Verdict": "", "Code": "", "RequestId": "", "Done": False}
SPINDLE = ("SpeedPerS", "Load", "Vibration", "Temperature")
MANY = tuple(f"T{number:02}" for number in range(20))


class Floor:
    def __init__(self) -> None:
        self.server = Server()
        self.index = 0
        self.events: Any = None

    async def start(self, port: int) -> None:
        await self.server.init()
        self.server.set_endpoint(f"opc.tcp://127.0.0.1:{port}")
        self.server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        self.index = await self.server.register_namespace(URI)
        tags: dict[str, bool | int | float | str] = {f"{name}.Signal": value for name, value in SIGNALS.items()}
        tags |= dict.fromkeys([*SPINDLE, *MANY], 0.0)
        for tag, value in tags.items():
            await self.server.nodes.objects.add_variable(self.id(tag), tag, value)
        for station in STATIONS:
            for tag, value in ANSWERS.items():
                name = f"{station}.{tag}"
                node = await self.server.nodes.objects.add_variable(self.id(name), name, value)
                await node.set_writable()
        self.events = await self.server.get_event_generator()
        self.events.event.SourceName = "floor"
        await self.server.start()

    def id(self, tag: str) -> ua.NodeId:
        return ua.NodeId(ua.String(tag), ua.Int16(self.index))

    async def write(self, tags: dict[str, Any], at: datetime) -> None:
        for tag, value in tags.items():
            kind = ua.VariantType.Int64 if type(value) is int else None
            data = ua.DataValue(ua.Variant(value, kind), SourceTimestamp=at, ServerTimestamp=at)
            await self.server.write_attribute_value(self.id(tag), data)

    async def play(self, rows: list[list[float]], tags: list[str], every_ms: float) -> list[str]:
        loop = asyncio.get_running_loop()
        start, began = datetime.now(UTC), loop.time()
        times = [start + timedelta(milliseconds=every_ms * number) for number in range(len(rows))]
        for number, (at, row) in enumerate(zip(times, rows, strict=True)):
            await asyncio.sleep(max(0.0, began + every_ms * number / 1000 - loop.time()))
            await self.write(dict(zip(tags, row, strict=True)), at)
        return [at.isoformat() for at in times]

    async def obey(self, command: dict[str, Any]) -> Any:
        if "set" in command:
            at = datetime.fromisoformat(command["at"]) if "at" in command else datetime.now(UTC)
            await self.write(command["set"], at)
            return at.isoformat()
        if "play" in command:
            return await self.play(command["play"], command["tags"], command["every_ms"])
        if "event" in command:
            await self.events.trigger(message=command["event"])
            return True
        return [await self.server.get_node(self.id(tag)).read_value() for tag in command["read"]]


async def main(port: int) -> None:
    logging.disable(logging.CRITICAL)
    floor = Floor()
    await floor.start(port)
    await obey_stdin(floor.obey)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
