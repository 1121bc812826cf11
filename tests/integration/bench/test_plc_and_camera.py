import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import httpx
import pytest
import pytest_asyncio
from asyncua import Client, ua
from asyncua.common.node import Node

from lineside.contract import utc_now
from lineside_bench.parts.renderer import Renderer, render_jpeg
from lineside_bench.parts.spindle import NODES, SpindleSimulator
from lineside_bench.peers.camera import CameraServer
from lineside_bench.plcs.plc import Plc
from lineside_bench.plcs.station import NAMESPACE
from lineside_bench.reporting.records import PartRecord
from tests.support.waiting import HANG_S, until

PLC_PORT = 18310
CAMERA_PORT = 18311
SEED = 7


class Bridge:
    """A small client that plays the opcua-bridge at one station."""

    def __init__(self, client: Client, index: int, station: int) -> None:
        self._client = client
        self._path = f"ns={index};s=Station{station}"
        self.present: asyncio.Queue[ua.DataValue] = asyncio.Queue()

    def datachange_notification(self, _node: object, value: object, data: object) -> None:
        if value:
            self.present.put_nowait(data.monitored_item.Value)

    async def watch(self) -> None:
        subscription = await self._client.create_subscription(20, self)
        await subscription.subscribe_data_change(self.node("PartPresent"), queuesize=20)

    def node(self, tag: str) -> Node:
        return self._client.get_node(f"{self._path}.{tag}")

    async def write(self, verdict: str, request_id: str) -> None:
        values = {"Verdict": verdict, "Confidence": 0.5, "RequestId": request_id, "Done": True}
        data = [ua.DataValue(ua.Variant(value)) for value in values.values()]
        await self._client.write_values([self.node(tag) for tag in values], data)


@asynccontextmanager
async def bridged(station: int = 1) -> AsyncIterator[Bridge]:
    async with Client(f"opc.tcp://127.0.0.1:{PLC_PORT}") as client:
        bridge = Bridge(client, await client.get_namespace_index(NAMESPACE), station)
        await bridge.watch()
        yield bridge


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plc() -> AsyncIterator[Plc]:
    async with Plc(port=PLC_PORT, stations=3, seed=SEED) as plc:
        yield plc


pytestmark = pytest.mark.asyncio(loop_scope="module")


def record(part_id: str = "P-000001", station: str = "station-1") -> PartRecord:
    return PartRecord(1, part_id, "good", station, 400, utc_now())


async def test_the_plc_takes_the_verdict_at_the_instant_that_done_is_written(plc: Plc) -> None:
    async with bridged() as bridge:
        part = record("P-000042")
        judging = asyncio.create_task(plc.stations[0].judge(part, patience_s=10))
        data = await asyncio.wait_for(bridge.present.get(), HANG_S)
        assert await bridge.node("PartId").read_value() == "P-000042"
        assert await bridge.node("Done").read_value() is False
        before = utc_now()
        await bridge.write("pass", "request-1")
        after = utc_now()
        assert await judging
        written = part.write_backs[0]
        assert (written.verdict, written.confidence, written.request_id) == ("pass", 0.5, "request-1")
        assert before <= written.at <= after
        assert abs(data.SourceTimestamp - part.triggered) < timedelta(milliseconds=1)
        assert await bridge.node("PartPresent").read_value() is False


async def test_a_second_verdict_is_kept_as_evidence(plc: Plc) -> None:
    async with bridged() as bridge:
        part = record()
        judging = asyncio.create_task(plc.stations[0].judge(part, patience_s=10))
        await asyncio.wait_for(bridge.present.get(), HANG_S)
        await bridge.write("fail", "request-1")
        await judging
        await bridge.write("pass", "request-2")
        assert [written.verdict for written in part.write_backs] == ["fail", "pass"]


async def test_the_next_part_begins_clear_of_the_last(plc: Plc) -> None:
    async with bridged() as bridge:
        for number in range(2):
            part = record(f"P-{number}")
            judging = asyncio.create_task(plc.stations[0].judge(part, patience_s=10))
            await asyncio.wait_for(bridge.present.get(), HANG_S)
            assert await bridge.node("Verdict").read_value() == ""
            await bridge.write("pass", f"request-{number}")
            await judging
            assert [written.request_id for written in part.write_backs] == [f"request-{number}"]


