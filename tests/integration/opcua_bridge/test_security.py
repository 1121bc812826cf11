"""The way into a secured PLC: what is let through, what is refused and says so, against asyncua in its own process."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from asyncua import ua
from asyncua.client.client import Client
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from lineside.connections import State
from lineside.errors import LinesideError
from lineside_opcua_bridge.link.session import Session
from lineside_opcua_bridge.security import client_for, describe, own_of, refusal
from lineside_opcua_bridge.security.certificates import thumbprint
from lineside_opcua_bridge.security.errors import (
    AccessRefused,
    CertificateRejected,
    NotOffered,
    PkiUnusable,
    SecretUnusable,
    SecurityError,
)
from lineside_opcua_bridge.security.store import CertificateStore
from lineside_opcua_bridge.settings import OpcuaBridgeSettings, Settings
from tests.support.ports import free_port
from tests.support.secure_server_process import start_secure_server
from tests.support.waiting import HANG_S
from tests.support.warm_start import Started

PLC_URI = "urn:test:plc"
POLICIES = {
    "Basic256Sha256": "Basic256Sha256",
    "Aes128_Sha256_RsaOaep": "Aes128Sha256RsaOaep",
    "Aes256_Sha256_RsaPss": "Aes256Sha256RsaPss",
}
ALL = [f"{name}_{mode}" for name in POLICIES.values() for mode in ("Sign", "SignAndEncrypt")]
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
NOW = datetime.now(UTC)


@dataclass(frozen=True)
class Made:
    """A certificate in files."""

    certificate: x509.Certificate
    key: rsa.RSAPrivateKey
    file: Path
    key_file: Path


def make(
    folder: Path,
    name: str,
    *,
    issuer: Made | None = None,
    uri: str | None = PLC_URI,
    hosts: tuple[str, ...] = ("127.0.0.1",),
    days: tuple[int, int] = (-10, 365),
    authority: bool = False,
) -> Made:
    folder.mkdir(parents=True, exist_ok=True)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048) if authority else KEY
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + timedelta(days=days[0]))
        .not_valid_after(NOW + timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if not authority:
        names: list[x509.GeneralName] = [x509.IPAddress(ip_address(host)) for host in hosts]
        names += [x509.UniformResourceIdentifier(uri)] if uri else []
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    certificate = builder.sign(issuer.key if issuer else key, hashes.SHA256())
    file, key_file = folder / f"{name}.der", folder / f"{name}.pem"
    file.write_bytes(certificate.public_bytes(Encoding.DER))
    key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    key_file.chmod(0o600)
    return Made(certificate, key, file, key_file)


class SecurePlc:
    """The server, which can be stopped and started again with other options on the same port."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.folder = folder
        self._process: Started | None = None

    @property
    def endpoint(self) -> str:
        return f"opc.tcp://127.0.0.1:{self.port}"

    async def start(self, made: Made | None = None, **options: Any) -> None:
        await self.stop()
        given: dict[str, Any] = {"port": self.port, "policies": ALL} | options
        if made:
            given |= {"certificate": str(made.file), "key": str(made.key_file)}
        self._process = await asyncio.to_thread(start_secure_server, given)

    async def stop(self) -> None:
        process, self._process = self._process, None
        if process:
            process.kill()
            await asyncio.to_thread(process.wait, HANG_S)


@pytest.fixture
async def secure_plc(tmp_path: Path) -> AsyncIterator[SecurePlc]:
    server = SecurePlc(tmp_path / "plc")
    yield server
    await server.stop()


@pytest.fixture(scope="module")
def plc_certificate(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.mktemp("plc"), "press-7")


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    return tmp_path / "pki"


@pytest.fixture
def access(secure_plc: SecurePlc, pki: Path) -> Callable[..., OpcuaBridgeSettings]:
    def settings(policy: str = "Basic256Sha256", mode: str = "SignAndEncrypt", **more: Any) -> OpcuaBridgeSettings:
        security = {"policy": policy, "mode": mode, "pki_dir": str(pki)} | more.pop("security", {})
        given = {"endpoint": secure_plc.endpoint, "security": security, "request_timeout_ms": 20_000}
        return OpcuaBridgeSettings.model_validate(given | more)

    return settings


