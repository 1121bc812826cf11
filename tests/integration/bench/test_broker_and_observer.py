import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import paho.mqtt.publish
import pytest
import trustme

from lineside.bus import tls
from lineside.contract import REQUEST_TOPIC, RESULT_TOPIC, CameraSource, ErrorReport, Request, Result, to_json
from lineside.settings import BusTlsSettings
from lineside_bench.errors import BenchError
from lineside_bench.peers import broker
from lineside_bench.processes.process import Process, clean_environment
from lineside_bench.runner.mqtt_observer import MqttObserver
from tests.support.waiting import HANG_S, until

PORT = 18320
KINDS = [
    pytest.param(
        kind,
        marks=pytest.mark.skipif(
            kind is broker.BrokerKind.mosquitto and broker.find_mosquitto() is None, reason="mosquitto is not installed"
        ),
    )
    for kind in (broker.BrokerKind.mosquitto, broker.BrokerKind.amqtt)
]


@pytest.fixture(params=KINDS)
async def running(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[broker.Broker, Process]]:
    chosen = broker.prepare(request.param, port=PORT, folder=tmp_path / "broker")

    async def ready() -> str | None:
        return await broker.answers(PORT)

    process = Process("broker", chosen.argv, env=clean_environment(), log=tmp_path / "broker.log", ready=ready)
    await process.start()
    yield chosen, process
    await process.stop()


async def publish(topic: str, payload: bytes) -> None:
    await asyncio.to_thread(paho.mqtt.publish.single, topic, payload, qos=1, hostname="127.0.0.1", port=PORT)


def exchange() -> tuple[Request, Result]:
    request = Request.new(model="m", source=CameraSource(camera="station-1"))
    result = Result(id="r-1", request_id=request.id, status="ok", verdict="pass", reason="all good")
    return request, result


async def test_requests_results_and_errors_are_seen(running: tuple[broker.Broker, Process]) -> None:
    chosen, _process = running
    request, result = exchange()
    async with MqttObserver(port=PORT, protocol=chosen.protocol) as observer:
        await publish(REQUEST_TOPIC, to_json(request))
        await until(lambda: request.id in observer.exchanges())
        assert not observer.answered()
        await publish(RESULT_TOPIC, to_json(result))
        await until(observer.answered)
        report = ErrorReport(id="e-1", code="not-json", reason="no", topic=REQUEST_TOPIC, excerpt="{")
        await publish(f"{RESULT_TOPIC}/error", to_json(report))
        await until(lambda: observer.errors["not-json"] == 1)
        await publish(f"{RESULT_TOPIC}/error", b"")
        await publish(f"{RESULT_TOPIC}/error", b'{"made": "up"}')
        await until(lambda: observer.errors.total() == 2)
        assert observer.errors["no-error-report"] == 1
        readable, other = observer.error_reports
        assert readable == f"not-json: no (a message that begins '{{' on {REQUEST_TOPIC})"
        assert other.endswith("""it begins '{"made": "up"}'""")
        await publish(RESULT_TOPIC, b"{")
        await until(lambda: observer.unreadable == 1)
        seen = observer.exchanges()[request.id]
        assert seen.request == request
        assert [item.result for item in seen.results] == [result]
        assert observer.outages == []


async def test_the_observer_outlives_a_broker_that_is_killed(running: tuple[broker.Broker, Process]) -> None:
    chosen, process = running
    async with MqttObserver(port=PORT, protocol=chosen.protocol) as observer:
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        await until(lambda: process.restarts == 1)
        await process.until_ready(HANG_S)
        await until(lambda: len(observer.outages) == 1)
        request, _result = exchange()
        end = time.monotonic() + HANG_S
        while request.id not in observer.exchanges():  # the same message again until the observer is back
            assert time.monotonic() < end
            await publish(REQUEST_TOPIC, to_json(request))
        assert observer.outages[0].end is not None


async def test_a_broker_that_is_not_there_is_said(unused_tcp_port: int) -> None:
    assert "127.0.0.1" in str(await broker.answers(unused_tcp_port))


def test_insisting_on_a_missing_mosquitto_names_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "find_mosquitto", lambda: None)
    with pytest.raises(BenchError, match="--broker amqtt"):
        broker.prepare(broker.BrokerKind.mosquitto, port=PORT, folder=tmp_path)
    assert broker.prepare(broker.BrokerKind.auto, port=PORT, folder=tmp_path).kind is broker.BrokerKind.amqtt


@pytest.mark.skipif(broker.find_mosquitto() is None, reason="mosquitto is not installed")
async def test_a_broker_with_tls_is_watched_where_its_certificate_is_trusted(
    tmp_path: Path,
) -> None:
    ours, other = trustme.CA(), trustme.CA()
    chosen = broker.prepare(broker.BrokerKind.mosquitto, port=PORT, folder=tmp_path / "broker")
    certificate = ours.issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "broker.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "broker.key")
    for name, authority in (("ours", ours), ("other", other)):
        authority.cert_pem.write_to_path(tmp_path / f"{name}.pem")
    file = tmp_path / "broker" / "mosquitto.conf"
    file.write_text(f"{file.read_text()}certfile {tmp_path}/broker.pem\nkeyfile {tmp_path}/broker.key\n")
    said: dict[str, list[str | None]] = {"ours": [], "other": []}

    def observer(name: str) -> MqttObserver:
        context = tls.context(BusTlsSettings(ca_file=tmp_path / f"{name}.pem"), PORT)
        return MqttObserver(
            port=PORT, protocol="5", client_id=name, tls=context, on_change=said[name].append, wait=name == "ours"
        )

    async def ready() -> str | None:
        return None  # the observer waits for it

    process = Process("broker", chosen.argv, env=clean_environment(), log=tmp_path / "broker.log", ready=ready)
    await process.start()
    try:
        async with observer("ours"), observer("other"):
            await until(lambda: any("CERTIFICATE_VERIFY_FAILED" in (why or "") for why in said["other"]))
            assert said["ours"][-1] is None
            assert None not in said["other"]
    finally:
        await process.stop()
