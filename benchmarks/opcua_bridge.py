"""The whole bridge as a process in the OPC UA comparison, and its requests as another client of the bus sees them."""

import asyncio
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import paho.mqtt.client as mqtt
import yaml
from opcua_peers import PATIENCE_S, Server, beside, give_core
from opcua_settings import bridge_settings
from paho.mqtt.enums import CallbackAPIVersion
from prometheus_client.parser import text_string_to_metric_families
from report import free_ports

from lineside.contract import REQUEST_TOPIC, Request, parse_request, utc_now
from lineside_bench.peers.broker import BrokerKind, answers, prepare

_PREFIX = "lineside_opcua_bridge_"


@contextmanager
def broker(work: Path) -> Iterator[int]:
    """Run the line's broker; yield its port."""
    (port,) = free_ports(1)
    plan = prepare(BrokerKind.auto, port=port, folder=work / "broker")
    with (work / "broker.log").open("wb") as written, beside():
        running = subprocess.Popen(plan.argv, stdout=written, stderr=written)
    try:
        until = time.monotonic() + PATIENCE_S
        while why := asyncio.run(answers(port)):
            if time.monotonic() > until:
                raise SystemExit(f"the broker does not answer: {why}")
            time.sleep(0.05)
        yield port
    finally:
        running.terminate()
        running.wait(10)


class Bridge:
    """The opcua-bridge, watching all tags of a server by windows; `counts` are its own metrics."""

    def __init__(
        self, server: Server, nodes: int, rate_hz: float, *, mqtt_port: int, work: Path, edges: int = 0
    ) -> None:
        (http,) = free_ports(1)
        section = bridge_settings(server.endpoint, server.uri, nodes=nodes, rate_hz=rate_hz, edges=edges)
        document = {
            "bus": {"port": mqtt_port, "client_id_prefix": f"bench-{http}"},
            "log": {"level": "warning"},
            "opcua_bridge": section | {"http": {"port": http}},
        }
        config = work / f"bridge-{http}.yaml"
        config.write_text(yaml.safe_dump(document), encoding="utf-8")
        self._log = work / f"bridge-{http}.log"
        self._url = f"http://127.0.0.1:{http}"
        argv = [sys.executable, "-m", "lineside_opcua_bridge", str(config)]
        with self._log.open("wb") as written:
            self._process = subprocess.Popen(argv, stdout=written, stderr=written)
        self.pid = self._process.pid
        self._wait(nodes)
        give_core(self.pid)

    def _wait(self, nodes: int) -> None:
        until = time.monotonic() + PATIENCE_S
        while self._get("/readyz") is None or self.counts()["received"] < nodes:
            if self._process.poll() is not None or time.monotonic() > until:
                self.close()
                raise SystemExit(f"the bridge is not ready:\n{self._log.read_text(errors='replace')[-3000:]}")
            time.sleep(0.1)

    def _get(self, path: str) -> str | None:
        try:
            with urllib.request.urlopen(self._url + path, timeout=PATIENCE_S) as answer:  # noqa: S310 - on loopback
                return answer.read().decode()
        except (urllib.error.URLError, OSError):
            return None

    def counts(self) -> dict[str, int]:
        """Return the values that came, and how often it reports that some did not."""
        totals: dict[str, float] = {}
        for family in text_string_to_metric_families(self._get("/metrics") or ""):
            for sample in family.samples:
                totals[sample.name] = totals.get(sample.name, 0.0) + sample.value
        return {
            "received": int(totals.get(f"{_PREFIX}values_total", 0)),
            "gaps": int(
                totals.get(f"{_PREFIX}lost_messages_total", 0) + totals.get(f"{_PREFIX}server_overflow_total", 0)
            ),
            "repeated": 0,
        }

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)


@dataclass(frozen=True)
class Seen:
    """A request of an edge: milliseconds from the source timestamp until it was published, and until it came."""

    published_ms: float
    arrived_ms: float


class Requests:
    """A client of the bus that keeps every request and when it came."""

    def __init__(self, port: int) -> None:
        self._seen: list[tuple[datetime, Request]] = []
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="bench-requests")
        self._client.on_connect = lambda client, *_: client.subscribe(REQUEST_TOPIC)
        self._client.on_message = self._message
        self._client.connect("127.0.0.1", port)

    def __enter__(self) -> Self:
        self._client.loop_start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def clear(self) -> None:
        self._seen.clear()

    def edges(self) -> list[Seen]:
        """Return the requests of edges; those of windows are left out."""
        found = []
        for arrived, request in list(self._seen):
            if (source := request.time.source) and (request.context.station or "").startswith("edge-"):
                found.append(Seen(_ms(source, request.time.published), _ms(source, arrived)))
        return found

    def _message(self, _client: Any, _data: Any, message: mqtt.MQTTMessage) -> None:
        self._seen.append((utc_now(), parse_request(message.payload)))


def _ms(first: datetime, last: datetime) -> float:
    return (last - first).total_seconds() * 1000
