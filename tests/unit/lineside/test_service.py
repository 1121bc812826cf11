import asyncio
import io
import json
import logging
import re
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
import structlog

from lineside import telemetry
from lineside.service import Service
from tests.support.waiting import HANG_S, until


@asynccontextmanager
async def nothing() -> AsyncIterator[None]:
    yield


@asynccontextmanager
async def living(service: Service, body=nothing) -> AsyncIterator[httpx.AsyncClient]:
    app = service.app(body)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client,
    ):
        yield client


async def test_ready_only_while_every_required_connection_is_online() -> None:
    service = Service("test")
    needed = service.connection("mqtt", "mqtt://x")
    service.connection("extra", "y", required=False)
    async with living(service) as client:
        answer = await client.get("/readyz")
        assert answer.status_code == 503
        assert [link["state"] for link in answer.json()["connections"]] == ["CONNECTING", "CONNECTING"]
        needed.online()
        assert (await client.get("/readyz")).status_code == 200
        needed.backoff("gone")
        assert (await client.get("/readyz")).json()["connections"][0]["detail"] == "gone"
    assert not service.is_ready


async def test_a_connections_state_is_the_same_in_readyz_metrics_and_log() -> None:
    service = Service("test")
    link = service.connection("mqtt", "mqtt://x")
    changes = {"ONLINE": link.online, "BACKOFF": lambda: link.backoff("gone"), "PAUSED": lambda: link.paused("off")}
    async with living(service) as client:
        for state, change in changes.items():
            with structlog.testing.capture_logs() as logs:
                change()
            assert [entry["state"] for entry in logs if entry["event"] == "connection"] == [state]
            assert (await client.get("/readyz")).json()["connections"][0]["state"] == state
            metrics = (await client.get("/metrics")).text
            assert re.findall(r'^lineside_test_connection_state\{.*state="(\w+)"\} 1\.0$', metrics, re.MULTILINE) == [
                state
            ]


async def test_alive_until_a_background_task_ends_by_itself() -> None:
    service = Service("test")
    stopped = asyncio.Event()
    service.on_failure = stopped.set
    fall = asyncio.Event()

    async def work() -> None:
        await fall.wait()
        raise ValueError("a bug")

    @asynccontextmanager
    async def body() -> AsyncIterator[None]:
        service.spawn("worker", work())
        yield

    async with living(service, body) as client:
        assert (await client.get("/livez")).status_code == 200
        fall.set()
        async with asyncio.timeout(HANG_S):
            await stopped.wait()
        answer = await client.get("/livez")
        assert answer.status_code == 500
        assert "task worker ended: ValueError('a bug')" in answer.json()["reason"]


async def test_metrics_are_prometheus_text() -> None:
    service = Service("test")
    service.connection("mqtt", "x")
    async with living(service) as client:
        answer = await client.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain")
        assert 'lineside_test_connection_state{connection="mqtt",state="CONNECTING"} 1.0' in answer.text


def test_log_lines_are_json_off_a_terminal_and_carry_the_request() -> None:
    stream = io.StringIO()
    telemetry.configure("test", stream=stream)
    with telemetry.about_request("r-1"):
        structlog.get_logger("lineside.test").info("judged", verdict="pass")
    logging.getLogger("elsewhere").warning("from a library")
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert (first["event"], first["request_id"], first["service"], first["verdict"]) == (
        "judged",
        "r-1",
        "test",
        "pass",
    )
    assert (second["event"], second["level"]) == ("from a library", "warning")
    assert "request_id" not in second


async def test_scrapes_at_the_same_time_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, made = threading.Event(), []

    def slowly(_registry: object) -> bytes:
        made.append(1)
        go_on.wait(HANG_S)
        return b"text %d" % len(made)

    monkeypatch.setattr("lineside.service.generate_latest", slowly)
    async with living(Service("test")) as client:
        scrapes = [asyncio.create_task(client.get("/metrics")) for _ in range(5)]
        await until(lambda: made)
        scrapes[0].cancel()  # who asked first goes away
        for _ in range(20):
            await asyncio.sleep(0)
        go_on.set()
        assert {(await scrape).text for scrape in scrapes[1:]} == {"text 1"}
        assert (await client.get("/metrics")).text == "text 2", "the next one is made anew"


async def test_a_failure_ends_the_service_unless_it_is_stopping_anyway() -> None:
    failing, stopping = Service("test"), Service("test")
    ended: list[str] = []
    failing.on_failure, stopping.on_failure = (lambda: ended.append("failing")), (lambda: ended.append("stopping"))
    async with living(failing) as client:
        failing.fail("no connection")
        failing.fail("and more", status=2)
        assert (await client.get("/livez")).json() == {"alive": False, "reason": "no connection"}
    assert failing.status == 1
    async with living(stopping):
        stopping.drain()
        stopping.fail("no connection")
    assert (stopping.failed, stopping.status, set(ended)) == (None, 0, {"failing"})
