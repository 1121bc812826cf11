"""The PLC programs on four OPC UA stacks: to a client they are one and the same PLC."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from asyncua import Client, ua

from lineside.contract import utc_now
from lineside_bench.checkout import find_root
from lineside_bench.errors import BenchError
from lineside_bench.plcs.environment import Stack
from lineside_bench.plcs.plc import StackPlc
from lineside_bench.plcs.station import NAMESPACE
from lineside_bench.reporting.records import PartRecord

ONE = {"Recipe": ("String", ""), "Count": ("UInt16", 3), "Speed": ("Float", 1.5)}


@pytest.mark.parametrize("stack", Stack)
async def test_a_plc_is_the_same_on_every_stack(stack: Stack, tmp_path: Path) -> None:
    async with StackPlc(stack, root=find_root(), stations=2, beside=ONE, log=tmp_path / "plc.log") as plc:
        async with Client(plc.url) as client:
            index = await client.get_namespace_index(NAMESPACE)
            await _its_tags_are_typed_and_clients_write_the_verdict_alone(plc, client, index)
            await _a_part_is_shown_and_every_verdict_taken_an_equal_one_too(plc, client, index)
        await _what_is_written_is_written_in_order(plc)
        os.kill(plc.program.pid, signal.SIGKILL)
        for _ in range(2):
            with pytest.raises(BenchError, match=f"the PLC on {stack} has ended"):
                await plc.program.read("Station1.Done")


async def _its_tags_are_typed_and_clients_write_the_verdict_alone(plc: StackPlc, client: Client, index: int) -> None:
    nodes = {tag: client.get_node(f"ns={index};s=Station2.{tag}") for tag in ("PartId", "Verdict", "Count", "Speed")}
    values = [await node.read_value() or "" for node in nodes.values()]  # o6 sends an empty text as none
    assert values == ["", "", 3, 1.5]
    kinds = [await node.read_data_type_as_variant_type() for node in nodes.values()]
    assert kinds == [ua.VariantType.String, ua.VariantType.String, ua.VariantType.UInt16, ua.VariantType.Float]
    with pytest.raises(ua.UaStatusCodeError):
        await nodes["PartId"].write_value("X")
    browsed = [await node.read_browse_name() for node in await client.nodes.objects.get_children()]
    assert {f"{index}:Station1", f"{index}:Station2"} <= {name.to_string() for name in browsed}
    await plc.write(("Station2.Count", 7), ("Station2.PartId", "P-1"))
    held = await plc.program.read("Station2.Count", "Station2.PartId")
    assert held == {"Station2.Count": 7, "Station2.PartId": "P-1"}
    assert [await nodes[tag].read_value() for tag in ("Count", "PartId")] == [7, "P-1"]
    with pytest.raises(BenchError, match="Station9"):
        await plc.write(("Station9.PartId", "P-1"))


async def _a_part_is_shown_and_every_verdict_taken_an_equal_one_too(plc: StackPlc, client: Client, index: int) -> None:
    told: asyncio.Queue[Any] = asyncio.Queue()

    class Handler:
        def datachange_notification(self, _node: Any, value: Any, _data: Any) -> None:
            told.put_nowait(value)

    def node(tag: str) -> Any:
        return client.get_node(f"ns={index};s=Station1.{tag}")

    subscription = await client.create_subscription(20, Handler())
    await subscription.subscribe_data_change(node("PartPresent"))
    assert await told.get() is False
    record = PartRecord(0, "P-1", "good", "station-1", 400.0, utc_now())
    judging = asyncio.create_task(plc.stations[0].judge(record, patience_s=60, beside={"Recipe": "A"}))
    assert await told.get() is True
    shown = await plc.program.read("Station1.PartId", "Station1.Recipe", "Station1.Done")
    assert list(shown.values()) == ["P-1", "A", False]
    for tag, value in {"Verdict": "pass", "Confidence": 0.5, "RequestId": "r-1", "JudgedId": "P-1"}.items():
        await node(tag).write_value(ua.DataValue(ua.Variant(value)))
    done = ua.DataValue(ua.Variant(Value=True))
    await node("Done").write_value(done)
    assert await judging
    assert await told.get() is False
    await node("Done").write_value(done)
    await plc.program.read("Station1.Done")  # answered after what was written before
    taken = [(each.verdict, each.confidence, each.request_id, each.part_id) for each in record.write_backs]
    assert taken == [("pass", 0.5, "r-1", "P-1")] * 2
    assert not plc.stations[1].strays
    assert await node("Done").read_value() is True


async def _what_is_written_is_written_in_order(plc: StackPlc) -> None:
    before = utc_now()
    first = await plc.write(("Station1.PartId", "P-1"), ("Station1.PartPresent", True))
    second = await plc.write(("Station1.PartId", "P-2"), 60, ("Station1.PartPresent", False))
    assert before <= first < second
    assert (second - first).total_seconds() >= 0.06
    assert await plc.program.read("Station1.PartPresent") == {"Station1.PartPresent": False}
