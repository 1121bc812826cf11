"""A simulated AWS in a process of its own, one for all tests, and what goes with it: keys, and a server before it."""

from collections.abc import Iterator

import pytest

from tests.support.simulated_s3 import KEYS, Store
from tests.support.store_front import Front


@pytest.fixture(scope="session")
def moto_server() -> Iterator[Store]:
    """The server: `url`, `client`, `make_bucket(name)`, and what is in a bucket."""
    store = Store()
    try:
        yield store
    finally:
        store.close()


@pytest.fixture
def aws_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Only keys that the simulated store takes; nothing of this machine's AWS settings."""
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.fixture
def front(moto_server: Store) -> Iterator[Front]:
    """What answers as scripted before the store does."""
    server = Front(moto_server.port)
    try:
        yield server
    finally:
        server.close()
