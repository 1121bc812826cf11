"""The PLC's certificate changes while the bridge runs: noticed, named, and survived without a restart of the bridge."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from asyncua import ua
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from typer.testing import CliRunner

from lineside_opcua_bridge.cli.trust import app
from lineside_opcua_bridge.security import client_for
from lineside_opcua_bridge.security.certificates import thumbprint
from lineside_opcua_bridge.security.store import CertificateStore
from lineside_opcua_bridge.settings import OpcuaBridgeSettings, Settings
from tests.support.ports import free_port
from tests.support.secure_server_process import start_secure_server
from tests.support.waiting import HANG_S
from tests.support.warm_start import Started

TAG = "nsu=urn:lineside:test;s=Station1.PartPresent"
KEYS = {name: rsa.generate_private_key(public_exponent=65537, key_size=2048) for name in ("plc", "plant")}


def certificate(*, issuer: str | None) -> x509.Certificate:
    """Return a certificate of the PLC, by itself or by the plant's authority."""
    now = datetime.now(UTC)
    names = [x509.IPAddress(ip_address("127.0.0.1")), x509.UniformResourceIdentifier("urn:test:plc")]
    return (
        x509.CertificateBuilder()
        .subject_name(named("plc"))
        .issuer_name(named(issuer or "plc"))
        .public_key(KEYS["plc"].public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=100))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(KEYS[issuer or "plc"], hashes.SHA256())
    )


def authority() -> x509.Certificate:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(named("plant"))
        .issuer_name(named("plant"))
        .public_key(KEYS["plant"].public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=100))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(KEYS["plant"], hashes.SHA256())
    )


def named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


class ChangingPlc:
    """A server process, started again with another certificate on the same port."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self._process: Started | None = None

    async def start(self, shown: x509.Certificate, policy: str = "Basic256Sha256_SignAndEncrypt") -> None:
        await self.stop()
        file, key_file = self._folder / "plc.der", self._folder / "plc.pem"
        file.write_bytes(shown.public_bytes(Encoding.DER))
        key_file.write_bytes(KEYS["plc"].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        options = {"port": self.port, "policies": [policy]}
        options |= {"certificate": str(file), "key": str(key_file)}
        self._process = await asyncio.to_thread(start_secure_server, options)

    async def stop(self) -> None:
        process, self._process = self._process, None
        if process:
            process.kill()
            await asyncio.to_thread(process.wait, HANG_S)


@pytest.fixture
async def changing(tmp_path: Path) -> AsyncIterator[ChangingPlc]:
    server = ChangingPlc(tmp_path)
    yield server
    await server.stop()


@pytest.fixture
def configured(changing: ChangingPlc, tmp_path: Path) -> Settings:
    trigger = {
        "name": "station-1",
        "when": {"kind": "edge", "node": TAG},
        "station": "station-1",
        "model": "surface-defect",
        "source": {"kind": "camera", "camera": "station-1"},
    }
    section = {
        "endpoint": f"opc.tcp://127.0.0.1:{changing.port}",
        "security": {"pki_dir": str(tmp_path / "pki")},
        "http": {"port": 8082, "drain_s": 0.5},
        "triggers": [trigger],
    }
    return Settings.model_validate({"opcua_bridge": section})


async def part(settings: OpcuaBridgeSettings) -> None:
    """A part comes and goes, as another client sees it that trusts the same."""
    client = await client_for(settings, thing="another")
    async with client:
        index = await client.get_namespace_index("urn:lineside:test")
        node = client.get_node(ua.NodeId("Station1.PartPresent", index))
        for value in (False, True):
            await node.write_value(ua.DataValue(ua.Variant(value), StatusCode=None))


async def test_a_replaced_certificate_is_rejected_kept_and_accepted_by_trust_add_while_the_bridge_runs(
    changing: ChangingPlc, configured: Settings, line_of: Any, wait_until: Callable[..., Any], tmp_path: Path
) -> None:
    own = configured.opcua_bridge
    store = CertificateStore(own.security.pki_dir)
    store.prepare()
    first, second = certificate(issuer=None), certificate(issuer=None)
    store.add("trusted", first)
    await changing.start(first)
    async with line_of(configured) as line:
        link = line.service.connections["opcua"]
        await wait_until(lambda: line.service.is_ready, within=60)
        assert "Basic256Sha256, SignAndEncrypt, anonymous user" in link.detail
        assert line.metric("insecure") == 0
        assert line.metric("certificate_days", certificate="own") > 1000
        await part(own)
        await line.request(1)

        await changing.start(second)
        await wait_until(lambda: thumbprint(second) in link.detail, within=60)
        assert not line.service.is_ready
        assert [held.certificate for held in store.held("rejected")] == [second]

        file = tmp_path / "lineside.yaml"
        file.write_text(f"opcua_bridge: {{security: {{pki_dir: {own.security.pki_dir}}}}}\n")
        added = await asyncio.to_thread(
            CliRunner().invoke, app, ["add", thumbprint(second)[:10], "--config", str(file)]
        )
        assert added.exit_code == 0, added.output
        await wait_until(lambda: line.service.is_ready, within=60)
        await part(own)
        await line.request(2)


async def test_a_replacement_by_a_trusted_authority_is_accepted_at_once(
    changing: ChangingPlc, configured: Settings, line_of: Any, wait_until: Callable[..., Any]
) -> None:
    own = configured.opcua_bridge
    store = CertificateStore(own.security.pki_dir)
    store.prepare()
    store.add("trusted", authority())
    await changing.start(certificate(issuer="plant"))
    async with line_of(configured) as line:
        await wait_until(lambda: line.service.is_ready, within=60)
        await changing.stop()
        await wait_until(lambda: not line.service.is_ready, within=60)
        await changing.start(certificate(issuer="plant"))
        await wait_until(lambda: line.service.is_ready, within=60)
        await part(own)
        await line.request(1)
        assert store.held("rejected") == []


async def test_without_security_it_works_and_everybody_sees_that_it_is_without(
    changing: ChangingPlc, configured: Settings, line_of: Any, wait_until: Callable[..., Any]
) -> None:
    await changing.start(certificate(issuer=None), "NoSecurity")
    section = configured.model_dump()["opcua_bridge"]
    async with line_of(configured) as line:  # control: what was not asked for is not used
        await wait_until(lambda: "it offers none" in line.service.connections["opcua"].detail, within=60)
    async with line_of(Settings.model_validate({"opcua_bridge": section | {"security": {"policy": "none"}}})) as line:
        await wait_until(lambda: line.service.is_ready, within=60)
        assert "INSECURE: nothing is signed or encrypted" in line.service.connections["opcua"].detail
        assert line.metric("insecure") == 1
