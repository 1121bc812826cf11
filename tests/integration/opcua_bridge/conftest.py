"""A simulated PLC on a real OPC UA server, and the bridge as a service beside it."""

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio
from asyncua import Server, ua
from prometheus_client import CollectorRegistry

from lineside.bus.memory import MemoryBroker, MemoryBus
from lineside.contract import REQUEST_TOPIC, RESULT_TOPIC, Request, Result, parse_request, to_json, uuid7
from lineside.service import Service
from lineside_opcua_bridge.bridge import Bridge
from lineside_opcua_bridge.settings import Settings
from tests.support.fault_proxy import FaultProxy
from tests.support.ports import free_port
from tests.support.waiting import until

URI = "urn:lineside:test"
TAGS = {
    "PartPresent": (False, ua.VariantType.Boolean),
    "PartId": ("", ua.VariantType.String),
    "Speed": (1200.5, ua.VariantType.Double),
    "Verdict": ("", ua.VariantType.String),
    "Confidence": (0.0, ua.VariantType.Double),
    "RequestId": ("", ua.VariantType.String),
    "JudgedId": ("", ua.VariantType.String),
    "Done": (False, ua.VariantType.Boolean),
    "Request": (False, ua.VariantType.Boolean),
    "Counter": (0, ua.VariantType.UInt16),
    "Mode": (0, ua.VariantType.Int16),
    "Result": (0, ua.VariantType.Int16),
    "Code": (0, ua.VariantType.Byte),
    "Findings": (0, ua.VariantType.Int32),
    "Beat": (0, ua.VariantType.Byte),
    "Alive": (False, ua.VariantType.Boolean),
    "Owner": ("", ua.VariantType.String),
}
WRITABLE = (
    *("Verdict", "Confidence", "RequestId", "JudgedId", "Done", "Result", "Code", "Findings", "Beat", "Alive", "Owner"),
)


class SimulatedPlc:
    """Stations that keep the PLC's contract; its memory survives a restart of its server."""

    def __init__(self, stations: int) -> None:
        self.port = free_port()
        self.stations = [f"Station{number + 1}" for number in range(stations)]
        self.memory = {f"{station}.{tag}": value for station in self.stations for tag, (value, _) in TAGS.items()}
        self.read_only: set[str] = set()
        self.writes: list[tuple[str, Any]] = []
        self.on_write: Callable[[str, Any], None] = lambda _path, _value: None
        self._server: Server | None = None
        self._index = 0

    @property
    def endpoint(self) -> str:
        return f"opc.tcp://127.0.0.1:{self.port}"

    async def start(self, *, other_namespaces: int = 0, leave_out: tuple[str, ...] = ()) -> None:
        server = Server()
        await server.init()
        server.set_endpoint(self.endpoint)
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        for number in range(other_namespaces):
            await server.register_namespace(f"urn:other:{number}")
        self._index = await server.register_namespace(URI)
        for station in self.stations:
            folder = await server.nodes.objects.add_object(ua.NodeId(station, self._index), station)
            for tag, (_value, kind) in TAGS.items():
                path = f"{station}.{tag}"
                if path in leave_out:
                    continue
                node_id = ua.NodeId(path, self._index)
                variable = await folder.add_variable(node_id, tag, ua.Variant(self.memory[path], kind))
                if tag in WRITABLE and path not in self.read_only:
                    await variable.set_writable()
                server.iserver.aspace.add_datachange_callback(node_id, ua.AttributeIds.Value, self._observe(path))
        await server.start()
        self._server = server

    async def stop(self) -> None:
        server, self._server = self._server, None
        if server:
            await server.stop()

    def _observe(self, path: str) -> Callable[[int, ua.DataValue], Any]:
        async def changed(_handle: int, value: ua.DataValue) -> None:
            self.memory[path] = value.Value.Value
            self.writes.append((path, value.Value.Value))
            self.on_write(path, value.Value.Value)

        return changed

    async def set(
        self,
        station: str,
        tag: str,
        value: Any,
        *,
        status: int = ua.StatusCodes.Good,
        at: datetime | None = None,
    ) -> None:
        """Set a tag, at an instant of the PLC's clock."""
        path = f"{station}.{tag}"
        if self._server is None:
            self.memory[path] = value
            return
        now = at or datetime.now(UTC)
        data = ua.DataValue(
            ua.Variant(value, TAGS[tag][1]), StatusCode=ua.StatusCode(status), SourceTimestamp=now, ServerTimestamp=now
        )
        await self._server.write_attribute_value(ua.NodeId(path, self._index), data)

    async def part(self, station: str, part_id: str) -> None:
        """A part arrives, by the contract."""
        await self.set(station, "PartId", part_id)
        await self.set(station, "Done", value=False)
        await self.set(station, "Verdict", "")
        await self.set(station, "PartPresent", value=True)

    async def notify(
        self, message: str, severity: int, *, kind: int = ua.ObjectIds.BaseEventType, **fields: Any
    ) -> None:
        """Send an event of the server's own."""
        assert self._server is not None
        generator = await self._server.get_event_generator(ua.NodeId(kind))
        for name, value in ({"Severity": severity} | fields).items():
            setattr(generator.event, name, value)
        await generator.trigger(message=message)

    async def leave(self, station: str) -> None:
        await self.set(station, "PartPresent", value=False)

    async def lock(self, station: str, tag: str) -> None:
        """Refuse writes of a node from now on."""
        assert self._server is not None
        await self._server.get_node(ua.NodeId(f"{station}.{tag}", self._index)).set_read_only()

    async def unlock(self, station: str, tag: str) -> None:
        assert self._server is not None
        await self._server.get_node(ua.NodeId(f"{station}.{tag}", self._index)).set_writable()

    async def reset(self) -> None:
        """Be as at the start."""
        for station in self.stations:
            for tag, (value, _kind) in TAGS.items():
                await self.set(station, tag, value)
        self.writes.clear()

    def get(self, station: str, tag: str) -> Any:
        return self.memory[f"{station}.{tag}"]

    def dones(self, station: str) -> int:
        return sum(1 for path, value in self.writes if path == f"{station}.Done" and value is True)

    def trigger(self, number: int, **changes: Any) -> dict[str, Any]:
        station = f"nsu={URI};s=Station{number}"
        return {
            "name": f"station-{number}",
            "when": {"kind": "edge", "node": f"{station}.PartPresent"},
            "debounce_ms": 5,
            "station": f"station-{number}",
            "model": "surface-defect",
            "source": {"kind": "camera", "camera": f"station-{number}"},
            "deadline_ms": 5000,
            "margin_ms": 20,
            "sample": {"part_id": f"{station}.PartId", "speed": f"{station}.Speed"},
            "write_back": {
                "verdict": f"{station}.Verdict",
                "confidence": f"{station}.Confidence",
                "request_id": f"{station}.RequestId",
                "done": f"{station}.Done",
            }
            | ({} if changes.get("overrun", "newest") == "newest" else {"part_id": f"{station}.JudgedId"}),
        } | changes


