"""One heartbeat of all that is known, and only the latest goes out."""

import asyncio
import json

from prometheus_client import CollectorRegistry

from lineside.bus.memory import MemoryBroker, MemoryBus
from lineside.errors import BusError
from lineside.heartbeats import parse, to_json
from lineside_deployer.desired.document import Definition, Deployment
from lineside_deployer.heartbeat.inference import Seen, Statistics
from lineside_deployer.heartbeat.made import Agent, heartbeat
from lineside_deployer.heartbeat.sending import LatestSender, over_bus
from lineside_deployer.metrics import Metrics
from lineside_deployer.records import ModelRecord, Phase, Record
from tests.support.waiting import until

AGENT = Agent(started=100.0, crashes=2, starts=5, cpu_s=1.5, memory_bytes=4096.0)
STATISTICS = Statistics.model_validate(
    {
        "name": "m",
        "version": "2",
        "last_inference": 199_500,
        "inference_count": 40,
        "inference_stats": {"success": {"count": 20, "ns": 80_000_000}, "fail": {"count": 1}},
    }
)
SEEN = Seen({"m": "2", "never-asked": "1"}, {("m", "2"): STATISTICS}, {"m": 3.0})


def made(seen: Seen | None = SEEN, record: Record | None = None) -> dict[str, object]:
    found = heartbeat("line-7", "plant", "box", 300.0, 200.0, AGENT, seen, {"m": 190.0}, record)
    document = json.loads(to_json(found, 6144))
    assert parse(json.dumps(document).encode()) == found
    return document


def test_it_says_what_triton_says() -> None:
    first, second = made()["Models"]
    assert (first["LatestInference"], first["LatestSampleTime"]) == (199.5, 190.0)
    figures = {each["MetricName"]: each["Value"] for each in first["ModelMetrics"]}
    assert figures == {"InferenceCount": 40.0, "RequestCount": 20.0, "ErrorCount": 1.0, "MeanLatencyMs": 4.0}
    assert second == {"ModelName": "never-asked", "ModelVersion": "1"}


def test_of_a_service_that_is_away_nothing_old_is_told() -> None:
    document = made(seen=None)
    assert "Models" not in document
    figures = {each["MetricName"]: each["Value"] for each in document["AgentMetrics"]}
    assert figures["InferenceServiceUp"] == 0.0
    assert (figures["StartTime"], figures["CrashCount"], figures["StartCount"]) == (100.0, 2.0, 5.0)


def test_the_latest_deployment_stands_in_it() -> None:
    deployment = Deployment(DeploymentName="d", Definitions=(Definition(ModelHandle="m", State="UNDEPLOY"),))
    model = ModelRecord(
        handle="m",
        desired="UNDEPLOY",
        action="withdraw",
        status="FAIL",
        reason="no",
        rollback_failure="neither",
        version="1",
    )
    record = Record(deployment=deployment, digest="x", phase=Phase.DONE, models=[model], started=150.0, ended=160.0)
    result = made(record=record)["DeploymentResult"]
    assert (result["DeploymentStatus"], result["DeploymentStatusMessage"]) == ("FAIL", "m: no")
    assert result["DeploymentModels"] == [
        {
            "ModelHandle": "m",
            "ModelName": "m",
            "ModelVersion": "1",
            "DesiredState": "UNDEPLOY",
            "State": "DEPLOY",
            "Status": "FAIL",
            "StatusReason": "no",
            "RollbackFailureReason": "neither",
        }
    ]
    under_way = record.model_copy(update={"phase": Phase.CHANGING, "ended": None})
    assert made(record=under_way)["DeploymentResult"]["DeploymentStatus"] == "INPROGRESS"


async def test_after_an_outage_only_the_latest_comes() -> None:
    broker = MemoryBroker()
    bus, count = MemoryBus(broker), 0
    metrics = Metrics(CollectorRegistry())

    async def make() -> bytes:
        nonlocal count
        count += 1
        return str(count).encode()

    sender = LatestSender(make, over_bus(bus, "t"), 3600.0, metrics)
    running = asyncio.create_task(sender.run())
    await until(lambda: broker.published == [("t", b"1")])
    broker.online = False
    for wanted in range(2, 8):
        sender.now()
        await until(lambda wanted=wanted: count == wanted)
    broker.online = True
    await until(lambda: len(broker.published) == 2)
    sender.now()
    await until(lambda: broker.published[-1] == ("t", b"8"))
    assert broker.published == [("t", b"1"), ("t", b"7"), ("t", b"8")]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_one_that_is_refused_ends_nothing() -> None:
    sent = 0

    async def make() -> bytes:
        return b"x"

    async def send(_payload: bytes) -> None:
        nonlocal sent
        sent += 1
        if sent == 1:
            raise BusError("refused")

    sender = LatestSender(make, send, 3600.0, Metrics(CollectorRegistry()))
    running = asyncio.create_task(sender.run())
    await until(lambda: sent == 1)
    sender.now()
    await until(lambda: sent == 2)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
