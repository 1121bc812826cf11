"""The simulated PLC: an OPC UA server with inspection stations and a spindle.

For each part a station sets PartId, clears the verdict, then raises PartPresent; it takes the verdict at the instant
that Done is written as true, and lowers PartPresent. That instant is hooked in the server's address space: nothing is
polled. Loopback without encryption or passwords: good for a bench, not for a plant. Clients may write the four verdict
nodes of each station and nothing else.
"""

import asyncio
import contextlib
from collections import deque
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self

from asyncua import ua
from asyncua.common.node import Node
from asyncua.server.server import Server
from asyncua.ua.attribute_ids import AttributeIds

from lineside.contract import utc_now
from lineside_bench.records import PartRecord, WriteBack
from lineside_bench.spindle import SpindleSimulator

NAMESPACE = "urn:lineside:bench"
SPINDLE_TAGS = ("SpeedRpm", "LoadPercent", "VibrationMmS", "TemperatureC")
SPINDLE_PERIOD_S = 0.1
LONGEST_STALL_S = 1.5
"""After a longer one the spindle stood still. A reader's queue for a tag holds two seconds of it."""
MAX_STRAYS = 100
WRITABLE = ("Verdict", "Confidence", "RequestId", "Done")

_KINDS = {
    "PartPresent": (False, ua.VariantType.Boolean),
    "PartId": ("", ua.VariantType.String),
    "Verdict": ("", ua.VariantType.String),
    "Confidence": (0.0, ua.VariantType.Double),
    "RequestId": ("", ua.VariantType.String),
    "Done": (False, ua.VariantType.Boolean),
}


class Station:
    """One inspection station; judges one part at a time."""

    def __init__(self, number: int) -> None:
        self.name = f"station-{number}"
        self.prefix = f"Station{number}"
        self.strays: deque[WriteBack] = deque(maxlen=MAX_STRAYS)
        """Verdicts written before there was any part."""
        self._nodes: dict[str, Node] = {}
        self._record: PartRecord | None = None
        self._done = asyncio.Event()

    async def build(self, server: Server, index: int) -> None:
        """Make the station's nodes in namespace `index`, and hook the write of Done."""
        folder = await server.nodes.objects.add_object(_node_id(self.prefix, index), f"{index}:{self.prefix}")
        for tag, (value, kind) in _KINDS.items():
            node = await folder.add_variable(_node_id(f"{self.prefix}.{tag}", index), f"{index}:{tag}", value, kind)
            if tag in WRITABLE:
                await node.set_writable()
            self._nodes[tag] = node
        server.iserver.aspace.add_datachange_callback(self._nodes["Done"].nodeid, AttributeIds.Value, self._written)

    async def judge(self, record: PartRecord, *, patience_s: float) -> bool:
        """Present a part and wait for its verdict; return whether one came.

        `record.triggered` becomes the source timestamp that is written with PartPresent. Verdicts that come later,
        until the next part, are appended to the record too.
        """
        await self._write("PartId", record.part_id)
        await self._write("Verdict", "")
        await self._write("Confidence", 0.0)
        await self._write("RequestId", "")
        await self._write("Done", value=False)
        self._done.clear()
        self._record = record
        record.triggered = await self._write("PartPresent", value=True)
        try:
            await asyncio.wait_for(self._done.wait(), patience_s)
        except TimeoutError:
            return False
        finally:
            await self._write("PartPresent", value=False)
        return True

    async def _write(self, tag: str, value: Any) -> Any:
        now = utc_now()
        await self._nodes[tag].write_value(_data(value, _KINDS[tag][1], now))
        return now

    async def _written(self, _handle: int, data: ua.DataValue) -> None:
        """Take a write of Done, ours (false) and the clients'."""
        if data.Value is None or data.Value.Value is not True:
            return
        values = {tag: (await self._nodes[tag].read_value()) for tag in ("Verdict", "Confidence", "RequestId")}
        taken = WriteBack(utc_now(), values["Verdict"], values["Confidence"], values["RequestId"])
        if self._record is None:
            self.strays.append(taken)
            return
        self._record.write_backs.append(taken)
        self._done.set()


class Plc:
    """The server with its stations; serves while it is entered.

    It names itself to each client by the address that the client has used, whatever `host` it listens on.
    """

    def __init__(self, *, port: int, stations: int, seed: int, host: str = "127.0.0.1") -> None:
        self.url = f"opc.tcp://{host}:{port}"
        self.stations = [Station(number) for number in range(1, stations + 1)]
        self._spindle = SpindleSimulator(seed)
        self._server = Server()
        self._turning: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        server = self._server
        await server.init()
        server.set_endpoint(f"{self.url}/")
        server.set_server_name("Lineside bench PLC")
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        server.set_identity_tokens([ua.AnonymousIdentityToken])
        server.allow_remote_admin(False)  # noqa: FBT003 - asyncua takes it by position only
        index = await server.register_namespace(NAMESPACE)
        for station in self.stations:
            await station.build(server, index)
        folder = await server.nodes.objects.add_object(_node_id("Spindle", index), f"{index}:Spindle")
        tags = [
            await folder.add_variable(_node_id(f"Spindle.{tag}", index), f"{index}:{tag}", value, ua.VariantType.Double)
            for tag, value in zip(SPINDLE_TAGS, self._spindle.step(), strict=True)
        ]
        await server.start()
        self._turning = asyncio.create_task(self._turn(tags), name="spindle")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._turning:
            self._turning.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._turning
        await self._server.stop()

    async def _turn(self, tags: list[Node]) -> None:
        """Write the spindle's tags ten times a second.

        The machine does not stop turning where this process stalls: what was missed is written at once, with the
        times at which it was due, and without a pause in which a reader could take part of it for all of it.
        """
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due = max(due + SPINDLE_PERIOD_S, loop.time() - LONGEST_STALL_S)
            if (ahead := due - loop.time()) > 0:
                await asyncio.sleep(ahead)
            at = utc_now() - timedelta(seconds=loop.time() - due)
            for node, value in zip(tags, self._spindle.step(), strict=True):
                await node.write_value(_data(value, ua.VariantType.Double, at))


def _node_id(identifier: str, index: int) -> ua.NodeId:
    return ua.NodeId(ua.String(identifier), ua.Int16(index))


def _data(value: Any, kind: ua.VariantType, at: datetime) -> ua.DataValue:
    moment = ua.DateTime.fromtimestamp(at.timestamp(), UTC)
    return ua.DataValue(ua.Variant(value, kind), SourceTimestamp=moment, ServerTimestamp=moment)
