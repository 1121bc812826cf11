"""What the tests of the whole line share."""

import os
import shutil

import pytest


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("LINESIDE_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def installed_brokers() -> set[str]:
    found = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    return {"amqtt", *(["mosquitto"] if found else [])}
