"""What the doctor finds at the PLC: everything right, and each fault by its name, with what to do."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from lineside.checks import Check
from lineside.contract import utc_now
from lineside_opcua_bridge.doctor import checks, results
from lineside_opcua_bridge.doctor.nodes import skew
from lineside_opcua_bridge.security.own_certificate import CertificateSpec, OwnCertificates
from lineside_opcua_bridge.security.store import CertificateStore
from tests.support.secure_server_process import start_secure_server
from tests.support.waiting import HANG_S

URI = "urn:lineside:test"
NOW = datetime.now(UTC)

STEADY = pytest.mark.asyncio(loop_scope="module")
"""The loop that the steady PLC runs on."""

Ask = Callable[..., Any]


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    async def found(section: dict[str, Any], *, ahead: timedelta = timedelta()) -> dict[str, Check]:
        file = tmp_path / "settings.yaml"
        file.write_text(yaml.safe_dump({"opcua_bridge": section}), encoding="utf-8")
        return {
            check.name: check
            async for check in checks(file, {}, now=lambda: utc_now() + ahead)
            if check.name != results.NAME
        }

    return found


def section(plc: Any, *triggers: dict[str, Any], **changes: Any) -> dict[str, Any]:
    given = {"endpoint": plc.endpoint, "security": {"policy": "none"}, "triggers": list(triggers) or [plc.trigger(1)]}
    return given | changes


def marks(found: dict[str, Check]) -> dict[str, str]:
    return {name: str(check.mark) for name, check in found.items()}


@STEADY
async def test_what_is_right_is_said_to_be_and_nothing_is_written(steady, ask: Ask) -> None:
    await steady.reset()
    heartbeat = {"node": f"nsu={URI};s=Station2.Done"}
    found = await ask(section(steady, steady.trigger(1), heartbeat=heartbeat))
    assert marks(found) == {
        "PLC network": "ok",
        "PLC offers": "warn",
        "own certificate": "skip",
        "PLC certificate": "skip",
        "PLC session": "ok",
        "PLC clock": "ok",
        "PLC namespaces": "ok",
        "PLC limits": "ok",
        "trigger station-1": "ok",
        "heartbeat": "ok",
    }
    assert "INSECURE" in found["PLC offers"].what
    assert found["trigger station-1"].what == "3 nodes to read, 4 nodes to write"
    assert steady.writes == []


async def test_a_plc_that_is_away_is_named_and_what_hangs_on_it_skipped(plc, ask: Ask) -> None:
    found = await ask(section(plc))
    assert found["PLC network"].mark == "fail"
    assert "opcua_bridge.endpoint" in found["PLC network"].remedy
    assert {mark for name, mark in marks(found).items() if name != "PLC network"} == {"skip"}
    assert "trigger station-1" in found


async def test_a_plc_that_takes_connections_and_says_nothing_is_not_waited_for(plc, ask: Ask) -> None:
    silent = asyncio.Event()

    async def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await silent.wait()
        writer.close()

    async with await asyncio.start_server(accept, "127.0.0.1", plc.port):
        found = await ask(section(plc, request_timeout_ms=200))
        silent.set()
    assert (found["PLC network"].mark, found["PLC offers"].mark) == ("ok", "fail")
    assert found["PLC offers"].remedy
    assert found["trigger station-1"].mark == "skip"


@STEADY
async def test_a_node_spelled_in_two_ways_is_not_written_for_two_purposes(steady, ask: Ask) -> None:
    await steady.reset()
    two = steady.trigger(2, name="two")
    two["write_back"] |= {"done": "/Objects/Station1/Done"}
    found = await ask(section(steady, steady.trigger(1), two))
    assert marks(found)["trigger station-1"] == "ok"
    assert marks(found)["trigger two"] == "fail"
    assert f"node nsu={URI};s=Station1.Done would be written for two purposes" in found["trigger two"].what


@STEADY
async def test_every_trigger_is_looked_at_and_the_wrong_node_named(steady, ask: Ask) -> None:
    await steady.reset()
    wrong = steady.trigger(1) | {"sample": {"part_id": f"nsu={URI};s=Station1.PartIdd"}}
    unfit = steady.trigger(2, name="two") | {"when": {"kind": "edge", "node": f"nsu={URI};s=Station2.Speed"}}
    heartbeat = {"node": f"nsu={URI};s=Station1.PartId"}
    found = await ask(section(steady, wrong, unfit, heartbeat=heartbeat))
    assert marks(found)["trigger station-1"] == marks(found)["trigger two"] == marks(found)["heartbeat"] == "fail"
    assert "Station1.PartIdd" in found["trigger station-1"].what
    assert found["trigger station-1"].remedy
    assert "Station2.Speed" in found["trigger two"].what
    assert "Boolean" in found["trigger two"].what
    assert "Station1.PartId" in found["heartbeat"].what


@STEADY
@pytest.mark.parametrize(("off", "mark"), [(timedelta(seconds=30), "warn"), (timedelta(hours=1), "fail")])
async def test_a_clock_that_is_off_is_named(steady, ask: Ask, off: timedelta, mark: str) -> None:
    found = await ask(section(steady), ahead=off)
    assert found["PLC clock"].mark == mark
    assert "behind ours" in found["PLC clock"].what
    assert "NTP" in found["PLC clock"].remedy


def test_a_slow_answer_is_no_skew() -> None:
    slow = skew(NOW, NOW - timedelta(seconds=8), NOW + timedelta(seconds=1))
    assert slow.mark == "ok"
    assert skew(NOW + timedelta(seconds=3), NOW, NOW).what.startswith("3.0 s ahead of ours")
    assert skew(None, NOW, NOW).mark == "warn"


async def test_without_a_need_for_a_plc_nobody_is_called(plc, ask: Ask) -> None:
    trigger = {
        "name": "one",
        "when": {"kind": "edge", "node": "alias=/press/present"},
        "station": "one",
        "model": "m",
        "source": {"kind": "camera", "camera": "c"},
    }
    found = await ask(section(plc, trigger, collector={"topics": ["collected"]}))
    assert marks(found) == {"PLC": "skip"}


# Security: a server that trusts whom it knows, and is trusted or not.


class Secured:
    """A secured PLC, and the bridge's side of the trust."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.endpoint = f"opc.tcp://127.0.0.1:{port}"
        self.store = CertificateStore(folder / "pki")
        self.clients = folder / "clients"
        self.clients.mkdir()
        self.certificate = self._make()

    def _make(self) -> x509.Certificate:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "press-7")])
        names = [x509.IPAddress(ip_address("127.0.0.1")), x509.UniformResourceIdentifier("urn:test:plc")]
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - timedelta(days=10))
            .not_valid_after(NOW + timedelta(days=365))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(key, hashes.SHA256())
        )
        (self.folder / "plc.der").write_bytes(certificate.public_bytes(Encoding.DER))
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (self.folder / "plc.pem").write_bytes(pem)
        return certificate

    def trust_plc(self) -> None:
        self.store.prepare()
        self.store.add("trusted", self.certificate)

    def introduce_ourselves(self, *, trusted: bool = True) -> None:
        wanted = CertificateSpec("urn:lineside:bench:opcua-bridge", ("127.0.0.1",))
        [identity] = OwnCertificates(self.store, wanted).identities(utc_now())
        if trusted:
            (self.clients / "bridge.der").write_bytes(identity.certificate.public_bytes(Encoding.DER))

    def section(self, **changes: Any) -> dict[str, Any]:
        station = f"nsu={URI};s=Station1"
        trigger = {
            "name": "one",
            "when": {"kind": "edge", "node": f"{station}.PartPresent"},
            "station": "one",
            "model": "m",
            "source": {"kind": "camera", "camera": "c"},
        }
        given = {
            "endpoint": self.endpoint,
            "security": {"pki_dir": str(self.folder / "pki")},
            "request_timeout_ms": 10_000,
            "triggers": [trigger],
        }
        return given | changes

    @asynccontextmanager
    async def running(self, **options: Any) -> AsyncIterator[None]:
        given = {
            "port": self.port,
            "policies": ["Basic256Sha256_SignAndEncrypt"],
            "certificate": str(self.folder / "plc.der"),
            "key": str(self.folder / "plc.pem"),
            "clients": str(self.clients),
        } | options
        process = await asyncio.to_thread(start_secure_server, given)
        try:
            yield
        finally:
            process.kill()
            await asyncio.to_thread(process.wait, HANG_S)


