"""The way into a secured server that is not asyncua: node-opcua, in its own process."""

import asyncio
import json
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from lineside.contract import utc_now
from lineside_opcua_bridge.security import client_for, own_of, refusal
from lineside_opcua_bridge.security.errors import AccessRefused, CertificateRejected
from lineside_opcua_bridge.security.store import CertificateStore
from lineside_opcua_bridge.settings import OpcuaBridgeSettings
from tests.support.ports import free_port
from tests.support.waiting import HANG_S

POLICIES = ["Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss"]
MODES = ["Sign", "SignAndEncrypt"]


class NodeServer:
    """node-opcua's server with the certificates of a folder."""

    def __init__(self, program: Path, pki: Path) -> None:
        self.port = free_port()
        self.pki = pki
        self._program = program
        self._process: subprocess.Popen[str] | None = None

    async def start(self, **options: Any) -> None:
        given = {"port": self.port, "policies": ["None", *POLICIES], "modes": ["None", *MODES], "pki": str(self.pki)}
        process = self._process = await asyncio.to_thread(
            subprocess.Popen,
            ["node", "server.mjs", json.dumps(given | options)],
            cwd=self._program,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdout is not None
        async with asyncio.timeout(HANG_S):
            while '"ready"' not in (line := await asyncio.to_thread(process.stdout.readline)):
                assert line, "the server ended"

    async def stop(self) -> None:
        if self._process:
            self._process.kill()
            await asyncio.to_thread(self._process.communicate)


@pytest.fixture
async def node_server(node_opcua: Path, tmp_path: Path) -> AsyncIterator[NodeServer]:
    server = NodeServer(node_opcua, tmp_path / "node")
    yield server
    await server.stop()


@pytest.fixture
def access(node_server: NodeServer, tmp_path: Path) -> Callable[..., OpcuaBridgeSettings]:
    def settings(policy: str = "Basic256Sha256", mode: str = "SignAndEncrypt", **more: Any) -> OpcuaBridgeSettings:
        return OpcuaBridgeSettings.model_validate(
            {
                "endpoint": f"opc.tcp://127.0.0.1:{node_server.port}",
                "security": {"policy": policy, "mode": mode, "pki_dir": str(tmp_path / "pki")},
                "request_timeout_ms": 20_000,
            }
            | more
        )

    return settings


def known_to(server: NodeServer, settings: OpcuaBridgeSettings) -> None:
    """Have the server trust the bridge's certificate; it looks at its start."""
    (own,) = own_of(settings, thing="test").identities(utc_now())
    folder = server.pki / "trusted" / "certs"
    folder.mkdir(parents=True)
    shutil.copy(own.path, folder / "bridge.der")


async def enter(settings: OpcuaBridgeSettings) -> bool:
    client = await client_for(settings, thing="test")
    try:
        await client.connect()
    except Exception as error:
        raise refusal(error, settings) or error from error
    try:
        return "urn:lineside:node" in await client.get_namespace_array()
    finally:
        await client.disconnect()


async def enter_trusting(settings: OpcuaBridgeSettings) -> bool:
    """Trust what was rejected at the first attempt, as a person would by `trust add`."""
    with pytest.raises(CertificateRejected) as caught:
        await enter(settings)
    assert caught.value.causes == ("BadCertificateUntrusted",)
    store = CertificateStore(settings.security.pki_dir)
    for held in store.held("rejected"):
        store.add("trusted", held.certificate)
    return await enter(settings)


async def test_every_policy_and_mode_with_a_password(
    node_server: NodeServer, access: Callable[..., OpcuaBridgeSettings], tmp_path: Path
) -> None:
    known_to(node_server, access())
    await node_server.start(users={"press": "geheim"})
    secret = tmp_path / "password"
    secret.write_text("geheim\n")
    secret.chmod(0o600)
    user = {"kind": "password", "name": "press", "password_file": str(secret)}
    assert await enter_trusting(access(user=user))
    for policy in POLICIES:
        for mode in MODES:
            assert await enter(access(policy, mode, user=user)), (policy, mode)
    secret.write_text("falsch\n")
    with pytest.raises(AccessRefused, match="'press'"):
        await enter(access(user=user))


async def test_a_server_that_does_not_know_us_refuses_at_the_opening_of_the_channel(
    node_server: NodeServer, access: Callable[..., OpcuaBridgeSettings]
) -> None:
    await node_server.start()
    settings = access()
    with pytest.raises(AccessRefused, match="does not accept the bridge's certificate") as caught:
        await enter_trusting(settings)
    (own,) = own_of(settings, thing="test").present()
    assert caught.value.reason == "BadSecurityChecksFailed"
    assert own.thumbprint in caught.value.what


@pytest.mark.parametrize(
    ("uri", "days", "cause"),
    [
        (None, (-20, -10), "BadCertificateTimeInvalid"),
        ("urn:another:server", (-10, 100), "BadCertificateUriInvalid"),
    ],
)
async def test_a_wrong_server_certificate_is_refused_although_it_is_trusted(
    uri: str | None,
    days: tuple[int, int],
    cause: str,
    node_server: NodeServer,
    access: Callable[..., OpcuaBridgeSettings],
) -> None:
    certificate = put_certificate(node_server.pki, uri, days)
    await node_server.start()
    store = CertificateStore(access().security.pki_dir)
    store.prepare()
    store.add("trusted", certificate)
    with pytest.raises(CertificateRejected) as caught:
        await enter(access())
    assert cause in caught.value.causes
    assert "BadCertificateUntrusted" not in caught.value.causes


def put_certificate(pki: Path, uri: str | None, days: tuple[int, int]) -> x509.Certificate:
    """Give the server a certificate before it makes one itself; without `uri` that which it calls itself by."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "node")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
        .add_extension(
            x509.SubjectAlternativeName(
                [
                    x509.UniformResourceIdentifier(uri or f"urn:{socket.gethostname()}:NodeOPCUA-Server"),
                    x509.DNSName("localhost"),
                ]
            ),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    for folder in ("own/certs", "own/private"):
        (pki / folder).mkdir(parents=True)
    (pki / "own/certs/certificate.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (pki / "own/private/private_key.pem").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    return certificate
