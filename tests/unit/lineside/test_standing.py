"""How a service tells that it stands."""

import asyncio
import contextlib

import pytest

from lineside import __version__
from lineside.connections import Connection
from lineside.contract import PolicyStanding, ServiceStatus, parse_status
from lineside.errors import BusError
from lineside.service import Service
from lineside.standing import status_of, tell
from tests.support.waiting import until


def link(name: str, detail: str = "", *, online: bool = True) -> Connection:
    made = Connection(name, "opc.tcp://plc:4840/" + "x" * 100)
    made.online(detail) if online else made.backoff(detail or "refused")
    return made


def test_what_does_not_work_comes_first_with_its_reason() -> None:
    links = [link("bus"), link("opcua", "no route to host", online=False)]
    status = parse_status(status_of("opcua_bridge", [it.snapshot() for it in links], is_ready=False, max_bytes=6144))
    assert [(it.name, it.state, it.detail) for it in status.connections] == [
        ("opcua", "BACKOFF", "no route to host"),
        ("bus", "ONLINE", ""),
    ]
    assert (status.ready, status.omitted) == (False, 0)


def test_a_service_says_its_version_and_its_settings() -> None:
    payload = status_of("opcua_bridge", [], is_ready=True, max_bytes=6144, settings_hash="0f" * 16)
    status = parse_status(payload)
    assert (status.version, status.settings_hash) == (__version__, "0f" * 16)


@pytest.mark.parametrize("stations", [1, 12, 60, 500])
def test_it_fits_the_bus_and_keeps_what_does_not_work(stations: int) -> None:
    links = [link(f"trigger {number}", "fine " * 300) for number in range(stations)]
    links.append(link("opcua", "away " * 500, online=False))
    payload = status_of("opcua_bridge", [it.snapshot() for it in links], is_ready=False, max_bytes=6144)
    status = parse_status(payload)
    assert len(payload) <= 6144
    assert status.connections[0].name == "opcua"
    assert len(status.connections) + status.omitted == stations + 1


async def test_who_cannot_tell_goes_on_trying_with_what_is_new() -> None:
    service, said = Service("opcua_bridge"), []
    broker = "away"

    async def send(payload: bytes) -> None:
        said.append(parse_status(payload))
        if broker == "away":
            raise BusError("no broker")
        if broker == "silent":
            await asyncio.Event().wait()

    task = asyncio.ensure_future(tell("opcua_bridge", service, send, max_bytes=6144, period_s=0.001))
    await until(lambda: len(said) >= 2)
    broker, before = "silent", len(said)
    await until(lambda: len(said) >= before + 2)
    broker = "there"
    service.connection("opcua", "plc").online()
    await until(lambda: said[-1].connections)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert not said[0].connections
    assert said[-1].connections[0].name == "opcua"


def test_who_steers_the_policy_is_told_and_gives_way_to_the_connections() -> None:
    standing = PolicyStanding(source="shadow", order=("shadow", "topic"), errors={"topic": ("x" * 900,)})
    links = [link(f"trigger {number}").snapshot() for number in range(20)]

    def told(max_bytes: int) -> ServiceStatus:
        payload = status_of("topic_bridge", links, is_ready=True, max_bytes=max_bytes, policy=standing)
        assert len(payload) <= max_bytes
        return parse_status(payload)

    assert told(16_000).policy == standing
    short = told(2000).policy
    assert short is not None
    assert (short.source, short.errors) == ("shadow", {})
    assert told(1024).policy is not None