@pytest.fixture
def secured(tmp_path: Path, plc) -> Secured:
    return Secured(tmp_path, plc.port)


async def test_each_step_of_a_secured_way_in_names_itself(secured: Secured, ask: Ask) -> None:
    """First nothing is prepared; then one thing after the other is put right, until all is."""
    async with secured.running():
        found = await ask(secured.section())
        assert (found["own certificate"].mark, found["PLC session"].mark) == ("fail", "skip")
        assert not list((secured.folder / "pki").glob("own/certs/*"))

        secured.introduce_ourselves(trusted=False)
        found = await ask(secured.section())
        assert "days left" in found["own certificate"].what
        assert found["PLC certificate"].mark == "fail"
        assert "trust add" in found["PLC certificate"].remedy

        secured.trust_plc()
        found = await ask(secured.section())
        assert found["PLC session"].mark == "fail"
        assert "BadCertificateUntrusted" in found["PLC session"].what
        assert "trust it in the PLC" in found["PLC session"].remedy
        assert found["trigger one"].mark == "skip"

        secured.introduce_ourselves()
        found = await ask(secured.section())
        assert "fail" not in marks(found).values()
        assert found["PLC certificate"].what.endswith("364 days left") or "365 days" in found["PLC certificate"].what
        assert (found["PLC offers"].mark, found["trigger one"].mark) == ("ok", "ok")


