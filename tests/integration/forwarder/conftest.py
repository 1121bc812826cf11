"""A bucket of the simulated S3 for each test."""

from itertools import count

import pytest

from tests.support.aws import aws_environment, front, moto_server
from tests.support.simulated_s3 import Store

__all__ = ["aws_environment", "front", "moto_server"]

_NUMBERS = count(1)


@pytest.fixture
def bucket(moto_server: Store) -> str:
    """A new bucket."""
    return moto_server.make_bucket(f"evidence-{next(_NUMBERS)}")
