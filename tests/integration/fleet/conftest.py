"""A simulated S3 and a broker."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.aws import aws_environment, moto_server
from tests.support.mqtt_broker import MOSQUITTO, Broker, running_broker

__all__ = ["aws_environment", "moto_server"]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    yield from running_broker("mosquitto" if MOSQUITTO else "amqtt", tmp_path)
