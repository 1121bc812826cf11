"""The doctor finds a bridge that may subscribe and hears nothing, which no answer of a real mosquitto tells."""

import asyncio
import contextlib
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from lineside.bus.faults import MessageFaults
from lineside.bus.mqtt import MqttBus
from lineside.checks import Mark
from lineside.connections import Connection
from lineside.contract import RESULT_TOPIC, Result, parse_request, to_json, uuid7
from lineside.settings import BusSettings, HttpSettings
from lineside_opcua_bridge.doctor import results
from lineside_opcua_bridge.metrics import Metrics
from lineside_opcua_bridge.results import ResultRouter
from lineside_opcua_bridge.station.pending import PendingRequests
from tests.support.mqtt_broker import MOSQUITTO
from tests.support.ports import free_port
from tests.support.waiting import HANG_S, until

ACCOUNTS = ("opcua-bridge", "topic-bridge", "operator")


@pytest.fixture
def broker(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[int]:
    """A mosquitto with accounts; the opcua-bridge's may read results where the test's parameter says so."""
    if not MOSQUITTO:
        pytest.skip("mosquitto is not installed")
    port = free_port()
    (tmp_path / "passwd").write_text("".join(f"{each}:of {each}\n" for each in ACCOUNTS))
    subprocess.run(["mosquitto_passwd", "-U", tmp_path / "passwd"], check=True)
    rights = f"topic read {RESULT_TOPIC}" if request.param else "topic write local/#"
    (tmp_path / "acl").write_text(
        f"user opcua-bridge\n{rights}\n"
        "user topic-bridge\ntopic readwrite local/#\nuser operator\ntopic readwrite local/#\n"
    )
    (tmp_path / "conf").write_text(
        f"user root\nlistener {port} 127.0.0.1\nallow_anonymous false\npassword_file {tmp_path / 'passwd'}\n"
        f"acl_file {tmp_path / 'acl'}\n"
    )
    process = subprocess.Popen([MOSQUITTO, "-c", tmp_path / "conf"], stderr=subprocess.DEVNULL)
    yield port
    process.terminate()
    process.wait(HANG_S)


def settings(folder: Path, port: int, account: str) -> BusSettings:
    (folder / account).write_text(f"of {account}\n")
    return BusSettings(port=port, username=account, password_file=folder / account)


@contextlib.contextmanager
def metrics(registry: CollectorRegistry) -> Iterator[HttpSettings]:
    """Serve a registry as a service does."""

    class Serve(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = generate_latest(registry)
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Serve) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield HttpSettings(port=server.server_address[1])
        server.shutdown()


@contextlib.asynccontextmanager
async def line(folder: Path, port: int, registry: CollectorRegistry) -> AsyncIterator[None]:
    """Run who answers requests, and the bridge's end that takes results."""
    links = [Connection(name, "", first_s=0.02) for name in ("topic-bridge", "opcua-bridge")]
    answering = MqttBus(settings(folder, port, "topic-bridge"), client="topic-bridge", connection=links[0])
    listening = MqttBus(settings(folder, port, "opcua-bridge"), client="opcua-bridge", connection=links[1])
    requests, results = answering.subscribe("local/inference/request"), listening.subscribe(RESULT_TOPIC)
    taker = ResultRouter(PendingRequests(), set(), Metrics(registry))

    async def answer() -> None:
        async for message in requests:
            asked = parse_request(message.payload)
            result = Result(
                id=uuid7(), request_id=asked.id, status="expired", verdict="unknown", reason="?", context=asked.context
            )
            await answering.publish(RESULT_TOPIC, to_json(result))
            message.ack()

    async with answering, listening:
        tasks = [
            asyncio.create_task(answer()),
            asyncio.create_task(MessageFaults("x", registry).each(results, taker.take)),
        ]
        await until(lambda: all(link.is_online for link in links))
        yield
        for task in tasks:
            task.cancel()


@pytest.mark.parametrize("broker", [True, False], indirect=True, ids=["may read", "may not"])
async def test_a_bridge_that_is_online_and_hears_nothing_is_found(
    broker: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    may_read = "may read" in request.node.name
    registry = CollectorRegistry()
    with metrics(registry) as served:
        async with line(tmp_path, broker, registry):
            check = await results.check(settings(tmp_path, broker, "operator"), served)
    assert (check.name, check.mark) == ("results heard", Mark.OK if may_read else Mark.FAIL)
    assert ("came to us and not to the opcua-bridge" in check.what) is not may_read


async def test_a_bridge_that_does_not_run_here_is_not_judged() -> None:
    check = await results.check(BusSettings(), HttpSettings(port=free_port()))
    assert check.mark is Mark.SKIP
