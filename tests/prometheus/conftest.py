"""What the tests of Prometheus' files share."""

import os
import shutil

import pytest


@pytest.fixture(scope="session")
def promtool() -> str:
    """Return the path of promtool; its absence is a failure where TESTS_NEED names it, a skip elsewhere."""
    found = shutil.which("promtool")
    if found is None:
        if "promtool" in os.environ.get("TESTS_NEED", ""):
            pytest.fail("promtool is not on PATH, and TESTS_NEED names it")
        pytest.skip("promtool is not on PATH (Debian: apt install prometheus)")
    return found
