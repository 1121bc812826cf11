"""From a real spool through the forwarder and a Stream Manager that fails again and again."""

import asyncio
import json
import random
from collections import Counter
from pathlib import Path

import pytest

from lineside_forwarder.settings import StreamManagerSettings
from lineside_forwarder.stream_manager import StreamManagerDestination
from lineside_forwarder.stream_manager.destination import PORT_VARIABLE, TOKEN_VARIABLE
from tests.support.forwarding import Simulated, entry, forwarding, opened
from tests.support.stream_manager_server import CANCELED, FAILURE, WARNING, StreamManagerServer
from tests.support.waiting import until

BUCKET = "amzn-s3-demo-bucket"
MODELS = ("spindle", "weld", "paint")
CAPTURES = 40


@pytest.mark.parametrize("seed", [1, 2])
async def test_everything_arrives_once_and_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    for variable in (PORT_VARIABLE, TOKEN_VARIABLE):
        monkeypatch.delenv(variable, raising=False)
    chance = random.Random(seed)  # noqa: S311 - which faults come
    server = StreamManagerServer(tmp_path / "stream-manager")
    await server.start()
    port = server.port
    faults: Counter[str] = Counter()

    def outcome(_task: dict[str, str]) -> list[tuple[int, str]] | None:
        if chance.random() < 0.7:
            return None
        status, message = chance.choice([(FAILURE, "InternalError"), (CANCELED, "gone"), (WARNING, "no network")])
        faults[message] += 1
        return [(status, message)]

    async def restart() -> None:
        while faults["restart"] < 3 or len(faults) < 4:
            await asyncio.sleep(chance.uniform(0.05, 0.3))
            await server.stop()
            faults["restart"] += 1
            await asyncio.sleep(chance.uniform(0.0, 0.05))
            await server.start(port)

    path = tmp_path / "exports"
    path.mkdir()
    settings = StreamManagerSettings(name="greengrass", kind="stream-manager", bucket=BUCKET, path=path, port=port)
    server.outcome = outcome
    restarting = asyncio.create_task(restart())
    try:
        with opened(tmp_path / "spool") as spool:
            for number in range(CAPTURES):
                for model in MODELS:
                    spool.put(entry(f"{model}-{number:03}", model, image=bytes([number]) * 5_000))
            destination = StreamManagerDestination(settings, max_silence_s=0.5)
            async with forwarding(tmp_path / "spool", destination, clock=Simulated()):
                await until(restarting.done)
                restarting.result()
                server.outcome = lambda _task: None
                await until(lambda: spool.status().records == 0)
    finally:
        restarting.cancel()
        await asyncio.gather(restarting, return_exceptions=True)
        await server.stop()
    assert [found.name for found in path.iterdir()] == ["greengrass.lock"]
    _check(server)


def _check(server: StreamManagerServer) -> None:
    """Each capture stands once in all files, its image is there, and files came in order within each model."""
    top = server.bucket / BUCKET
    found: Counter[str] = Counter()
    for file in top.rglob("*.jsonl"):
        for line in file.read_bytes().splitlines():
            capture = json.loads(line)
            key = capture["eventMetadata"]["eventId"]
            found[key] += 1
            reference = capture["deviceFleetInputs"][0]["data-ref"]
            image = (server.bucket / reference.removeprefix("s3://")).read_bytes()
            assert image == bytes([int(key.rpartition("-")[2])]) * 5_000
    assert found == Counter(f"{model}-{number:03}" for model in MODELS for number in range(CAPTURES))
    for model in MODELS:
        came = [key for key in server.puts if f"/{model}/" in key and key.endswith(".jsonl")]
        firsts = list(dict.fromkeys(came))
        assert firsts == sorted(firsts)
