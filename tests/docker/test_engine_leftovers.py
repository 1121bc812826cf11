"""What a run that was cut off left on the engine is removed by the next one, and by no other that runs beside it."""

import re
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docker.conftest import Docker
from tests.support.leftovers import MADE_BY_TESTS, engine_in_use


@pytest.fixture
def left(docker: Docker, held: dict[str, str]) -> Iterator[str]:
    """Leave a container that starts again with the engine, in a network and with a volume; return how they begin."""
    scope = f"left-{secrets.token_hex(4)}"
    docker("network", "create", f"{scope}-in")
    docker("run", "-d", "--init", "--name", f"{scope}-eye", "--restart", "unless-stopped", "--network", f"{scope}-in",
           "-v", f"{scope}-models:/models", "--entrypoint", "sleep", held["PYTHON_IMAGE"], "600")  # fmt: skip
    yield scope
    docker("rm", "-f", "-v", f"{scope}-eye", check=False)
    docker("network", "rm", f"{scope}-in", check=False)
    docker("volume", "rm", "-f", f"{scope}-models", check=False)


def test_the_first_run_removes_what_is_left_over_and_the_second_nothing(left: str, tmp_path: Path) -> None:
    mine = re.compile(left)
    with engine_in_use(tmp_path, re.compile("of nobody")) as removed:
        assert removed == []
        with engine_in_use(tmp_path, mine) as beside:
            assert beside == []
    with engine_in_use(tmp_path, mine) as removed:
        assert removed == [f"{left}-eye", f"{left}-in", f"{left}-models"]
    with engine_in_use(tmp_path, mine) as removed:
        assert removed == []


@pytest.mark.parametrize("name", ["lineside-test-0a1b2c3d-broker-1", "t0a1b2c3d-inference"])
def test_names_of_tests_are_known(name: str) -> None:
    assert MADE_BY_TESTS.match(name)


@pytest.mark.parametrize("name", ["lineside-broker-1", "lineside-inference", "triton", "t0a1b2c3-x", "bridge"])
def test_a_line_that_no_test_made_is_left_alone(name: str) -> None:
    assert not MADE_BY_TESTS.match(name)
