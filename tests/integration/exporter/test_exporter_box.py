"""The exporter beside what it is made for: our services as processes, Triton, a Docker Engine, drift."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.exporter_rig import Changing, Process, answers, exporting, peer, until
from tests.support.leftovers import engine_in_use
from tests.support.ports import free_ports
from tests.support.triton_server import TritonServer
from tests.support.variables import missing
from tests.support.waiting import HANG_S

MODELS = {"name": "surface-defect", "version": "1", "wanted": "1", "detail": "", "refused": None}


@pytest.fixture
def services(tmp_path: Path) -> Iterator[dict[str, Process]]:
    """A forwarder and a topic-bridge, whose peers are all away."""
    forwarder, bridge, broker, inference = free_ports(4)
    evidence = tmp_path / "evidence"
    evidence.mkdir()
    document = {
        "bus": {"port": broker},
        "spool": {"folder": str(tmp_path / "spool")},
        "forwarder": {
            "http": {"port": forwarder},
            "destinations": [{"name": "disk", "kind": "disk", "path": str(evidence)}],
        },
        "topic_bridge": {"http": {"port": bridge}, "inference_url": f"http://127.0.0.1:{inference}"},
    }
    found = {
        "forwarder": Process("forwarder", tmp_path, document),
        "topic-bridge": Process("topic_bridge", tmp_path, document),
    }
    for each in found.values():
        each.start()
    try:
        yield found
    finally:
        for each in found.values():
            each.end(signal.SIGKILL)


async def test_our_services_are_joined_and_a_dead_one_is_absent(services: dict[str, Process], tmp_path: Path) -> None:
    urls = {name: each.url for name, each in services.items()}
    desired = {"components": {"forwarder": "9.9.9", "topic-bridge": "0.1.0"}}
    async with exporting(tmp_path, services=urls, desired=desired) as scraper:

        async def joined() -> bool:
            sources = [await scraper.up(name) for name in services]
            drifts = [await scraper.value("lineside_drift", kind="component", name=name) for name in services]
            return (sources, drifts) == ([1, 1], [1, 0])

        await until(joined, lambda: scraper.exporter.log)
        text = await scraper.text()
        assert text.count("# TYPE python_info gauge\n") == 1
        for name in (*services, "exporter"):
            assert f'python_info{{service="{name}",' in text
        states = {
            name: await scraper.value(
                f"lineside_{name.replace('-', '_')}_connection_state", service=name, connection=link, state="ONLINE"
            )
            for name, link in (("forwarder", "spool"), ("topic-bridge", "bus"))
        }
        assert states == {"forwarder": 1, "topic-bridge": 0}
        info = {"kind": "component", "name": "forwarder", "desired": "9.9.9", "actual": "0.1.0"}
        assert await scraper.value("lineside_drift_info", **info, why="another version runs") == 1
        services["forwarder"].end(signal.SIGKILL)

        async def absent() -> bool:
            now = await scraper.text()
            assert 'python_info{service="topic-bridge",' in now
            gone = 'service="forwarder"' not in now and 'name="forwarder"' not in now
            return gone and await scraper.up("forwarder") == 0

        await until(absent, lambda: scraper.exporter.log)
        services["forwarder"].start()
        await until(joined, lambda: scraper.exporter.log)
        # One that hangs is as absent as one that is dead, and comes back too.
        services["forwarder"].send(signal.SIGSTOP)
        await until(absent, lambda: scraper.exporter.log)
        services["forwarder"].send(signal.SIGCONT)
        await until(joined, lambda: scraper.exporter.log)


async def test_promtool_has_nothing_to_say_but_of_tritons_own_names(
    services: dict[str, Process], triton_server: TritonServer, tmp_path: Path
) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        missing("promtool", "promtool is not on PATH (Debian: apt install prometheus)")
    urls = {name: each.url for name, each in services.items()}
    triton = {"url": triton_server.http, "metrics_url": f"http://127.0.0.1:{triton_server.metrics_port}"}
    sources = (*services, "host", "triton", "triton-models")
    async with exporting(tmp_path, services=urls, triton=triton, paths=[str(tmp_path)], timeout_s=5.0) as scraper:

        async def joined() -> bool:
            return {await scraper.up(name) for name in sources} == {1}

        await until(joined, lambda: scraper.exporter.log)
        done = await asyncio.to_thread(
            subprocess.run,
            [promtool, "check", "metrics"],
            input=await scraper.text(),
            capture_output=True,
            text=True,
            check=False,
            timeout=HANG_S,
        )
        said = (done.stdout + done.stderr).splitlines()
        assert [line for line in said if not line.startswith("nv_")] == []
        assert said, "Triton's own names are not what promtool wants: it did look"


async def test_triton_and_its_models(triton_server: TritonServer, tmp_path: Path) -> None:
    triton = {"url": triton_server.http, "metrics_url": f"http://127.0.0.1:{triton_server.metrics_port}"}
    async with exporting(tmp_path, triton=triton, timeout_s=5.0) as scraper, httpx.AsyncClient() as client:

        async def shown() -> bool:
            return await scraper.up("triton") == 1 and await scraper.up("triton-models") == 1

        await until(shown, lambda: scraper.exporter.log)
        listed = (await client.post(f"{triton_server.http}/v2/repository/index")).json()
        said = await scraper.samples()
        ready = {
            (dict(labels)["model"], dict(labels)["version"]): value
            for (name, labels), value in said.items()
            if name == "lineside_triton_model_ready"
        }
        assert ready == {(each["name"], each.get("version", "")): each.get("state") == "READY" for each in listed}
        assert 1 in ready.values()
        counted = {name for name, _ in said if name.startswith("lineside_triton_model_")}
        assert "lineside_triton_model_stage_seconds_total" in counted
        assert any(name.startswith("nv_") and ("service", "triton") in labels for name, labels in said)


async def test_drift_follows_what_the_inference_service_says(tmp_path: Path) -> None:
    said = Changing(answers(""))

    def says(**fields: Any) -> None:
        said.behaviour = answers(json.dumps({"models": [MODELS | fields]}))

    says()
    async with peer(said) as url, exporting(tmp_path, services={"inference": url}) as scraper:

        async def drifts() -> float | None:
            return await scraper.value("lineside_drift", kind="model", name="surface-defect")

        async def is_well() -> bool:
            return await drifts() == 0

        async def is_told() -> bool:
            info = {"kind": "model", "name": "surface-defect", "desired": "2", "actual": "1"}
            return await scraper.value("lineside_drift_info", **info, why="load failed: no such file") == 1

        await until(is_well, lambda: scraper.exporter.log)
        says(wanted="2", refused={"version": "2", "reason": "load failed: no such file"})
        await until(is_told, lambda: scraper.exporter.log)
        assert await drifts() == 1
        says(version="2", wanted="2")
        await until(is_well, lambda: scraper.exporter.log)
        said.behaviour = answers("{}")

        async def is_unknown() -> bool:
            return await drifts() is None and await scraper.up("models") == 0

        await until(is_unknown, lambda: scraper.exporter.log)


def docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=HANG_S, check=False)


@pytest.fixture
def container() -> Iterator[tuple[str, str]]:
    """A running container with a label of this test's own: its name and the label."""
    if shutil.which("docker") is None or docker("version").returncode != 0:
        missing("docker", "no Docker Engine answers")
    image = os.environ.get("PYTHON_IMAGE", "python:3.13-slim-trixie")
    if docker("image", "inspect", image).returncode != 0:
        missing("docker", f"the engine does not hold {image}")
    name = f"lineside-test-{uuid.uuid4().hex[:12]}"
    label = f"lineside.test={name}"
    health = ("--health-cmd", "test -e /tmp/well", "--health-interval", "1s", "--health-retries", "1")
    sleeping = ("--entrypoint", "sleep", image, "600")
    with engine_in_use():
        begin = ("run", "-d", "--init", "--network", "none", "--name", name, "--label", label, *health)
        started = docker(*begin, *sleeping)
        assert started.returncode == 0, started.stderr
        try:
            yield name, label
        finally:
            docker("rm", "-f", name)


