"""The doctor on the real machine: its Docker Engine, its ports, a disk of its own, its clock, and everything dead."""

import contextlib
import http.server
import json
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml

import lineside.checks
import lineside_exporter.settings
import lineside_forwarder.settings
from lineside.checks import Check, Mark
from lineside.cli.machine import certificates, clock, disk, docker, host, ports
from lineside.settings import BusSettings, BusTlsSettings, Settings
from tests.support.mounts import UNSHARE, needs_mount
from tests.support.paths import ROOT
from tests.support.ports import free_port, refusing_port
from tests.support.variables import missing
from tests.support.waiting import HANG_S

HERE = Path("/")
MODELS = ROOT / "models"
LINESIDE = Path(sys.executable).with_name("lineside")


def doctor(settings: Path, *before: str) -> tuple[int, dict[str, dict[str, str]]]:
    """Run the command; return its exit status and its checks by name."""
    argv = [*before, str(LINESIDE), "doctor", "--json", "--config", str(settings)]
    run = subprocess.run(argv, capture_output=True, text=True, timeout=HANG_S, check=False)
    assert run.returncode in {0, 1}, run.stdout + run.stderr
    return run.returncode, {check["name"]: check for check in json.loads(run.stdout)["checks"]}


# Docker


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> str:
    found = shutil.which("docker")
    if found is None:
        pytest.skip("there is no docker command on this machine")
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    return found


@pytest.fixture
def engine(command: str) -> str:
    """The version of the Engine that answers here."""
    argv = [command, "version", "--format", "{{.Server.Version}}"]
    asked = subprocess.run(argv, capture_output=True, text=True, timeout=HANG_S, check=False)
    if asked.returncode:
        missing("docker", f"no Docker Engine answers here: {asked.stderr.strip()}")
    return asked.stdout.strip()


async def docker_checks() -> dict[str, Check]:
    return {check.name: check for check in await docker.checks(HERE)}


async def test_the_real_engine_is_asked(engine: str) -> None:
    found = await docker_checks()
    assert f"Engine {engine}, " in found[docker.DOCKER].what
    assert found[docker.COMPOSE].mark in {Mark.OK, Mark.WARN}
    assert list(found) == [docker.DOCKER, docker.COMPOSE, docker.RUNTIME]


