"""The simulated Stream Manager is held against AWS' own client, and so is what our client makes there."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from lineside_forwarder.stream_manager.client import Client
from lineside_forwarder.stream_manager.destination import TOKEN_VARIABLE
from lineside_forwarder.stream_manager.tasks import definitions, task
from tests.support.paths import ROOT
from tests.support.stream_manager_server import StreamManagerServer
from tests.support.waiting import HANG_S

PROGRAM = Path(__file__).with_name("stream_manager_official.py")


@pytest.fixture(scope="session")
def official(pytestconfig: pytest.Config) -> Path:
    """Return the Python that has AWS' client, installed on first use from its lock file."""
    folder = Path(pytestconfig.cache.mkdir("stream-manager"))
    lock = (ROOT / "requirements" / "stream-manager.txt").read_bytes()
    python, mark = folder / "bin" / "python", folder / ".installed"
    if not mark.is_file() or mark.read_bytes() != lock:
        subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", folder], check=True, timeout=HANG_S)
        pip = [sys.executable, "-m", "pip", "--python", python, "--quiet", "--disable-pip-version-check"]
        subprocess.run(
            [*pip, "install", "--require-hashes", "-r", ROOT / "requirements" / "stream-manager.txt"],
            check=True,
            timeout=300,
        )
        mark.write_bytes(lock)
    return python


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[StreamManagerServer]:
    async with StreamManagerServer(tmp_path / "stream-manager", token="a-token") as server:  # noqa: S106
        yield server


async def ask(python: Path, *arguments: str, token: str = "a-token") -> dict[str, Any]:  # noqa: S107
    process = await asyncio.create_subprocess_exec(
        python, PROGRAM, *arguments, stdout=subprocess.PIPE, env={**os.environ, TOKEN_VARIABLE: token}
    )
    async with asyncio.timeout(HANG_S):
        output, _ = await process.communicate()
    assert process.returncode == 0
    return json.loads(output)


async def test_the_official_client_finds_what_it_expects(
    official: Path, server: StreamManagerServer, tmp_path: Path
) -> None:
    file = tmp_path / "b.txt"
    file.write_bytes(b"evidence")
    saw = await ask(official, str(server.port), str(file))
    assert saw == {
        "streams": ["status", "tasks"],
        "sequence": 0,
        "about": ["tasks", 0, f"file://{file}"],
        "words": ["InProgress", "Success"],
        "size": 1024 * 1024,
        "newest": 0,
        "exported": 0,
        "updated": 2 * 1024 * 1024,
        "refusals": [
            "UpdateNotAllowedException",
            "InvalidRequestException",
            "ResourceNotFoundException",
            "NotEnoughMessagesException",
        ],
        "left": [],
    }
    assert (server.bucket / "amzn-s3-demo-bucket/a/b.txt").read_bytes() == b"evidence"


async def test_the_official_client_is_refused_with_a_wrong_token(official: Path, server: StreamManagerServer) -> None:
    assert await ask(official, str(server.port), "-", token="wrong") == {"connect": "ConnectFailedException"}  # noqa: S106


async def test_what_our_client_makes_is_valid_for_the_official_one(
    official: Path, server: StreamManagerServer, tmp_path: Path
) -> None:
    """The official client checks every field that it reads and writes back against AWS' own rules."""
    (server.folder / "hold").touch()
    client = await Client.connect("127.0.0.1", server.port, "a-token")
    try:
        for definition in definitions("lineside-evidence"):
            await client.create(definition)
        for key in ("sme-capture/line/spindle/2026/11/22/02/box-1.jsonl", "raw-data/a_b-0.jpg"):
            await client.append("lineside-evidence", task(tmp_path / "1-x", "amzn-s3-demo-bucket", key))
    finally:
        await client.close()
    saw = await ask(official, str(server.port), "describe", "lineside-evidence")
    assert saw == {
        "strategy": "OverwriteOldestData",
        "persistence": "File",
        "status": "lineside-evidence-status",
        "keys": ["sme-capture/line/spindle/2026/11/22/02/box-1.jsonl", "raw-data/a_b-0.jpg"],
    }
