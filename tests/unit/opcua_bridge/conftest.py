"""What the unit tests of the opcua-bridge share."""

from pathlib import Path

import pytest

from lineside_opcua_bridge.security.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A folder of certificates, prepared and empty."""
    made = Store(tmp_path / "pki")
    made.prepare()
    return made
