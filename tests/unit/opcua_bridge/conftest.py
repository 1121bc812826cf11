"""What the unit tests of the opcua-bridge share."""

from pathlib import Path

import pytest

from lineside_opcua_bridge.security.store import CertificateStore


@pytest.fixture
def store(tmp_path: Path) -> CertificateStore:
    """A folder of certificates, prepared and empty."""
    made = CertificateStore(tmp_path / "pki")
    made.prepare()
    return made
