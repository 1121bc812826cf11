"""The bridge's process and its folder of certificates: killed, shared by mistake, not writable, on a full disk."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import NameOID

from lineside_opcua_bridge.security.certificates import application_uris
from lineside_opcua_bridge.security.store import CertificateStore
from tests.support.ports import free_port
from tests.support.secure_server_process import start_secure_server
from tests.support.waiting import HANG_S, block_until

# Root may write everywhere, until it gives up CAP_DAC_OVERRIDE for what it executes next (capabilities(7)).
NO_OVERRIDE = "import ctypes; ctypes.CDLL(None).prctl(24, 1, 0, 0, 0)"
# No file may become larger than this many bytes: where a disk is full, writes fail in their midst, too.
FULL_DISK = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))"


class Plc:
    """A secured PLC's port and certificate."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "press-7")])
        names = [x509.IPAddress(ip_address("127.0.0.1")), x509.UniformResourceIdentifier("urn:test:plc")]
        now = datetime.now(UTC)
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=10))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(key, hashes.SHA256())
        )
        file, key_file = folder / "plc.der", folder / "plc.pem"
        file.write_bytes(self.certificate.public_bytes(Encoding.DER))
        key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        options = {"port": self.port, "policies": ["Basic256Sha256_SignAndEncrypt"]}
        options |= {"certificate": str(file), "key": str(key_file)}
        self.process = start_secure_server(options)


@pytest.fixture(scope="module")
def plc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plc]:
    plc = Plc(tmp_path_factory.mktemp("plc"))
    yield plc
    plc.process.kill()
    plc.process.wait(HANG_S)


