"""The load: an OPC UA server whose counters all count up at one rate, far faster than any client can take them.

    python benchmarks/opcua_load.py '{"nodes": 2000, "triggers": 8}'

It is asyncua's server, with its sessions, subscriptions, publish requests and acknowledgements; only the counters'
changes are not written one by one: when a subscription publishes, all changes since its last notification are laid
out at once by numpy, as the bytes of one DataChangeNotification. What a client does not fetch in time waits in the
queue of its size, and what does not fit there is dropped, oldest first, with the overflow bit, and counted.

Counter n is `s=C<n>` (Double) in `urn:lineside:load`; every tick all become the tick's number, so a client sees each
gap by itself. `s=T<n>` (Boolean) are triggers. One line `{"ready": port}`; then commands, a line of JSON each,
answered by one: {"rate": hz} (0 stops), {"stats": true}, {"drop": values} (lost without a trace: the control of the
clients' own counting), {"edges": per second} (of all triggers together).
"""

import asyncio
import json
import logging
import random
import socket
import struct
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncua.server.subscription_service
import numpy as np
from asyncua import Server, ua
from asyncua.server.internal_subscription import InternalSubscription

URI = "urn:lineside:load"
SEED = 7
_HUNDRED_NS = 10_000_000
_EPOCH = 116_444_736_000_000_000
"""1970 in OPC UA's time: units of 100 ns since 1601."""
_SCAN = 10
"""From one tag's change to the next one's within a tick, in 100 ns: a PLC writes its tags in turn."""
_DOUBLE = 11
_HAS_VALUE_STATUS_TIMES = 0x0F
_OVERFLOW = 0x480
_DATA_CHANGE = ua.NodeId(ua.ObjectIds.DataChangeNotification_Encoding_DefaultBinary)
_ROW = np.dtype(
    [
        ("handle", "<u4"),
        ("mask", "u1"),
        ("type", "u1"),
        ("value", "<f8"),
        ("status", "<u4"),
        ("source", "<i8"),
        ("server", "<i8"),
    ]
)
"""One MonitoredItemNotification: ClientHandle, DataValue (value, status, both timestamps)."""


class Clock:
    """The tick that all counters show, and when each tick was."""

    def __init__(self) -> None:
        self._rate = 0.0
        self._start = 0.0
        self._start_ticks = 0

    @property
    def ticks(self) -> int:
        """The tick now."""
        return self._start_ticks + int((time.time() - self._start) * self._rate)

    def set(self, rate: float) -> None:
        """Go on from the tick now at another rate, in ticks per second."""
        ticks = self.ticks
        self._start_ticks, self._start, self._rate = ticks, time.time(), rate

    def times(self, ticks: np.ndarray) -> np.ndarray:
        """Return ticks of the present rate as OPC UA times."""
        seconds = (ticks - self._start_ticks) / self._rate if self._rate else 0.0 * ticks
        return _EPOCH + ((self._start + seconds) * _HUNDRED_NS).astype(np.int64)


CLOCK = Clock()
SUBSCRIPTIONS: list["Subscription"] = []
COUNTED = ("generated", "sent", "overflowed", "dropped")
ENDED = dict.fromkeys(COUNTED, 0)
"""What the subscriptions that have ended did."""