@asynccontextmanager
async def connected(settings: OpcuaBridgeSettings) -> AsyncIterator[Client]:
    """Connect as the bridge does: what is raised is what it would say."""
    client = await client_for(settings, thing="test")
    try:
        await client.connect()
    except Exception as error:
        raise refusal(error, settings) or error from error
    try:
        yield client
    finally:
        await client.disconnect()


def trust(settings: OpcuaBridgeSettings, *certificates: x509.Certificate, group: str = "trusted") -> CertificateStore:
    store = CertificateStore(settings.security.pki_dir)
    store.prepare()
    for certificate in certificates:
        store.add(group, certificate)
    return store


async def is_let_in(settings: OpcuaBridgeSettings) -> bool:
    async with connected(settings) as client:
        return bool(await client.get_namespace_array())


async def rejection(settings: OpcuaBridgeSettings) -> CertificateRejected:
    with pytest.raises(CertificateRejected) as caught:
        await client_for(settings, thing="test")
    return caught.value


async def test_every_policy_and_mode_works(
    secure_plc: SecurePlc, plc_certificate: Made, access: Callable[..., OpcuaBridgeSettings]
) -> None:
    await secure_plc.start(plc_certificate)
    trust(access(), plc_certificate.certificate)
    for policy in POLICIES:
        for mode in ("Sign", "SignAndEncrypt"):
            settings = access(policy, mode)
            async with connected(settings) as client:
                assert client.security_policy.Mode.name == mode
                assert client.security_policy.URI.endswith(f"#{policy}")
                assert await client.get_namespace_array()
            assert describe(settings) == f"{policy}, {mode}, anonymous user"


async def test_an_unknown_certificate_is_kept_and_accepted_after_trust_add_without_restart(
    secure_plc: SecurePlc, plc_certificate: Made, access: Callable[..., OpcuaBridgeSettings]
) -> None:
    await secure_plc.start(plc_certificate)
    settings = access()
    rejected = await rejection(settings)
    name = thumbprint(plc_certificate.certificate)
    assert rejected.causes == ("BadCertificateUntrusted",)
    assert name in rejected.what
    assert "CN=press-7" in rejected.what
    assert f"lineside opcua trust add {name}" in rejected.remedy
    store = CertificateStore(settings.security.pki_dir)
    assert [held.thumbprint for held in store.held("rejected")] == [name]
    store.add("trusted", plc_certificate.certificate)
    assert await is_let_in(settings)
    assert store.held("rejected") == []


@pytest.mark.parametrize(
    ("cause", "wrong"),
    [
        ("BadCertificateTimeInvalid", {"days": (-20, -10)}),
        ("BadCertificateTimeInvalid", {"days": (10, 20)}),
        ("BadCertificateUriInvalid", {"uri": "urn:another:plc"}),
    ],
)
async def test_a_wrong_certificate_is_refused_although_it_is_trusted(
    cause: str,
    wrong: dict[str, Any],
    secure_plc: SecurePlc,
    access: Callable[..., OpcuaBridgeSettings],
) -> None:
    made = make(secure_plc.folder, "wrong", **wrong)
    await secure_plc.start(made)
    settings = access()
    trust(settings, made.certificate)
    assert (await rejection(settings)).causes == (cause,)


