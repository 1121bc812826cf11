"""Real peers: the CPU Triton of the bench with this repository's models."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ports import refusing_port
from tests.support.triton_server import TritonServer, running_triton


@pytest.fixture(scope="session")
def closed_port() -> Iterator[int]:
    """A port that refuses connections."""
    with refusing_port() as port:
        yield port


@pytest.fixture(scope="session")
def triton_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """A running Triton with all models; do not kill this one, take `own_triton`."""
    with running_triton(tmp_path_factory.mktemp("triton")) as server:
        yield server


@pytest.fixture
def own_triton(tmp_path: Path) -> Iterator[TritonServer]:
    """A Triton of the test's own, not started yet."""
    work = tmp_path / "triton"
    work.mkdir()
    server = TritonServer(work)
    try:
        yield server
    finally:
        server.stop()
