"""The desired state in a named shadow, behind AWS IoT's reserved topics."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from lineside.bus.memory import MemoryBroker, MemoryBus
from lineside_deployer.desired import sources
from lineside_deployer.desired.sources import ShadowSource
from lineside_deployer.errors import DocumentRefused, PackageAway
from tests.support.simulated_shadow import SimulatedShadow
from tests.support.waiting import until

WANTED = {"DeploymentName": "week-48", "Definitions": [{"ModelHandle": "old", "State": "UNDEPLOY"}]}


@asynccontextmanager
async def listening(
    broker: MemoryBroker, rung: Callable[[], None] = lambda: None
) -> AsyncIterator[tuple[SimulatedShadow, ShadowSource]]:
    shadow = SimulatedShadow(MemoryBus(broker), "line-7", "models")
    source = ShadowSource(MemoryBus(broker), "line-7", "models", rung)
    tasks = [asyncio.create_task(each) for each in (shadow.run(), source.listen())]
    try:
        yield shadow, source
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_its_desired_part_is_the_document_and_a_change_is_told() -> None:
    rung: list[None] = []
    async with listening(MemoryBroker(), lambda: rung.append(None)) as (shadow, source):
        with pytest.raises(PackageAway, match=r"there is no shadow .*line-7/shadow/name/models yet"):
            await source.read()
        await shadow.desire(WANTED)
        assert json.loads(await source.read()) == WANTED
        await until(lambda: len(rung) == 1)


async def test_a_shadow_without_a_desired_part_is_refused_and_one_that_may_not_be_read_is_away() -> None:
    broker = MemoryBroker()
    async with listening(broker) as (shadow, source):
        shadow.exists = True
        with pytest.raises(DocumentRefused, match="has no desired state"):
            await source.read()
        shadow.is_away = True
        asked = asyncio.create_task(source.read())
        topic = "$aws/things/line-7/shadow/name/models/get"
        await until(lambda: sum(name == topic for name, _payload in broker.published) == 2)
        token = json.loads(broker.published[-1][1])["clientToken"]
        for strange in (b"no JSON", b'{"clientToken": "of another", "code": 500}'):
            await broker.deliver(f"{topic}/rejected", strange)
        await broker.deliver(
            f"{topic}/rejected", json.dumps({"code": 403, "message": "Forbidden", "clientToken": token}).encode()
        )
        with pytest.raises(PackageAway, match="is refused with 403: Forbidden"):
            await asked


async def test_one_that_does_not_answer_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "ANSWER_S", 0.05)
    async with listening(MemoryBroker()) as (shadow, source):
        shadow.is_away = True
        with pytest.raises(PackageAway, match=r"cannot be read: no answer within 0\.05 s"):
            await source.read()