async def test_negative_control_without_our_checks_every_bad_certificate_gets_through(
    secure_plc: SecurePlc, access: Callable[..., OpcuaBridgeSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    from lineside_opcua_bridge.security import validation  # noqa: PLC0415 - only this test takes it apart

    monkeypatch.setattr("lineside_opcua_bridge.security.validate", lambda *_a, **_k: validation.Validation(()))
    await secure_plc.start(make(secure_plc.folder, "wrong", days=(-20, -10)))
    assert await is_let_in(access())


async def test_a_certificate_of_a_trusted_authority_is_accepted_at_once(
    secure_plc: SecurePlc, access: Callable[..., OpcuaBridgeSettings]
) -> None:
    authority = make(secure_plc.folder, "plant", authority=True)
    settings = access()
    trust(settings, authority.certificate)
    await secure_plc.start(make(secure_plc.folder, "first", issuer=authority))
    assert await is_let_in(settings)
    await secure_plc.start(make(secure_plc.folder, "second", issuer=authority))
    assert await is_let_in(settings)
    await secure_plc.start(make(secure_plc.folder, "elsewhere", issuer=authority, hosts=("192.0.2.7",)))
    assert (await rejection(settings)).causes == ("BadCertificateHostNameInvalid",)


async def test_what_the_authority_has_revoked_is_refused(
    secure_plc: SecurePlc, access: Callable[..., OpcuaBridgeSettings], pki: Path
) -> None:
    authority = make(secure_plc.folder, "plant", authority=True)
    made = make(secure_plc.folder, "stolen", issuer=authority)
    settings = access()
    trust(settings, authority.certificate)
    revoked = (
        x509.RevokedCertificateBuilder().serial_number(made.certificate.serial_number).revocation_date(NOW).build()
    )
    crl = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(NOW)
        .next_update(NOW + timedelta(days=30))
        .add_revoked_certificate(revoked)
        .sign(authority.key, hashes.SHA256())
    )
    (pki / "trusted/crl/plant.crl").write_bytes(crl.public_bytes(Encoding.DER))
    await secure_plc.start(made)
    assert (await rejection(settings)).causes == ("BadCertificateRevoked",)
    (pki / "trusted/crl/plant.crl").write_bytes(b"cut off")
    with pytest.raises(PkiUnusable, match="no revocation list"):
        await client_for(settings, thing="test")


async def test_what_the_plc_does_not_offer_is_named_with_what_it_does(
    secure_plc: SecurePlc, plc_certificate: Made, access: Callable[..., OpcuaBridgeSettings]
) -> None:
    await secure_plc.start(plc_certificate, policies=["NoSecurity", "Basic256Sha256_Sign"])
    with pytest.raises(NotOffered, match="it offers none, Basic256Sha256 with Sign"):
        await client_for(access(), thing="test")
    trust(access(), plc_certificate.certificate)
    user = {"kind": "certificate", "certificate_file": "/none", "private_key_file": "/none"}
    with pytest.raises(NotOffered, match=r"no user of kind 'certificate'.*offers anonymous"):
        await client_for(access(mode="Sign", user=user), thing="test")


async def test_users_by_password(
    secure_plc: SecurePlc, plc_certificate: Made, access: Callable[..., OpcuaBridgeSettings], tmp_path: Path
) -> None:
    await secure_plc.start(plc_certificate, users={"press": ["geheim-äöü", "Admin"], "guest": ["guest", "User"]})
    trust(access(), plc_certificate.certificate)
    secret = tmp_path / "password"
    for mode in ("Sign", "SignAndEncrypt"):
        settings = access(mode=mode, user={"kind": "password", "name": "press", "password_file": str(secret)})
        secret.write_text("geheim-äöü\nsecond line\n")
        secret.chmod(0o600)
        assert await is_let_in(settings)
        secret.write_text("wrong\n")
        with pytest.raises(AccessRefused, match="'press'") as caught:
            await is_let_in(settings)
        assert caught.value.reason in {"BadUserAccessDenied", "BadIdentityTokenRejected"}
        assert "opcua_bridge.user" in caught.value.remedy
    secret.write_text("\n")
    with pytest.raises(SecretUnusable, match="is empty"):
        await client_for(settings, thing="test")
    secret.unlink()
    with pytest.raises(SecretUnusable, match="cannot be read"):
        await client_for(settings, thing="test")
    with pytest.raises(NotOffered, match="anonymous"):
        await client_for(access(), thing="test")


async def test_no_users_name_is_sent_before_the_plc_is_trusted_and_confirmed(
    secure_plc: SecurePlc,
    plc_certificate: Made,
    access: Callable[..., OpcuaBridgeSettings],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The server writes down each name that it is sent; at the end one is, so that the others would have been seen."""
    names, secret = tmp_path / "names", tmp_path / "password"
    secret.write_text("right\n")
    options = {"users": {"press": ["right", "Admin"]}, "names": str(names)}
    settings = access(user={"kind": "password", "name": "press", "password_file": str(secret)})
    await secure_plc.start(plc_certificate, **options)
    assert "BadCertificateUntrusted" in (await rejection(settings)).causes
    trust(settings, plc_certificate.certificate)
    await secure_plc.start(plc_certificate, uri="urn:an:impostor", **options)
    with monkeypatch.context() as patch:
        claim_to_be_the_plc(patch)
        with pytest.raises(SecurityError, match=r"urn:an:impostor now"):
            await is_let_in(settings)
    assert not names.exists()
    await secure_plc.start(plc_certificate, **options)
    assert await is_let_in(settings)
    assert names.read_text(encoding="utf-8") == "press\n"


async def test_a_user_without_the_right_may_not_write(
    secure_plc: SecurePlc, plc_certificate: Made, access: Callable[..., OpcuaBridgeSettings], tmp_path: Path
) -> None:
    await secure_plc.start(plc_certificate, users={"press": ["a", "Admin"], "guest": ["b", "User"]})
    trust(access(), plc_certificate.certificate)
    written = {}
    for name, password in (("press", "a"), ("guest", "b")):
        secret = tmp_path / name
        secret.write_text(password)
        user = {"kind": "password", "name": name, "password_file": str(secret)}
        async with connected(access(user=user)) as client:
            index = await client.get_namespace_index("urn:lineside:test")
            value = ua.WriteValue(
                NodeId=ua.NodeId("Station1.Verdict", index),
                AttributeId=ua.AttributeIds.Value,
                Value=ua.DataValue(ua.Variant("pass"), StatusCode=None),
            )
            (status,) = await client.uaclient.session.write(ua.WriteParameters(NodesToWrite=[value]))
            written[name] = status.is_good()
    assert written == {"press": True, "guest": False}


async def test_users_by_certificate(
    secure_plc: SecurePlc, plc_certificate: Made, access: Callable[..., OpcuaBridgeSettings], tmp_path: Path
) -> None:
    known, other = (make(tmp_path, name, uri=None, hosts=()) for name in ("known", "other"))
    await secure_plc.start(plc_certificate, user_certificates=[str(known.file)])
    trust(access(), plc_certificate.certificate)

    def settings(made: Made, policy: str) -> OpcuaBridgeSettings:
        files = {"certificate_file": str(made.file), "private_key_file": str(made.key_file)}
        return access(policy, user={"kind": "certificate", **files})

    for policy in POLICIES:
        assert await is_let_in(settings(known, policy))
    with pytest.raises(AccessRefused, match="of kind 'certificate'"):
        await is_let_in(settings(other, "Basic256Sha256"))
    known.key_file.chmod(0o644)
    with pytest.raises(SecretUnusable, match="open to others"):
        await client_for(settings(known, "Basic256Sha256"), thing="test")


async def test_a_plc_that_does_not_trust_us_says_which_certificate_and_what_to_do(
    secure_plc: SecurePlc, plc_certificate: Made, access: Callable[..., OpcuaBridgeSettings], tmp_path: Path
) -> None:
    clients = tmp_path / "clients"
    clients.mkdir()
    await secure_plc.start(plc_certificate, clients=str(clients))
    settings = access()
    trust(settings, plc_certificate.certificate)
    with pytest.raises(AccessRefused, match="does not trust the bridge's certificate") as caught:
        await is_let_in(settings)
    (own,) = own_of(settings, thing="test").present()
    assert own.thumbprint in caught.value.what
    assert str(own.path) in caught.value.what
    assert "trust it in the PLC" in caught.value.remedy
    (clients / "bridge.der").write_bytes(own.path.read_bytes())
    assert await is_let_in(settings)


async def test_a_renewed_own_certificate_waits_until_the_plc_trusts_it(
    secure_plc: SecurePlc, plc_certificate: Made, access: Callable[..., OpcuaBridgeSettings], tmp_path: Path
) -> None:
    clients = tmp_path / "clients"
    clients.mkdir()
    await secure_plc.start(plc_certificate, clients=str(clients))
    settings = access()
    trust(settings, plc_certificate.certificate)
    own = own_of(settings, thing="test")
    (first,) = own.identities(datetime.now(UTC) - timedelta(days=5 * 365 - 30))  # made so long ago that it is due now
    (clients / "first.der").write_bytes(first.path.read_bytes())
    assert await is_let_in(settings)
    waiting, used = own.present()
    assert (waiting.is_next, used.thumbprint) == (True, first.thumbprint)
    (clients / "next.der").write_bytes(waiting.path.read_bytes())
    assert await is_let_in(settings)
    (now_used,) = own.present()
    assert now_used.thumbprint == waiting.thumbprint
    (clients / "first.der").unlink()
    assert await is_let_in(settings)


def claim_to_be_the_plc(patch: pytest.MonkeyPatch) -> None:
    """Give every server the PLC's application URI as long as the channel is not secured."""
    from lineside_opcua_bridge import security  # noqa: PLC0415 - only these tests take it apart

    honest = security.endpoints_of

    async def changed_on_the_way(*args: Any, **more: Any) -> list[ua.EndpointDescription]:
        offered = await honest(*args, **more)
        for endpoint in offered:
            endpoint.Server.ApplicationUri = PLC_URI
        return offered

    patch.setattr(security, "endpoints_of", changed_on_the_way)


async def test_a_server_that_says_something_else_on_the_secured_channel_is_left(
    secure_plc: SecurePlc,
    plc_certificate: Made,
    access: Callable[..., OpcuaBridgeSettings],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await secure_plc.start(plc_certificate, uri="urn:an:impostor")
    settings = access()
    trust(settings, plc_certificate.certificate)
    assert (await rejection(settings)).causes == ("BadCertificateUriInvalid",)
    claim_to_be_the_plc(monkeypatch)
    with pytest.raises(SecurityError, match=r"urn:an:impostor now"):
        await is_let_in(settings)


async def test_a_refused_log_in_waits_a_minute_and_takes_the_password_as_it_is_then(
    secure_plc: SecurePlc,
    plc_certificate: Made,
    access: Callable[..., OpcuaBridgeSettings],
    tmp_path: Path,
    line_of: Any,
    wait_until: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await secure_plc.start(plc_certificate, users={"press": ["right", "Admin"]})
    trust(access(), plc_certificate.certificate)
    secret = tmp_path / "password"
    secret.write_text("wrong\n")
    trigger = {
        "name": "t",
        "when": {"kind": "edge", "node": "nsu=urn:lineside:test;s=Station1.PartPresent"},
        "station": "s",
        "model": "m",
        "source": {"kind": "camera", "camera": "c"},
    }
    user = {"kind": "password", "name": "press", "password_file": str(secret)}
    configured = Settings.model_validate({"opcua_bridge": access(user=user).model_dump() | {"triggers": [trigger]}})
    async with line_of(configured) as line:
        link = line.service.connections["opcua"]
        await wait_until(lambda: link.state is State.BACKOFF, within=60)
        assert "'press'" in link.detail
        assert "the next attempt is a minute later" in link.detail
        seen = link.snapshot()
        assert datetime.fromisoformat(seen.next_try) - datetime.now(UTC) > timedelta(seconds=30)
        assert seen.attempts == 1
    monkeypatch.setattr("lineside_opcua_bridge.supervisor._LOCK_OUT_S", 0.5)
    async with line_of(configured) as line:
        await wait_until(lambda: line.service.connections["opcua"].attempts == 1, within=60)
        secret.write_text("right\n")
        await wait_until(lambda: line.service.is_ready, within=60)


async def test_without_security_a_secured_plc_refuses_us_and_the_remedy_is_to_ask_for_security(
    secure_plc: SecurePlc, plc_certificate: Made, access: Callable[..., OpcuaBridgeSettings]
) -> None:
    await secure_plc.start(plc_certificate)
    session = Session(access("none"), "test")
    with pytest.raises(LinesideError) as caught:
        await session.open()
    session.leave()
    assert "security.policy" in caught.value.remedy
    assert "--insecure" in caught.value.remedy