class Subscription(InternalSubscription):
    """A subscription that lays its counters' changes out at once."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.handles = np.empty(0, np.uint32)
        self.sizes = np.empty(0, np.int64)
        self.sent_until = CLOCK.ticks
        self.to_drop = 0
        self.generated = self.sent = self.overflowed = self.dropped = 0
        SUBSCRIPTIONS.append(self)
        plain = self.monitored_item_srv.create_monitored_items

        async def create(params: ua.CreateMonitoredItemsParameters) -> list[ua.MonitoredItemCreateResult]:
            self._settle()
            results = await plain(params)
            for item, result in zip(params.ItemsToCreate, results, strict=True):
                result.RevisedSamplingInterval = item.RequestedParameters.SamplingInterval
            items = [
                (item.RequestedParameters.ClientHandle, result.RevisedQueueSize)
                for item, result in zip(params.ItemsToCreate, results, strict=True)
                if result.StatusCode.is_good() and str(item.ItemToMonitor.NodeId.Identifier).startswith("C")
            ]
            self.handles = np.append(self.handles, np.array([handle for handle, _size in items], np.uint32))
            self.sizes = np.append(self.sizes, np.array([max(1, size) for _handle, size in items], np.int64))
            return results

        self.monitored_item_srv.create_monitored_items = create

    async def stop(self) -> None:
        if self in SUBSCRIPTIONS:
            SUBSCRIPTIONS.remove(self)
            for name in COUNTED:
                ENDED[name] += getattr(self, name)
        await super().stop()

    def _settle(self) -> None:
        if not self.handles.size:
            self.sent_until = CLOCK.ticks

    @property
    def pending(self) -> int:
        """How many ticks were not sent yet."""
        return CLOCK.ticks - self.sent_until

    def has_published_results(self) -> bool:
        return bool(self.handles.size and self.pending) or super().has_published_results()

    def _pop_triggered_datachanges(self, result: ua.PublishResult) -> None:
        super()._pop_triggered_datachanges(result)
        last = CLOCK.ticks
        if self.handles.size and last > self.sent_until:
            rows = self._rows(self.sent_until + 1, last)
            self.sent_until = last
            content = b"".join((struct.pack("<i", len(rows)), rows.tobytes(), struct.pack("<i", -1)))
            result.NotificationMessage.NotificationData.append(ua.ExtensionObject(_DATA_CHANGE, content))

    def _rows(self, first: int, last: int) -> np.ndarray:
        ticks = np.arange(first, last + 1)
        rows = np.empty((len(self.handles), len(ticks)), _ROW)
        rows["handle"] = self.handles[:, None]
        rows["mask"] = _HAS_VALUE_STATUS_TIMES
        rows["type"] = _DOUBLE
        rows["value"] = ticks
        rows["status"] = 0
        rows["source"] = CLOCK.times(ticks) - self.handles.size * _SCAN + np.arange(self.handles.size)[:, None] * _SCAN
        rows["server"] = rows["source"]
        self.generated += rows.size
        kept = np.ones(rows.shape, bool)
        if len(ticks) > self.sizes.min():
            beyond = len(ticks) - self.sizes
            kept = np.arange(len(ticks)) >= beyond[:, None]
            over = np.flatnonzero(beyond > 0)
            rows["status"][over, beyond[over]] = _OVERFLOW
            self.overflowed += rows.size - int(kept.sum())
        for place in random.Random(SEED + first).sample(range(len(self.handles)), min(self.to_drop, len(self.handles))):
            kept[place, -1] = False  # the next tick shows the gap
            self.to_drop -= 1
            self.dropped += 1
        flat = rows.reshape(-1) if kept.all() else rows[kept]
        self.sent += flat.size
        return flat


RAISED = 0
"""Edges so far."""


async def edges(server: Server, nodes: list[ua.NodeId], rate: float) -> None:
    """Raise a trigger at random instants, `rate` a second, each low again well before its next turn."""
    global RAISED  # noqa: PLW0603 - this process is the generator
    chance = random.Random(SEED)
    for number in range(sys.maxsize):
        await asyncio.sleep(chance.uniform(0.5, 1.5) / rate)
        RAISED += 1
        for node, level in (
            (nodes[number % len(nodes)], True),
            (nodes[(number - len(nodes) // 2) % len(nodes)], False),
        ):
            now = datetime.now(UTC)
            value = ua.DataValue(ua.Variant(level, ua.VariantType.Boolean), SourceTimestamp=now, ServerTimestamp=now)
            await server.write_attribute_value(node, value)


async def served(nodes: int, triggers: int) -> tuple[Server, list[ua.NodeId], int]:
    """Start the server; return it, its triggers, and its port."""
    asyncua.server.subscription_service.InternalSubscription = Subscription
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    server = Server()
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    index = await server.register_namespace(URI)
    folder = await server.nodes.objects.add_folder(ua.NodeId("Load", index), "Load")

    def present(_node: ua.NodeId, _attribute: ua.AttributeIds) -> ua.DataValue:
        now = datetime.now(UTC) - timedelta(milliseconds=1)
        value = ua.Variant(float(CLOCK.ticks), ua.VariantType.Double)
        return ua.DataValue(value, SourceTimestamp=now, ServerTimestamp=now)

    for number in range(nodes):
        variable = await folder.add_variable(ua.NodeId(f"C{number}", index), f"C{number}", 0.0)
        server.set_attribute_value_callback(variable.nodeid, present)
    made = [await folder.add_variable(ua.NodeId(f"T{n}", index), f"T{n}", val=False) for n in range(triggers)]
    await server.start()
    return server, [variable.nodeid for variable in made], port


def stats() -> dict[str, int]:
    """Return what every subscription did, together."""
    counted = {name: ENDED[name] + sum(getattr(each, name) for each in SUBSCRIPTIONS) for name in COUNTED}
    return counted | {
        "raised": RAISED,
        "ticks": CLOCK.ticks,
        "pending": max((each.pending for each in SUBSCRIPTIONS if each.handles.size), default=0),
        "items": sum(len(each.handles) for each in SUBSCRIPTIONS),
        "subscriptions": len(SUBSCRIPTIONS),
        "smallest_queue": min((int(each.sizes.min()) for each in SUBSCRIPTIONS if each.handles.size), default=0),
        "fastest_ms": min((each.data.RevisedPublishingInterval for each in SUBSCRIPTIONS), default=0),
    }


async def main(options: dict[str, int]) -> None:
    logging.disable(logging.CRITICAL)
    server, triggers, port = await served(options["nodes"], options["triggers"])
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    print(json.dumps({"ready": port}), flush=True)
    raising: asyncio.Task[None] | None = None
    while line := await lines.readline():
        command = json.loads(line)
        if "rate" in command:
            CLOCK.set(command["rate"])
        if "drop" in command:
            max(SUBSCRIPTIONS, key=lambda each: each.handles.size).to_drop += command["drop"]
        if "edges" in command:
            if raising:
                raising.cancel()
            rate = command["edges"]
            raising = asyncio.create_task(edges(server, triggers, rate), name="edges") if rate else None
        print(json.dumps(stats()), flush=True)
    await server.stop()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
