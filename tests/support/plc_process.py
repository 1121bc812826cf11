"""A PLC's OPC UA server as a process that tests may stop, kill and command.

`python -m tests.support.plc_process PORT [options as JSON]`
options: counters (how many), namespaces (URIs registered before ours, so that
our index moves), certificate and key (files; then nothing but Basic256Sha256, encrypted, is offered). It says
{"ready": true} on stdout, then answers each line of JSON on stdin with one line:
{"count": rounds, "every_ms": ms, "nodes": how many, "step_s": offset of the clock} counts the counters up by one a
round; {"event": how many, "severity": s} raises events; {"register": uri} adds a namespace; {"value": tag} reads one.
"""

import asyncio
import dataclasses
import gc
import json
import logging
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from asyncua import Server, ua
from asyncua.server.internal_subscription import InternalSubscription

from tests.support.commanded import obey_stdin

URI = "urn:lineside:test"
TAGS = {"PartPresent": False, "PartId": "", "Verdict": "", "Confidence": 0.0, "RequestId": "", "Done": False}
TAGS |= {"Note": "", "Busy": False}
OVERFLOW = 0x480


async def enqueue(self: Any, item: int, event: Any, size: int, queue: dict[int, list[Any]]) -> None:
    """Keep a value as OPC 10000-4, 5.13.1.5 asks for: what follows a dropped value is marked. asyncua forgets that."""
    kept = queue.setdefault(item, [])
    kept.append(event)
    if 1 < size < len(kept):
        kept.pop(0)
        if isinstance(kept[0], ua.MonitoredItemNotification):
            code = ua.StatusCode(ua.UInt32(int(kept[0].Value.StatusCode.value) | OVERFLOW))
            kept[0] = ua.MonitoredItemNotification(
                kept[0].ClientHandle, dataclasses.replace(kept[0].Value, StatusCode=code)
            )
    if len(kept) == 1:
        await self._trigger_publish()


InternalSubscription._enqueue_event = enqueue


class Plc:
    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.server = Server()
        self.index = 0
        self.counters: list[ua.NodeId] = []
        self.counted = 0

    async def start(self, port: int) -> None:
        server = self.server
        await server.init()
        server.set_endpoint(f"opc.tcp://127.0.0.1:{port}")
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        if certificate := self.options.get("certificate"):
            server.set_security_policy([ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt])
            await server.set_application_uri("urn:test:plc")
            await server.load_certificate(certificate, "der")
            await server.load_private_key(self.options["key"], format="pem")
        for uri in self.options.get("namespaces", []):
            await server.register_namespace(uri)
        self.index = await server.register_namespace(URI)
        folder = await server.nodes.objects.add_object(ua.NodeId("Station1", self.index), "Station1")
        for tag, value in TAGS.items():
            variable = await folder.add_variable(ua.NodeId(f"Station1.{tag}", self.index), tag, value)
            await variable.set_writable()
        counters = await server.nodes.objects.add_object(ua.NodeId("Counters", self.index), "Counters")
        for number in range(self.options.get("counters", 0)):
            node = ua.NodeId(f"C{number}", self.index)
            await counters.add_variable(node, f"C{number}", ua.Variant(0, ua.VariantType.Int64))
            self.counters.append(node)
        await server.start()

    async def count(self, count: int, every_ms: float = 0, nodes: int | None = None, step_s: float = 0) -> int:
        start = time.monotonic()
        for number in range(count):
            self.counted += 1
            now = datetime.now(UTC) + timedelta(seconds=step_s)
            value = ua.DataValue(
                ua.Variant(self.counted, ua.VariantType.Int64), SourceTimestamp=now, ServerTimestamp=now
            )
            for node in self.counters[:nodes]:
                await self.server.write_attribute_value(node, value)
            await asyncio.sleep(max(0.0, start + (number + 1) * every_ms / 1000 - time.monotonic()))
        return self.counted

    async def events(self, count: int, severity: int) -> int:
        generator = await self.server.get_event_generator()
        for number in range(count):
            generator.event.Severity = severity
            generator.event.SourceName = "press"
            await generator.trigger(message=f"event {number + 1}")
        return count

    async def obey(self, command: dict[str, Any]) -> Any:
        if "count" in command:
            return await self.count(**command)
        if "event" in command:
            return await self.events(command["event"], command.get("severity", 500))
        if "register" in command:
            return await self.server.register_namespace(command["register"])
        return await self.server.get_node(ua.NodeId(command["value"], self.index)).read_value()


async def main(port: int, options: dict[str, Any]) -> None:
    logging.disable(logging.CRITICAL)
    plc = Plc(options)
    await plc.start(port)
    await obey_stdin(plc.obey)
    await asyncio.Event().wait()


if __name__ == "__main__":
    gc.set_threshold(50_000, 10, 10)  # half of the start of a server, 6,000 nodes, would be looking through them
    asyncio.run(main(int(sys.argv[1]), json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}))
