"""A real MQTT broker for each test, of every kind that is installed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mqtt_broker import MOSQUITTO, Broker, running_broker

MOSQUITTO_HERE = pytest.param(
    "mosquitto", marks=pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed on this machine")
)


@pytest.fixture(params=[MOSQUITTO_HERE, "amqtt"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    """Either broker of the bench."""
    yield from running_broker(request.param, tmp_path)


@pytest.fixture(params=[MOSQUITTO_HERE])
def keeping_broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    """A broker that keeps what was delivered and not acknowledged; amqtt 0.12 forgets it at a disconnect."""
    yield from running_broker(request.param, tmp_path)
