"""Every panel's query and every alert rule, by a real Prometheus that scrapes the exporter of a running line.

This machine has no GPU, and the line runs without containers: those two parts of the exporter's metrics come from the
exporter's own code with values given here, over HTTP as a second target. All other series are the line's own.
"""

import asyncio
import json
import math
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
import pytest_asyncio
import yaml
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from lineside_bench.options import Options
from lineside_bench.processes.ports import DEFAULTS
from lineside_bench.runner.simulated_line import SimulatedLine
from lineside_exporter.device import figures
from lineside_exporter.device.figures import Figures, Gpu
from lineside_exporter.sources import containers
from lineside_exporter.sources.containers import Container
from tests.support.paths import ROOT
from tests.support.ports import free_port
from tests.support.variables import missing
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

DOCKER = ROOT / "docker"
HTTP = httpx.Timeout(10.0)

DEVICE = Figures(
    gpus=(
        Gpu(
            index=0,
            load=0.4,
            memory_used=2 << 30,
            memory_total=8 << 30,
            temperatures={"gpu": 61.0},
            power={"board": 54.0},
            throttled={"thermal": False, "power": False},
        ),
    )
)
CONTAINERS = [
    Container.model_validate({"Name": f"/{name}", "RestartCount": 0, "State": {"Status": "running"}})
    for name in ("inference", "broker")
]


class Elsewhere(Collector):
    """What the exporter would show of a GPU and of containers."""

    def collect(self) -> Iterator[Metric]:
        yield from figures.families(DEVICE)
        yield from containers.families(CONTAINERS)


class Prometheus:
    """A running Prometheus, asked over its API."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._client = httpx.AsyncClient(base_url=self.url, timeout=HTTP, trust_env=False)

    async def close(self) -> None:
        await self._client.aclose()

    async def ready(self) -> bool:
        with suppress(httpx.HTTPError):
            return (await self._client.get("/-/ready")).is_success
        return False

    async def query(self, expr: str) -> list[dict[str, Any]]:
        """Return the series that an expression has now; those without a number are none."""
        answer = (await self._client.post("/api/v1/query", data={"query": expr})).json()
        assert answer["status"] == "success", f"{expr}: {answer.get('error')}"
        return [one for one in answer["data"]["result"] if not math.isnan(float(one["value"][1]))]

    async def rules(self) -> list[dict[str, Any]]:
        groups = (await self._client.get("/api/v1/rules")).json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]


def expressions() -> list[tuple[str, str, str]]:
    """Return dashboard, panel and expression of every query."""
    found = []
    for file in sorted((DOCKER / "grafana" / "dashboards").glob("*.json")):
        for panel in json.loads(file.read_text())["panels"]:
            found += [(file.stem, panel["title"], target["expr"]) for target in panel["targets"]]
    return found


def alert(name: str) -> str:
    groups = yaml.safe_load((DOCKER / "prometheus" / "rules" / "lineside.yaml").read_text())["groups"]
    return str(next(rule["expr"] for group in groups for rule in group["rules"] if rule.get("alert") == name))


def substituted(expr: str) -> str:
    """Return a panel's expression as Grafana sends it where every variable says All."""
    for name in ("thing", "service", "model", "trigger", "destination"):
        expr = expr.replace(f'"${name}"', '".*"')
    expr = expr.replace("$__rate_interval", "5s")
    assert "$" not in expr, f"a variable that no dashboard has: {expr}"
    return expr


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def line() -> AsyncIterator[SimulatedLine]:
    """A line on which parts come for as long as it is there."""
    ports = {name: 19330 + number for number, name in enumerate(DEFAULTS)}
    async with SimulatedLine(Options(parts=None, rate=10, seed=12, port_defaults=ports)) as line:
        feeding = asyncio.create_task(line.run(), name="feed parts")
        yield line
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def prometheus(line: SimulatedLine, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Prometheus]:
    """A Prometheus with the product's configuration, but every second, and without an Alertmanager."""
    program = shutil.which("prometheus")
    if program is None:
        missing("promtool", "prometheus, of promtool's package, is not on PATH (Debian: apt install prometheus)")
    registry = CollectorRegistry()
    registry.register(Elsewhere())
    beside, thread = start_http_server(0, "127.0.0.1", registry=registry)
    folder, port = tmp_path_factory.mktemp("prometheus"), free_port()
    document = yaml.safe_load((DOCKER / "prometheus" / "prometheus.yml").read_text())
    document["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    document["rule_files"] = [str(DOCKER / "prometheus" / "rules" / "*.yaml")]
    del document["alerting"]
    box = next(job for job in document["scrape_configs"] if job["job_name"] == "lineside")
    box["static_configs"][0]["targets"] = [line.endpoints["exporter"].removeprefix("http://")]
    labels = {**box["static_configs"][0]["labels"], "service": "exporter"}
    box["static_configs"].append({"targets": [f"127.0.0.1:{beside.server_port}"], "labels": labels})
    document["scrape_configs"] = [box]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(document))
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            program,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            stdout=log,
            stderr=log,
        )
    found = Prometheus(port)
    try:
        await until(found.ready, (folder / "log").read_text)
        yield found
    finally:
        await found.close()
        process.terminate()
        await process.wait()
        beside.shutdown()
        beside.server_close()
        thread.join()