class Bridge:
    """A bridge's process; the broker is away all the time, which keeps nobody from the PLC."""

    def __init__(self, plc: Plc, pki: Path, folder: Path, *, thing: str = "box", first: str = "") -> None:
        self.http = free_port()
        trigger = {
            "name": "station-1",
            "when": {"kind": "edge", "node": "nsu=urn:lineside:test;s=Station1.PartPresent"},
            "station": "station-1",
            "model": "surface-defect",
            "source": {"kind": "camera", "camera": "station-1"},
        }
        section = {
            "http": {"port": self.http, "drain_s": 0.5},
            "endpoint": f"opc.tcp://127.0.0.1:{plc.port}",
            "security": {"pki_dir": str(pki)},
            "triggers": [trigger],
        }
        config = folder / f"bridge-{self.http}.yaml"
        document = {"thing": thing, "bus": {"port": free_port()}, "log": {"format": "json"}, "opcua_bridge": section}
        config.write_text(yaml.safe_dump(document), encoding="utf-8")
        command = [sys.executable, "-m", "lineside_opcua_bridge", str(config)]
        if first:
            command = [sys.executable, "-c", f"{first}\nimport os; os.execv({command[0]!r}, {command!r})"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def link(self) -> dict[str, str]:
        """Return the connection to the PLC as /readyz shows it; nothing while it does not answer."""
        assert self.process.poll() is None, self.end(signal.SIGKILL)
        try:
            links = httpx.get(f"http://127.0.0.1:{self.http}/readyz", timeout=HANG_S).json()["connections"]
        except httpx.HTTPError:
            return {"state": "", "detail": ""}
        return next(link for link in links if link["name"] == "opcua")

    def until_online(self) -> None:
        block_until(lambda: self.link()["state"] == "ONLINE")

    def until_said(self, text: str) -> str:
        return block_until(lambda: next((said for said in [self.link()["detail"]] if text in said), ""))

    def end(self, by: signal.Signals = signal.SIGTERM) -> str:
        """End the process and return all that it said."""
        if self.process.poll() is None:
            self.process.send_signal(by)
        return self.process.communicate(timeout=HANG_S)[0]


@pytest.fixture
def pki(plc: Plc, tmp_path: Path) -> Path:
    """A folder that trusts the PLC and holds no certificate of our own yet."""
    store = CertificateStore(tmp_path / "pki")
    store.prepare()
    store.add("trusted", plc.certificate)
    return store.root


@pytest.fixture
def bridge(plc: Plc, pki: Path, tmp_path: Path) -> Iterator[Callable[..., Bridge]]:
    started: list[Bridge] = []

    def start(**options: Any) -> Bridge:
        started.append(Bridge(plc, pki, tmp_path, **options))
        return started[-1]

    yield start
    for each in started:
        if each.process.returncode is None:
            each.end(signal.SIGKILL)


def own_files(pki: Path) -> list[Path]:
    """Return the own certificates, each of which must be whole and have its whole key."""
    files = sorted((pki / "own/certs").iterdir())
    for file in files:
        certificate = x509.load_der_x509_certificate(file.read_bytes())
        name = file.stem.removesuffix(".old").removesuffix(".next")
        key = load_pem_private_key((pki / "own/private" / f"{name}.pem").read_bytes(), password=None)
        assert key.public_key() == certificate.public_key()
    return files


def test_it_keeps_its_certificate_from_start_to_start_however_it_ended(bridge: Any, pki: Path) -> None:
    first = bridge()
    block_until(lambda: list((pki / "own/private").glob("*.pem")))
    first.end(signal.SIGKILL)  # in the middle of making it, or right after
    (pki / "own/private/.opcua-bridge-0.pem.1.part").write_text("what is left of a key")
    second = bridge()
    second.until_online()
    (made,) = own_files(pki)
    said = second.end(signal.SIGTERM)
    assert "Traceback" not in said
    assert '"event": "stopped"' in said
    third = bridge()
    third.until_online()
    third.end(signal.SIGKILL)
    fourth = bridge()
    fourth.until_online()
    assert own_files(pki) == [made]
    assert "has made itself a certificate" not in fourth.end()


def test_two_bridges_that_share_a_folder_from_their_first_start_share_one_certificate(bridge: Any, pki: Path) -> None:
    both = [bridge(), bridge()]
    for each in both:
        each.until_online()
    assert len(own_files(pki)) == 1


def test_bridges_of_two_things_in_one_folder_each_keep_their_own_certificate(bridge: Any, pki: Path) -> None:
    for _ in range(2):
        for thing in ("box-a", "box-b"):
            one = bridge(thing=thing)
            one.until_online()
            current = [file for file in own_files(pki) if not file.stem.endswith(".old")]
            (certificate,) = [x509.load_der_x509_certificate(file.read_bytes()) for file in current]
            assert application_uris(certificate) == [f"urn:lineside:{thing}:opcua-bridge"]
            assert "Traceback" not in one.end()
    assert len(own_files(pki)) == 2, "none is made anew because the other one was there in between"


def test_a_folder_that_is_not_writable_is_named_and_taken_once_it_is(bridge: Any, pki: Path) -> None:
    folders = [pki / "own/private", pki / "own/certs"]
    for folder in folders:
        folder.chmod(0o500)
    waiting = bridge(first=NO_OVERRIDE)
    detail = waiting.until_said("Permission denied")
    assert str(pki / "own/private") in detail
    assert own_files(pki) == []
    for folder in folders:
        folder.chmod(0o700)
    waiting.until_online()  # without a restart
    assert len(own_files(pki)) == 1
    said = waiting.end()
    assert "Traceback" not in said
    assert "opcua_bridge.security.pki_dir" in said, "the remedy"


def test_a_full_disk_leaves_nothing_half_written_and_is_named(bridge: Any, pki: Path) -> None:
    waiting = bridge(first=FULL_DISK)
    detail = waiting.until_said("cannot be written")
    assert str(pki / "own/private") in detail
    assert "File too large" in detail
    said = waiting.end()
    assert "Traceback" not in said
    assert "make room on the disk" in said
    assert [file.name for file in (pki / "own").rglob("*") if file.is_file()] == [".lock"]
    with_room = bridge()
    with_room.until_online()
    assert len(own_files(pki)) == 1
