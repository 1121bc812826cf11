"""component.sh on a real engine: a container started, stopped, killed, recovered; secrets and a model in volumes."""

import hashlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
import yaml

from lineside.recipes.writing import SOURCE
from tests.support.camera_wire import camera_wire
from tests.support.paths import ROOT
from tests.support.waiting import HANG_S, block_until

EYE = "com.example.Eye"
DOCKERFILE = """\
FROM {base}
ENTRYPOINT ["python", "-u", "-c", "\\
import os, signal, socket, time; \\
signal.signal(signal.SIGTERM, lambda *_: (print('drained'), os._exit(0))); \\
path = os.environ.get('AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT'); \\
path and socket.socket(socket.AF_UNIX).connect(path); \\
print('up as', os.getuid(), os.environ.get('SVCUID'), path); \
os.environ.get('HUNGRY') and b'x' * (1 << 30); time.sleep(10000)"]
"""


class Rig:
    """An image, a socket of the nucleus, and names of its own on the engine, all removed at the end."""

    def __init__(self, docker: Callable, image: str, folder: Path) -> None:
        self.docker, self.image, self.folder = docker, image, folder
        self.scope = f"t{secrets.token_hex(4)}"
        self.name = f"{self.scope}-eye"
        self.environment = {
            **os.environ,
            "LINESIDE_TEST_SCOPE": self.scope,
            "SVCUID": "the-token",
            "AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT": "../gg/ipc.socket",
        }

    def argv(self, *arguments: str) -> list[str]:
        return ["sh", str(SOURCE), *arguments]

    def attempt(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.argv(*arguments),
            cwd=self.folder / "work",
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=HANG_S,
            check=False,
        )

    def run(self, *arguments: str) -> str:
        done = self.attempt(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self, *more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.argv(
                *("startup", EYE, self.name, self.image, "--ipc", "--stop", "30"),
                *("--network", f"{self.scope}-out", "--internal-network", f"{self.scope}-in", "--alias", "eye"),
                *("--shared-memory", "8m", *more),
                *("--", "--user", "10001:10001", "--memory", "64m", "--pids-limit", "32"),
            ),
            cwd=self.folder / "work",
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def is_up(self) -> bool:
        return "up as" in self.docker("logs", self.name, check=False).stdout

    def is_there(self) -> bool:
        return self.docker("container", "inspect", self.name, check=False).returncode == 0

    def once(self, *volumes: str, script: str) -> str:
        """Run a script in a container as nobody and return what it says."""
        mounts = [word for volume in volumes for word in ("-v", f"{self.scope}-{volume}")]
        done = self.docker(
            *("run", "--rm", "--network", "none", "--user", "10001:10001", *mounts, "--entrypoint", "sh", self.image),
            *("-c", script),
        )
        return str(done.stdout)

    def identity(self) -> str:
        """Return the container's id; nothing where there is none."""
        return str(self.docker("inspect", "--format", "{{.Id}}", self.name, check=False).stdout.strip())

    def remove(self) -> None:
        self.docker("rm", "--force", self.name, check=False)
        block_until(lambda: not self.is_there(), "the container's removal")
        for kind in ("network", "volume"):
            known = self.docker(kind, "ls", "--quiet", "--filter", f"name={self.scope}").stdout.split()
            for each in known:
                block_until(
                    lambda kind=kind, each=each: self.docker(kind, "rm", each, check=False).returncode == 0,
                    f"{kind} {each}",
                )


@pytest.fixture(scope="module")
def image(docker: Callable, held: dict[str, str]) -> str:
    name = "lineside-test/eye:1"
    text = DOCKERFILE.format(base=held["PYTHON_IMAGE"])
    done = subprocess.run(
        ["docker", "build", "--quiet", "--tag", name, "-"], input=text, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    del docker
    return name


@pytest.fixture
def rig(docker: Callable, image: str) -> Iterator[Rig]:
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        for name in ("gg", "work"):
            (Path(folder) / name).mkdir()
        listener.bind(f"{folder}/gg/ipc.socket")
        listener.listen(8)
        (Path(folder) / "gg/ipc.socket").chmod(0o666)
        found = Rig(docker, image, Path(folder))
        try:
            yield found
        finally:
            found.remove()


def test_a_container_runs_in_the_foreground_as_nobody_with_the_nucleus_socket_until_shutdown(rig: Rig) -> None:
    assert "this machine can run it" in rig.run("install", EYE, "--ipc", "--room", "1", rig.image)
    process = rig.start()
    block_until(rig.is_up, lambda: f"the container; {process.poll()}")
    [seen] = json.loads(rig.docker("inspect", rig.name).stdout)
    host = seen["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert host["RestartPolicy"]["Name"] in {"", "no"}
    assert not host["Privileged"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert sorted(seen["NetworkSettings"]["Networks"]) == [f"{rig.scope}-in", f"{rig.scope}-out"]
    assert "the-token" not in " ".join(seen["Args"])
    assert process.poll() is None
    rig.run("shutdown", EYE, rig.name, "30")
    out, _ = process.communicate(timeout=HANG_S)
    assert "up as 10001 the-token /run/greengrass/ipc.socket" in out
    assert "drained" in out
    assert process.returncode == 1  # never 0, which Greengrass would take for RUNNING
    block_until(lambda: not rig.is_there(), "the container's removal")
    rig.run("shutdown", EYE, rig.name, "30")


def test_a_container_has_its_address_on_the_card_of_gige_cameras_and_goes_out_as_before(
    rig: Rig,
) -> None:
    with camera_wire(rig.image) as wire, camera_wire(rig.image) as other:
        own = wire.address.rpartition(".")[0] + ".9"
        for card in (wire.card, wire.card, other.card):  # new, there already, made anew
            process = rig.start("--cameras", f"{card} {wire.subnet} {own}")
            block_until(rig.is_up, "the container")
            [made] = json.loads(rig.docker("network", "inspect", f"{rig.scope}-cameras").stdout)
            assert (made["Driver"], made["Internal"], made["Options"]) == ("macvlan", True, {"parent": card})
            [seen] = json.loads(rig.docker("inspect", rig.name).stdout)
            networks = seen["NetworkSettings"]["Networks"]
            assert networks[f"{rig.scope}-cameras"]["IPAddress"] == own
            routes = rig.docker("exec", rig.name, "cat", "/proc/net/route").stdout.splitlines()
            [gateway] = [words[2] for words in map(str.split, routes[1:]) if words[1] == "00000000"]
            assert str(ip_address(bytes.fromhex(gateway)[::-1])) == networks[f"{rig.scope}-out"]["Gateway"]
            rig.run("shutdown", EYE, rig.name, "30")
            process.communicate(timeout=HANG_S)
        rig.docker("network", "rm", f"{rig.scope}-cameras")


def test_a_signal_to_the_script_drains_the_container(rig: Rig) -> None:
    process = rig.start()
    block_until(rig.is_up, "the container")
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=HANG_S)
    assert process.returncode == 0, out
    assert "drained" in out


def test_a_container_that_outlives_its_component_is_recovered_twice_and_started_anew(rig: Rig) -> None:
    """As after a nucleus that was killed: Docker keeps the container, its name and its dead token."""
    process = rig.start()
    block_until(rig.is_up, "the container")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=HANG_S)
    assert rig.is_there()
    last = rig.identity()
    rig.once("shared-memory:/dev/shm:nocopy", script="touch /dev/shm/lineside-7-left")
    for _ in range(2):
        rig.run("recover", EYE, rig.name, "--shared-memory", rig.image)
    assert not rig.is_there()
    assert rig.once("shared-memory:/dev/shm:nocopy", script="ls /dev/shm") == ""
    for kill in (True, False):  # and without recover, as on nucleus lite
        process = rig.start()
        block_until(lambda before=last: rig.identity() not in {"", before} and rig.is_up(), "another container")
        last = rig.identity()
        os.killpg(process.pid, signal.SIGKILL if kill else signal.SIGTERM)
        process.communicate(timeout=HANG_S)


def test_a_container_that_is_killed_ends_the_component_with_a_status(rig: Rig) -> None:
    process = rig.start()
    block_until(rig.is_up, "the container")
    rig.docker("kill", rig.name)
    out, _ = process.communicate(timeout=HANG_S)
    assert process.returncode == 137
    assert "ended with status 137" in out


def test_a_container_that_takes_more_memory_than_it_may_dies_alone(rig: Rig) -> None:
    neighbour = rig.start()
    block_until(rig.is_up, "the neighbour")
    identity = rig.identity()
    hungry = subprocess.run(
        rig.argv(
            *("startup", "com.example.Hungry", f"{rig.scope}-hungry", rig.image, "--network", f"{rig.scope}-out", "--"),
            *("--user", "10001:10001", "--memory", "64m", "--memory-swap", "64m", "--env", "HUNGRY=yes"),
        ),
        cwd=rig.folder / "work",
        env=rig.environment,
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
    )
    assert hungry.returncode == 137, hungry.stdout + hungry.stderr
    assert "up as 10001" in hungry.stdout  # what it wrote is in the component's log
    assert "ended with status 137" in hungry.stderr
    assert neighbour.poll() is None
    assert rig.identity() == identity
    assert rig.docker("inspect", "--format", "{{.State.Running}}", rig.name).stdout.strip() == "true"
    rig.run("shutdown", EYE, rig.name, "30")
    neighbour.communicate(timeout=HANG_S)


def test_the_token_is_made_once_and_each_reader_gets_it(rig: Rig) -> None:
    script = ("startup", EYE, rig.name, rig.image, "--secrets", "inference", "--", "--user", "10001:10001")
    tokens = []
    for _ in range(2):
        process = subprocess.Popen(
            rig.argv(*script), cwd=rig.folder / "work", env=rig.environment, stdout=subprocess.DEVNULL
        )
        block_until(lambda: rig.is_there() and rig.is_up(), "the container")
        tokens.append(
            rig.once(
                *("secret-inference:/a:ro", "secret-topic-bridge:/b:ro", "secret-exporter:/c:ro"),
                script="cat /a/tokens; cmp /a/tokens /b/inference-token; "
                "stat -c '%u:%g %a' /?/*token*; cat /c/* 2>&1 || :",
            )
        )
        process.terminate()
        process.wait(HANG_S)
    assert tokens[0] == tokens[1]
    token, *owners, refused = tokens[0].split("\n")[:-1]
    assert len(token) == 48
    assert owners == ["0:10001 440", "0:10001 440", "0:10002 440"]
    assert "Permission denied" in refused  # the exporter's is for user 10002


LOOK = "cd /models; for each in $(find . -name model.onnx | sort); do echo $each $(cat $each); done"


def make(folder: Path, version: str, content: bytes) -> None:
    """Make a model's folder as Greengrass unpacks it: for its own user only."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / version).mkdir(parents=True)
    shutil.copy(ROOT / "models/surface-defect/config.pbtxt", folder)
    card = yaml.safe_load((ROOT / "models/surface-defect/card.yaml").read_text())
    card |= {"version": version}
    card["files"] = [{"path": f"{version}/model.onnx", "sha256": hashlib.sha256(content).hexdigest()}]
    (folder / "card.yaml").write_text(yaml.safe_dump(card))
    (folder / version / "model.onnx").write_bytes(content)
    (folder / version / "model.onnx").chmod(0o400)


def test_a_model_is_put_into_the_volume_and_an_accepted_version_never_changes(rig: Rig, images: dict[str, str]) -> None:
    folder, image = rig.folder / "work/unpacked/surface-defect", images["inference"]
    put = ("model", EYE, image, "surface-defect", str(folder.parent))
    accept = ("run", "--rm", "-u", "0:0", "--network", "none", "-v", f"{rig.scope}-models:/models", "--entrypoint")
    accept = (*accept, "python", image, "-m", "lineside_inference.deploying", "accept", "surface-defect")
    make(folder, "1", b"one")
    for _ in range(2):
        assert "version 1 of the model surface-defect is in the volume" in rig.run(*put)
    rig.docker(*accept, "1")
    assert rig.once("models:/models:ro", script=LOOK) == "./surface-defect/1/model.onnx one\n"
    make(folder, "1", b"another")
    done = rig.attempt(*put)
    assert done.returncode == 1
    assert "version 1 of model surface-defect is there with another content" in done.stderr
    assert "what was there stays" in done.stderr
    make(folder, "2", b"broken")
    rig.run(*put)
    make(folder, "2", b"mended")
    rig.run(*put)
    assert rig.once("models:/models:ro", script=LOOK).splitlines() == [
        "./surface-defect/1/model.onnx one",
        "./surface-defect/2/model.onnx mended",
    ]
    assert rig.docker(*accept, "1").stdout == "version 2 is removed\n"
    rig.run("recover", EYE, rig.name, "--staging", image, "surface-defect")
    assert rig.once("models:/models:ro", script=LOOK) == "./surface-defect/1/model.onnx one\n"
    assert "staging/surface-defect" not in rig.once("models:/models:ro", script="find /models")


def test_a_model_without_an_inference_service_ends_in_a_sentence(rig: Rig, images: dict[str, str]) -> None:
    folder = rig.folder / "work/unpacked/surface-defect"
    make(folder, "1", b"one")
    rig.environment["LINESIDE_TEST_AWAY_S"] = "1"
    words = (f"{rig.scope}-model", images["inference"], "surface-defect", str(folder), "http://inference:8080", "60")
    done = rig.attempt("serves", EYE, *words)
    assert done.returncode == 1
    assert "no inference service is on this machine" in done.stderr