def socket_of_the_engine() -> str:
    context = docker("context", "inspect", "--format", "{{.Endpoints.docker.Host}}").stdout.strip()
    return (os.environ.get("DOCKER_HOST") or context).removeprefix("unix://")


async def test_the_containers_of_a_real_engine(container: tuple[str, str], tmp_path: Path) -> None:
    name, label = container
    section = {"socket": socket_of_the_engine(), "label": label}
    async with exporting(tmp_path, docker=section, timeout_s=10.0) as scraper:

        async def state(which: str) -> float | None:
            return await scraper.value("lineside_container_state", container=name, state=which)

        async def is_ill() -> bool:
            return await scraper.value("lineside_container_health", container=name, health="unhealthy") == 1

        async def is_well() -> bool:
            return await scraper.value("lineside_container_health", container=name, health="healthy") == 1

        async def is_paused() -> bool:
            return await state("paused") == 1 and await state("running") == 0

        async def has_ended() -> bool:
            return await state("exited") == 1

        async def is_gone() -> bool:
            return await state("exited") is None and await scraper.up("containers") == 1

        await until(is_ill, lambda: scraper.exporter.log)
        assert await state("running") == 1
        assert await scraper.value("lineside_container_restarts", container=name) == 0
        shown = {dict(labels)["container"] for metric, labels in await scraper.samples() if "_container_" in metric}
        assert shown == {name}, "no other container of this machine"
        docker("exec", name, "touch", "/tmp/well")
        await until(is_well, lambda: scraper.exporter.log)
        docker("pause", name)
        await until(is_paused, lambda: scraper.exporter.log)
        docker("unpause", name)
        docker("kill", name)
        await until(has_ended, lambda: scraper.exporter.log)
        docker("rm", "-f", name)
        await until(is_gone, lambda: scraper.exporter.log)


async def test_an_engine_that_is_not_there_is_a_source_that_is_away(tmp_path: Path) -> None:
    async with exporting(tmp_path, docker={"socket": str(tmp_path / "docker.sock")}) as scraper:

        async def told() -> bool:
            link = await scraper.connection("containers")
            return link["detail"] == "No such file or directory" and await scraper.up("containers") == 0

        await until(told, lambda: scraper.exporter.log)