async def test_every_query_of_every_panel_returns_data(prometheus: Prometheus) -> None:
    missing = {(where, panel, substituted(expr)) for where, panel, expr in expressions()}
    assert len(missing) > 60

    async def all_have_data() -> bool:
        for one in sorted(missing):
            if await prometheus.query(one[2]):
                missing.discard(one)
        return not missing

    await until(all_have_data, lambda: "\n".join(" / ".join(one) for one in sorted(missing)))


async def test_a_query_of_what_is_not_there_returns_none(prometheus: Prometheus) -> None:
    assert await prometheus.query("up") != []
    assert await prometheus.query("lineside_inference_verdict_total") == []


async def test_no_rule_has_an_evaluation_error_and_a_sound_line_raises_no_alarm(prometheus: Prometheus) -> None:
    rules: list[dict[str, Any]] = []

    async def evaluated() -> bool:
        rules[:] = await prometheus.rules()
        return bool(rules) and all(rule["health"] != "unknown" for rule in rules)

    await until(evaluated, lambda: rules)
    assert {rule["name"]: rule.get("lastError", "") for rule in rules if rule["health"] != "ok"} == {}
    assert [rule["name"] for rule in rules if rule.get("state") == "firing"] == []
    assert any(rule["type"] == "recording" for rule in rules)


async def test_a_dead_peer_makes_its_alerts_true_until_it_is_back(line: SimulatedLine, prometheus: Prometheus) -> None:
    away, down = alert("LinesidePeerAway"), alert("LinesideServiceDown")

    async def shown(expr: str, **labels: str) -> bool:
        return any(labels.items() <= one["metric"].items() for one in await prometheus.query(expr))

    async def sound() -> bool:
        return not await prometheus.query(away) and not await prometheus.query(down)

    await until(sound, lambda: "an alert is true before anything died")
    await line.processes["triton"].stop()
    try:
        await until(lambda: shown(away, service="inference", connection="triton"), lambda: "no LinesidePeerAway")
        await until(lambda: shown(down, source="triton"), lambda: "no LinesideServiceDown")
        assert not await shown(away, service="exporter"), "the exporter's own sources have another alert"
        gone = "nv_inference_count"
        await until(lambda: shown_none(prometheus, gone), lambda: f"{gone} is stale, not absent")
    finally:
        await line.processes["triton"].start()
    await until(sound, lambda: "an alert is true after all is back")


async def shown_none(prometheus: Prometheus, expr: str) -> bool:
    return not await prometheus.query(expr)
