"""The core of a line of processes: what each component gets of it and may do there, and who watches."""

import os
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lineside.contract import (
    OUTCOME_TOPIC,
    REQUEST_TOPIC,
    RESULT_TOPIC,
    CameraSource,
    ErrorReport,
    Request,
    Result,
    to_json,
)
from lineside.greengrass.client import Client
from lineside.greengrass.component import must_be_component
from lineside.greengrass.errors import Unauthorized
from lineside.greengrass.nucleus import ComponentNucleus
from lineside_bench.errors import BenchError
from lineside_bench.greengrass import line_core
from lineside_bench.greengrass.line_core import LineCore
from lineside_bench.processes.process import Process, clean_environment
from lineside_bench.runner.ipc_observer import IpcObserver
from tests.support.paths import ROOT
from tests.support.waiting import HANG_S, until

RECIPES = ROOT / "recipes"
SETTINGS = {
    "thing": "press-7",
    "bus": {"transport": "ipc"},
    "inference": {"http": {"port": 1}},
    "topic_bridge": {"http": {"port": 2}},
    "opcua_bridge": {"http": {"port": 3}},
    "forwarder": {"http": {"port": 4}},
    "exporter": {"http": {"port": 5}},
}


@pytest.fixture
async def running() -> AsyncIterator[tuple[LineCore, Process]]:
    with tempfile.TemporaryDirectory(prefix="gg-") as folder:
        core = line_core.prepare(SETTINGS, recipes=RECIPES, folder=Path(folder))

        async def ready() -> str | None:
            return await line_core.answers(core.socket)

        process = Process("nucleus", core.argv, env=clean_environment(), log=Path(folder) / "nucleus.log", ready=ready)
        await process.start()
        yield core, process
        await process.stop()


@contextmanager
def component(core: LineCore, service: str) -> Iterator[Client]:
    client = Client(must_be_component("a test", core.environments[service]))
    client.connect()
    try:
        yield client
    finally:
        client.close()


def publish(client: Client, topic: str, payload: bytes) -> None:
    message = client.shape("PublishMessage", binary_message=client.shape("BinaryMessage", message=payload))
    client.ask("PublishToTopic", topic=topic, publish_message=message).result(HANG_S)


@pytest.mark.parametrize("service", ["inference", "topic_bridge", "opcua_bridge", "forwarder", "exporter"])
async def test_a_component_has_the_lines_settings_and_its_own(running: tuple[LineCore, Process], service: str) -> None:
    core, _process = running
    with component(core, service) as client:
        found = {**ComponentNucleus(client).configuration()}
    found.pop("accessControl")
    assert found == {"thing": "press-7", "bus": {"transport": "ipc"}, service: SETTINGS[service]}


async def test_a_component_may_do_what_its_recipe_allows_on_this_thing(running: tuple[LineCore, Process]) -> None:
    core, _process = running
    with component(core, "opcua_bridge") as client:
        publish(client, REQUEST_TOPIC, b"{}")
        publish(client, OUTCOME_TOPIC, b"{}")
        publish(client, "lineside/press-7/status", b"{}")
        for topic in (RESULT_TOPIC, "lineside/press-8/status"):
            with pytest.raises(Unauthorized, match=topic):
                publish(client, topic, b"{}")


async def test_who_watches_sees_the_line_and_outlives_the_core(running: tuple[LineCore, Process]) -> None:
    core, process = running
    request = Request.new(model="m", source=CameraSource(camera="station-1"))
    result = Result(id="r-1", request_id=request.id, status="ok", verdict="pass", reason="all good")
    report = ErrorReport(id="e-1", code="not-json", reason="no", topic=REQUEST_TOPIC, excerpt="{")
    async with IpcObserver(core.observer) as observer:
        with component(core, "opcua_bridge") as asking, component(core, "topic_bridge") as answering:
            publish(asking, REQUEST_TOPIC, to_json(request))
            await until(lambda: request.id in observer.exchanges())
            assert not observer.answered()
            publish(answering, RESULT_TOPIC, to_json(result))
            await until(observer.answered)
            publish(answering, f"{RESULT_TOPIC}/error", to_json(report))
            await until(lambda: observer.errors["not-json"] == 1)
            publish(answering, RESULT_TOPIC, b"{")
            await until(lambda: observer.unreadable == 1)
        assert observer.exchanges()[request.id].request == request
        assert observer.outages == []
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        await until(lambda: len(observer.outages) == 1)
        await until(lambda: process.restarts == 1)
        await process.until_ready(HANG_S)
        await until(lambda: observer.outages[0].end is not None)
        again = Request.new(model="m", source=CameraSource(camera="station-1"))
        with component(core, "opcua_bridge") as asking:
            publish(asking, REQUEST_TOPIC, to_json(again))
        await until(lambda: again.id in observer.exchanges())


async def test_an_observer_without_a_core_says_why_it_cannot_watch(
    running: tuple[LineCore, Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    core, process = running
    await process.stop()
    monkeypatch.setattr("lineside_bench.runner.ipc_observer.CONNECT_S", 0.5)
    with pytest.raises(BenchError, match="there is no socket"):
        await IpcObserver(core.observer).__aenter__()


def test_a_folder_that_is_too_deep_for_a_socket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="at most 107"):
        line_core.prepare(SETTINGS, recipes=RECIPES, folder=tmp_path / ("d" * 100))
