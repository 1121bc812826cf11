"""The deployer is killed again and again in the middle of deployments, over a real inference service and Triton.

What is wanted comes about all the same, or everything is as it was: never one model new and the other old.
"""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.aws import moto_server
from tests.support.deployer_rig import Box, Deployer
from tests.support.simulated_s3 import Store
from tests.support.variables import LONG
from tests.support.waiting import HANG_S, block_until

__all__ = ["moto_server"]

DEPLOYMENTS = 25 if LONG else 2
COMMANDS = 9
"""So many commands a deployment of these two models takes: it is killed after a random number of them."""


@pytest.fixture
def box(moto_server: Store, tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path, moto_server, moto_server.make_bucket("kill-models"))
    try:
        yield made
    finally:
        made.close()


def commands(deployer: Deployer) -> int:
    return (deployer.folder / "deployer.log").read_text().count('"event": "command"')


def scores(box: Box) -> tuple[float | None, float | None]:
    return box.score("first"), box.score("second")


def test_it_ends_in_the_old_or_the_new_state(box: Box) -> None:
    chance = random.Random(48)  # noqa: S311 - the same kills each time
    deployer = box.deployer()
    deployer.start()
    deployer.wait_ready()
    before = scores(box)
    kills = 0
    for number in range(DEPLOYMENTS):
        name, version = f"d{number}", str(number + 2)
        value = (number + 1) / 64  # exact in every float
        comes = number % 2 == 1
        second = (
            box.packages.upload("second", version, value) if comes else {"ModelHandle": "second", "State": "UNDEPLOY"}
        )
        done = commands(deployer)
        deployer.want(box.packages.upload("first", version, value), second, name=name)
        for _ in range(chance.choice((1, 2))):
            until = chance.randrange(COMMANDS)
            block_until(lambda done=done, until=until: commands(deployer) - done >= until, deployer.log, within=HANG_S)
            deployer.kill()
            kills += 1
            deployer.start()
            deployer.wait_ready()
        record = deployer.ended(name)
        expected = (value, value if comes else None) if record["status"] == "SUCCESS" else before
        block_until(lambda expected=expected: scores(box) == expected, deployer.log, within=HANG_S)
        assert not list(box.repository.glob(".before/*")), record
        before = expected
    assert kills >= DEPLOYMENTS