async def test_an_engine_that_is_not_there_fails_where_it_was_named(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    found = await docker_checks()
    assert found[docker.DOCKER].mark is Mark.FAIL
    assert str(tmp_path) in found[docker.DOCKER].what
    assert "DOCKER_HOST" in found[docker.DOCKER].remedy
    assert {found[docker.COMPOSE].mark, found[docker.RUNTIME].mark} == {Mark.SKIP}


async def test_an_engine_that_hangs_is_left_alone_and_its_command_is_ended(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command
    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as hung:
        hung.bind(str(path))
        hung.listen()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
        monkeypatch.setattr(docker, "ANSWER_S", 1.0)
        found = await docker_checks()
        hung.settimeout(0)
        taken = [hung.accept()[0]]  # it did ask
        with contextlib.suppress(BlockingIOError):
            while True:
                taken.append(hung.accept()[0])
        for each in taken:
            each.settimeout(HANG_S)
            while each.recv(65536):  # until the command's end has closed it
                pass
            each.close()
    assert found[docker.DOCKER].mark is Mark.FAIL
    assert found[docker.DOCKER].what == "the Engine does not answer within 1 s"


async def test_a_machine_without_docker_needs_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mountinfo").write_text("25 1 254:0 / / rw - ext4 /dev/vda rw\n")
    found = {check.name: check.mark for check in await docker.checks(tmp_path)}
    assert set(found.values()) == {Mark.SKIP}
    (tmp_path / "run").mkdir()
    (tmp_path / "run/docker.sock").touch()
    assert (await docker.checks(tmp_path))[0].mark is Mark.WARN
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere")
    assert (await docker.checks(tmp_path))[0].mark is Mark.FAIL


# The machine


def test_this_machine_is_read() -> None:
    assert host.machine(HERE).name == host.MACHINE
    memory = host.read_memory(HERE)
    assert 0 < memory.available <= memory.total
    assert clock.look().mark in {Mark.OK, Mark.WARN, Mark.SKIP}


def forwarder(port: int) -> lineside_forwarder.settings.Settings:
    return lineside_forwarder.settings.Settings.model_validate({"forwarder": {"http": {"port": port}}})


def test_a_port_that_another_program_has_is_named_with_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lineside.checks, "HTTP_S", 0.2)  # it answers nothing
    program = "import socket, sys; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True)"
    program += "; sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        port = int(other.stdout.readline())
        taken = ports.look([forwarder(port)], HERE)
        other.communicate()
    assert taken.mark is Mark.FAIL
    assert f"127.0.0.1:{port} of forwarder is taken by " in taken.what
    assert f"(pid {other.pid})" in taken.what
    assert ports.look([forwarder(port)], HERE).what == f"{port} forwarder free"


class Other(http.server.BaseHTTPRequestHandler):
    """A service of ours, and the wrong one."""

    def do_GET(self) -> None:
        body = json.dumps({"service": "exporter", "ready": True, "connections": []}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_given: object) -> None:
        pass


def test_a_port_with_the_wrong_service_and_one_given_twice() -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        exporter = lineside_exporter.settings.Settings.model_validate({"exporter": {"http": {"port": port}}})
        found = ports.look([forwarder(port), exporter], HERE)
        server.shutdown()
    assert found.mark is Mark.FAIL
    assert f"127.0.0.1:{port} of forwarder is taken by exporter" in found.what
    assert f"{port} is the port of forwarder and of exporter in the settings" in found.what
    assert "of exporter is taken" not in found.what


LOOK = """
import dataclasses, json, sys
from pathlib import Path
from lineside.cli.machine import disk
from lineside.settings import Settings
from lineside.spool.settings import SpoolSettings

class Spooling(Settings):
    spool: SpoolSettings

spool = SpoolSettings(folder=Path(sys.argv[1]), max_bytes=1 << 20, reserve_bytes=1 << 20)
print(json.dumps(dataclasses.asdict(disk.look([Spooling(spool=spool)], Path("/")))))
"""


def on_a_disk(folder: Path, options: str, more: str) -> dict[str, Any]:
    """Return what the doctor says of a spool on a disk of its own, which nobody else sees."""
    steps = f'mount -t tmpfs -o {options} tmpfs {folder} && cd {folder} && {more}; cd / && exec "$0" "$@"'
    argv = [*UNSHARE, "sh", "-c", steps, sys.executable, "-c", LOOK, str(folder)]
    return dict(json.loads(subprocess.run(argv, stdout=subprocess.PIPE, timeout=HANG_S, check=True).stdout))


@needs_mount
@pytest.mark.parametrize(
    ("options", "more", "mark", "says"),
    [
        ("size=8m", "true", "warn", "it is memory"),
        ("size=8m", "head -c 8m /dev/zero > full 2>/dev/null", "fail", "spool.reserve_bytes, 1.0 MiB"),
        ("size=8m,ro", "true", "fail", "read-only"),
        ("size=8m,nr_inodes=9", "true", "warn", "room for 8 more files"),
    ],
)
def test_the_spools_disk(tmp_path: Path, options: str, more: str, mark: str, says: str) -> None:
    found = on_a_disk(tmp_path, options, more)
    assert found["mark"] == mark, found
    assert says in found["what"]


@needs_mount
def test_shared_memory_that_is_too_small_is_told(tmp_path: Path) -> None:
    settings = tmp_path / "settings.yaml"
    steps = 'mount -t tmpfs -o size=1m tmpfs /dev/shm && exec "$0" "$@"'
    with refusing_port() as port:  # on the usual ports another line may run
        own = {"model_repository": str(MODELS), "http": {"port": port}, "triton": {"url": f"127.0.0.1:{port}"}}
        settings.write_text(yaml.safe_dump({"inference": own}))
        _status, found = doctor(settings, *UNSHARE, "sh", "-c", steps)
    assert found["shared memory"]["mark"] == "warn"
    assert "/dev/shm has 1.0 MiB of 1.0 MiB free, the arena takes 32.0 MiB" in found["shared memory"]["what"]
    assert "shm_size" in found["shared memory"]["remedy"]


def test_a_disk_that_can_be_read_is_this_one(tmp_path: Path) -> None:
    found = disk.read(tmp_path, Path("/proc/self/mountinfo").read_text())
    real = shutil.disk_usage(tmp_path)
    assert found.total == real.total
    assert not found.is_read_only
    assert found.kind != "unknown"


@pytest.mark.skipif(shutil.which("faketime") is None, reason="faketime is not installed")
def test_a_clock_that_begins_in_1999_is_a_failure(tmp_path: Path) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text("{}")
    status, found = doctor(settings, "faketime", "1999-12-31 12:00:00")
    assert status == 1
    assert found["clock"]["mark"] == "fail"
    assert found["clock"]["what"].startswith("1999-12-31T12:")
    assert "is before this installation was made" in found["clock"]["what"]


# Certificates


@contextlib.contextmanager
def tls_server(ca: trustme.CA, ends: datetime) -> Iterator[int]:
    """A server that shakes hands, whose certificate ends so; gives its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost", not_before=datetime(2020, 1, 1, tzinfo=UTC), not_after=ends).configure_cert(context)
    with socket.create_server(("localhost", 0)) as listener:

        def serve() -> None:
            plain, _address = listener.accept()
            with contextlib.suppress(OSError), context.wrap_socket(plain, server_side=True) as secured:
                secured.recv(1)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            thread.join()


@pytest.mark.parametrize(
    ("days", "mark", "says"),
    [(90, Mark.OK, "the broker's: 89 days left"), (9, Mark.WARN, "8 days left"), (-9, Mark.FAIL, "expired")],
)
def test_the_brokers_certificate_is_seen_to_its_end(tmp_path: Path, days: int, mark: Mark, says: str) -> None:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    with tls_server(ca, datetime.now(UTC) + timedelta(days=days)) as port:
        bus = BusSettings(host="localhost", port=port, tls=BusTlsSettings(ca_file=tmp_path / "ca.pem"))
        found = certificates.look([Settings(bus=bus)])
    assert found.mark is mark, found
    assert says in found.what
    assert f"bus.tls.ca_file {tmp_path}/ca.pem: " in found.what or mark is Mark.FAIL


def test_a_broker_that_is_not_trusted_is_a_failure(tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    with tls_server(trustme.CA(), datetime.now(UTC) + timedelta(days=90)) as port:
        bus = BusSettings(host="localhost", port=port, tls=BusTlsSettings(ca_file=tmp_path / "ca.pem"))
        found = certificates.look([Settings(bus=bus)])
    assert found.mark is Mark.FAIL
    assert "is refused: " in found.what


# Everything dead


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that takes every connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        yield listener.getsockname()[1]


def everything(tmp_path: Path, port: int) -> Path:
    """Return settings in which every peer is at one port."""
    here = {"http": {"port": port}}
    document = {
        "bus": {"port": port},
        "spool": {"folder": str(tmp_path / "spool")},
        "inference": {
            **here,
            "triton": {"url": f"127.0.0.1:{port}"},
            "model_repository": str(MODELS),
            "cameras": {f"cell-{each}": {"url": f"http://127.0.0.1:{port}/{each}.jpg"} for each in range(8)},
        },
        "topic_bridge": {**here, "inference_url": f"http://127.0.0.1:{port}"},
        "opcua_bridge": {
            **here,
            "endpoint": f"opc.tcp://127.0.0.1:{port}",
            "security": {"policy": "none"},
            "triggers": [
                {
                    "name": "cell-1",
                    "when": {"kind": "edge", "node": "nsu=urn:cell;s=Part"},
                    "station": "cell-1",
                    "model": "surface-defect",
                    "source": {"kind": "camera", "camera": "cell-1"},
                    "deadline_ms": 400,
                    "write_back": {"verdict": "nsu=urn:cell;s=Verdict", "done": "nsu=urn:cell;s=Done"},
                }
            ],
        },
        "forwarder": {
            **here,
            "destinations": [
                {"name": "s3", "kind": "s3", "bucket": "parts", "endpoint_url": f"http://127.0.0.1:{port}"}
            ],
        },
        "exporter": here,
    }
    path = tmp_path / "settings.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


COMPLETE = {
    *(
        "settings",
        "broker",
        "broker accounts",
        "results heard",
        "inference",
        "topic-bridge",
        "opcua-bridge",
        "forwarder",
        "exporter",
        "deployer",
        "deployments",
    ),
    *(
        "machine",
        "memory",
        "clock",
        "ports",
        "disk",
        "certificates",
        "secret files",
        "docker",
        "docker compose",
        "nvidia runtime",
    ),
    *(
        "model cards",
        "Triton",
        "model surface-defect",
        "model spindle-anomaly",
        "shared memory",
        "jetpack",
        "TensorRT engines",
    ),
    *(f"camera cell-{each}" for each in range(8)),
    *("inference API", "models and cameras", "topics end to end"),
    *("PLC network", "PLC offers", "own certificate", "PLC certificate", "PLC session"),
    *("PLC clock", "PLC namespaces", "PLC limits", "trigger cell-1"),
    *("evidence", "spool folder", "evidence waiting", "S3 clock", "metrics sources"),
}
PEERS = {"broker", "Triton", "inference API", *(f"camera cell-{each}" for each in range(8))}


def test_with_every_peer_silent_the_report_is_complete(tmp_path: Path, silent: int) -> None:
    status, found = doctor(everything(tmp_path, silent))
    assert status == 1
    assert set(found) == COMPLETE
    assert PEERS | {"PLC offers", "S3 clock"} <= {name for name, check in found.items() if check["mark"] == "fail"}
    assert all(check["what"] for check in found.values())
    assert all(check["remedy"] for name, check in found.items() if check["mark"] == "fail" and name in PEERS)


def test_with_every_peer_gone_the_report_is_complete(tmp_path: Path) -> None:
    port = free_port()
    status, found = doctor(everything(tmp_path, port))
    assert status == 1
    assert set(found) == COMPLETE
    assert PEERS | {"PLC network"} <= {name for name, check in found.items() if check["mark"] == "fail"}