async def test_a_command_that_looks_leaves_nothing_behind(secured: Secured, tmp_path: Path) -> None:
    settings = tmp_path / "settings.yaml"

    def browse(section: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        settings.write_text(yaml.safe_dump({"opcua_bridge": section}), encoding="utf-8")
        argv = [str(Path(sys.executable).with_name("lineside")), "opcua", "browse", "--config", str(settings)]
        return subprocess.run(argv, capture_output=True, text=True, timeout=HANG_S, check=False)

    async with secured.running():
        system = tmp_path / "system" / "pki"
        done = await asyncio.to_thread(browse, secured.section(security={"pki_dir": str(system)}))
        assert done.returncode == 1
        assert f"the bridge has no certificate yet in {system}" in done.stderr
        assert not system.parent.exists()

        secured.introduce_ourselves()
        secured.trust_plc()
        done = await asyncio.to_thread(browse, secured.section())
        assert done.returncode == 0, done.stderr
        assert "Station1" in done.stdout


async def test_what_is_not_offered_and_who_is_not_let_in_is_named(secured: Secured, ask: Ask) -> None:
    secured.introduce_ourselves()
    secured.trust_plc()
    password = secured.folder / "password"
    password.write_text("wrong\n")
    password.chmod(0o600)
    async with secured.running(users={"lineside": ["right", "User"]}):
        policy = {"pki_dir": str(secured.folder / "pki"), "policy": "Aes256_Sha256_RsaPss"}
        found = await ask(secured.section(security=policy))
        assert found["PLC offers"].mark == "fail"
        assert "Basic256Sha256" in found["PLC offers"].what

        user = {"kind": "password", "name": "lineside", "password_file": str(password)}
        found = await ask(secured.section(user=user))
        assert found["PLC session"].mark == "fail"
        assert "lineside" in found["PLC session"].what
        assert found["PLC certificate"].mark == "ok"
        password.write_text("right\n")
        assert "fail" not in marks(await ask(secured.section(user=user))).values()
