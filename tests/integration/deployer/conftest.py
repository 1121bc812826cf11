"""A whole box: Triton, inference, packages in a bucket, and the deployer as a process."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.support.aws import aws_environment, front, moto_server
from tests.support.deployer_rig import Box
from tests.support.simulated_s3 import Store

__all__ = ["aws_environment", "front", "moto_server"]

_NUMBERS = count(1)


@pytest.fixture
def bucket(moto_server: Store) -> str:
    return moto_server.make_bucket(f"plant-models-{next(_NUMBERS)}")


@pytest.fixture
def box(moto_server: Store, bucket: str, tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path, moto_server, bucket)
    try:
        yield made
    finally:
        made.close()