async def test_a_verdict_without_any_part_is_a_stray(plc: Plc) -> None:
    async with bridged(station=3) as bridge:
        await bridge.write("pass", "request-1")
    assert len(plc.stations[2].strays) == 1


async def test_a_part_without_verdict_leaves_after_the_patience(plc: Plc) -> None:
    part = record()
    assert not await plc.stations[1].judge(part, patience_s=0.1)
    assert part.verdict is None


async def test_clients_may_write_the_verdict_and_nothing_else(plc: Plc) -> None:
    del plc
    async with bridged() as bridge:
        for tag, value in {"PartPresent": True, "PartId": "mine"}.items():
            with pytest.raises(ua.UaStatusCodeError, match="BadUserAccessDenied"):
                await bridge.node(tag).write_value(value)
        with pytest.raises(ua.UaStatusCodeError, match="BadTypeMismatch"):
            await bridge.node("Done").write_value("yes")


async def test_nobody_becomes_admin_by_name(plc: Plc) -> None:
    del plc
    client = Client(f"opc.tcp://127.0.0.1:{PLC_PORT}")
    client.set_user("admin")
    client.set_password("any")
    with pytest.raises((ua.UaError, ConnectionError)):
        await client.connect()


async def test_the_spindle_turns(plc: Plc) -> None:
    del plc
    async with Client(f"opc.tcp://127.0.0.1:{PLC_PORT}") as client:
        index = await client.get_namespace_index(NAMESPACE)
        nodes = [client.get_node(f"ns={index};s={tag}") for tag in NODES]
        first = await client.read_values(nodes)

        async def moved() -> bool:
            return bool(await client.read_values(nodes) != first)

        await until(moved)


async def test_a_stall_of_the_simulator_does_not_stop_the_spindle(plc: Plc) -> None:
    """What it missed comes with the times at which it was due: held values would be no sound spindle's."""
    del plc
    taken: asyncio.Queue[ua.DataValue] = asyncio.Queue()

    class Taker:
        def datachange_notification(self, _node: object, _value: object, data: object) -> None:
            taken.put_nowait(data.monitored_item.Value)

    async with asyncio.timeout(HANG_S), Client(f"opc.tcp://127.0.0.1:{PLC_PORT}") as client:
        node = client.get_node(f"ns={await client.get_namespace_index(NAMESPACE)};s={NODES[0]}")
        subscription = await client.create_subscription(20, Taker())
        await subscription.subscribe_data_change(node, queuesize=40)
        seen = [await taken.get() for _ in range(3)]
        begin = utc_now()
        time.sleep(1.0)  # noqa: ASYNC251 - it is the stall: simulator and client stand still
        end = utc_now()
        while seen[-1].SourceTimestamp < end:
            seen.append(await taken.get())
    simulator = SpindleSimulator(SEED)
    history = [simulator.step()[0] for _ in range(2000)]
    first = history.index(seen[0].Value.Value)
    assert [value.Value.Value for value in seen] == history[first : first + len(seen)]
    missed = [value for value in seen if begin < value.SourceTimestamp < end]
    assert len(missed) >= 9
    stamps = [value.SourceTimestamp for value in seen]
    assert stamps == sorted(set(stamps))


async def test_the_camera_shows_the_part_now_at_the_station() -> None:
    part = render_jpeg(7, 3)
    stations = ["station-1", "station-2"]
    async with CameraServer(port=CAMERA_PORT, stations=stations) as camera, httpx.AsyncClient() as client:
        camera.show("station-1", part)
        answer = await client.get(camera.snapshot_url("station-1"))
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
        assert answer.headers["x-part-id"] == "P-000003"
        assert answer.content == part.jpeg
        empty = await client.get(camera.snapshot_url("station-2"))
        assert (empty.status_code, empty.text) == (404, "There is no part at station-2.\n")
        unknown = await client.get(camera.snapshot_url("station-9"))
        assert unknown.status_code == 404
        assert "station-1, station-2" in unknown.text
        camera.show("station-1", None)
        assert (await client.get(camera.snapshot_url("station-1"))).status_code == 404


async def test_parts_are_rendered_ahead_in_order_and_bounded() -> None:
    async with Renderer(seed=7, count=5, ahead=3) as renderer:
        await asyncio.wait_for(renderer.full(), HANG_S)
        parts = [await renderer.next() for _ in range(5)]
    assert [part.index for part in parts] == [0, 1, 2, 3, 4]
    assert parts[2] == render_jpeg(7, 2)
