"""The stand-in for Greengrass' and IoT's APIs with a fleet, and boto3's clients of it."""

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config

from lineside_bench.cloud.sample import Sizes, make_world
from lineside_bench.cloud.server import Cloud, Server
from lineside_bench.cloud.serving import environment
from lineside_bench.cloud.world import REGION, World

KEYS = {"aws_access_key_id": "stand-in", "aws_secret_access_key": "stand-in"}


def client(server: Server, service: str, *, attempts: int = 1) -> Any:
    """Return boto3's client of one service."""
    config = Config(retries={"total_max_attempts": attempts, "mode": "standard"}, read_timeout=20)
    return boto3.client(service, region_name=REGION, endpoint_url=server.url, config=config, **KEYS)


@contextmanager
def serving(world: World | None = None, **sizes: int) -> Iterator[Server]:
    """Serve a world, or a sample fleet of these sizes."""
    with Server(Cloud(world or make_world(Sizes(**sizes)))) as server:
        yield server


def variables(server: Server) -> dict[str, str]:
    """Return the environment that points AWS' clients at the stand-in."""
    lines = [line.removeprefix("export ").partition("=") for line in environment(server.url).splitlines()]
    return {name: value for name, _, value in lines}


def steer(server: Server, method: str, what: str, body: Any = None) -> tuple[int, Any]:
    """Ask for one of the stand-in's own paths; return the status and the answer."""
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=20)
    try:
        connection.request(method, f"/stand-in/{what}", json.dumps(body) if body is not None else None)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()
