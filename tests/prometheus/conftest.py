"""What the tests of Prometheus' files share."""

import shutil

import pytest

from tests.support.variables import missing


@pytest.fixture(scope="session")
def promtool() -> str:
    """Return the path of promtool; its absence is a failure where TESTS_NEED names it, a skip elsewhere."""
    found = shutil.which("promtool")
    if found is None:
        missing("promtool", "promtool is not on PATH (Debian: apt install prometheus)")
    return found