@dataclass
class Line:
    """The bridge, and the bus it is on."""

    service: Service
    broker: MemoryBroker
    bus: MemoryBus = field(init=False)

    def __post_init__(self) -> None:
        self.bus = MemoryBus(self.broker)

    @property
    def registry(self) -> CollectorRegistry:
        return self.service.registry

    def requests(self) -> list[Request]:
        return [parse_request(payload) for topic, payload in self.broker.published if topic == REQUEST_TOPIC]

    async def request(self, number: int = 1) -> Request:
        """Return the request of that number, once it is there."""
        await until(lambda: len(self.requests()) >= number)
        return self.requests()[number - 1]

    async def answer(self, request: Request, verdict: str = "fail", **more: Any) -> None:
        result = Result.model_validate(
            {
                "id": uuid7(),
                "request_id": request.id,
                "status": "ok",
                "verdict": verdict,
                "reason": "as told",
                "findings": [{"label": "scratch", "confidence": 0.93}],
                "context": request.context,
            }
            | more
        )
        await self.bus.publish(RESULT_TOPIC, to_json(result))

    def metric(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"lineside_opcua_bridge_{name}", labels) or 0.0

    async def ready(self) -> None:
        await until(lambda: self.service.is_ready)


def settings(plc: SimulatedPlc, *triggers: dict[str, Any], **changes: Any) -> Settings:
    section = {
        "endpoint": plc.endpoint,
        "security": {"policy": "none"},
        "publishing_interval_ms": 5,
        "keepalive_ms": 200,
        "request_timeout_ms": 500,
        "http": {"port": 8082, "drain_s": 0.5},
        "triggers": list(triggers) or [plc.trigger(1)],
    }
    return Settings.model_validate({"opcua_bridge": section | changes})


@asynccontextmanager
async def running(
    configured: Settings, broker: MemoryBroker | None = None, *, fails: bool = False
) -> AsyncIterator[Line]:
    """Run the bridge on the memory bus for a while; `fails`: the service is meant to end by itself."""
    service = Service("opcua_bridge")
    line = Line(service, broker or MemoryBroker())
    bridge = Bridge(configured, service, MemoryBus(line.broker))
    async with service.life(bridge.life()):
        yield line
        assert (service.failed is not None) is fails


@pytest.fixture
async def plc() -> AsyncIterator[SimulatedPlc]:
    simulated = SimulatedPlc(stations=2)
    yield simulated
    with contextlib.suppress(Exception):  # a test may have left it half stopped
        await simulated.stop()


@pytest.fixture
async def proxy(plc: SimulatedPlc) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(plc.port) as way:
        yield way


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def steady() -> AsyncIterator[SimulatedPlc]:
    """A PLC that runs on from test to test: `reset` it first."""
    simulated = SimulatedPlc(stations=2)
    await simulated.start()
    yield simulated
    await simulated.stop()


@pytest.fixture
def line_of() -> Callable[..., Any]:
    return running


@pytest.fixture
def configure() -> Callable[..., Settings]:
    return settings


@pytest.fixture
def wait_until() -> Callable[..., Any]:
    return until


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
async def proxy_to() -> AsyncIterator[Callable[[int], Any]]:
    """Start a proxy to a port."""
    async with contextlib.AsyncExitStack() as started:
        yield lambda port: started.enter_async_context(FaultProxy(port))
