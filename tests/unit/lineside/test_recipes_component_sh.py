"""component.sh by itself, with a stand-in for docker: what it refuses, how it calls docker, how it ends."""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from lineside.recipes.writing import SOURCE
from tests.support.paths import ROOT, SUPPORT
from tests.support.waiting import HANG_S, block_until

EYE, NAME, IMAGE = "com.example.Eye", "eye", "plant.example/eye:1.4.0"
SOCKET = "AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT"


class Rig:
    """A machine of files: its docker, its uname and df, the nucleus' socket."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin, self.state, self.root = folder / "bin", folder / "state", folder / "root"
        self.work = folder / "work"
        for each in (self.bin, self.root / "etc", self.work):
            each.mkdir(parents=True)
        for each in ("says", "status", "containers", "things"):
            (self.state / each).mkdir(parents=True)
        self.program("docker", f'exec {sys.executable} -S -E {SUPPORT / "stand_in_docker.py"} "$@"')
        self.program("uname", "echo x86_64")
        self.program("df", "printf 'Filesystem 1024-blocks Used Available\\n/dev/x 99 9 52428800\\n'")
        self.says("image-inspect", "amd64\n")
        self.says("version", "27.0.1\n")
        self.environment = {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "STAND_IN": str(self.state),
            "LINESIDE_TEST_ROOT": str(self.root),
            "SVCUID": "a-token",
            "AWS_IOT_THING_NAME": "press-7",
        }

    def program(self, name: str, line: str) -> None:
        (self.bin / name).write_text(f"#!/bin/sh\n{line}\n")
        (self.bin / name).chmod(0o755)

    def says(self, words: str, text: str, status: int = 0) -> None:
        (self.state / "says" / words).write_text(text)
        (self.state / "status" / words).write_text(str(status))

    def argv(self, *arguments: str) -> list[str]:
        return ["sh", str(SOURCE), *arguments]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.argv(*arguments),
            cwd=self.work,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=HANG_S,
            check=False,
        )

    def refused(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 1, done.stdout + done.stderr
        return done.stderr.strip().splitlines()[-1]

    @property
    def diary(self) -> list[list[str]]:
        file = self.state / "diary"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def calls(self, verb: str) -> list[list[str]]:
        return [call for call in self.diary if call[0] == verb]


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


@pytest.fixture
def nucleus(rig: Rig) -> Iterator[Path]:
    """A socket of the nucleus, which the script finds by a relative path, as with a long root."""
    folder = rig.folder / "gg"
    folder.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        before = Path.cwd()
        os.chdir(folder)  # a socket's path is bounded, and a test's folder is long
        listener.bind("ipc.socket")
        os.chdir(before)
        (folder / "ipc.socket").chmod(0o666)
        rig.environment[SOCKET] = "../gg/ipc.socket"
        yield folder / "ipc.socket"


def test_a_machine_that_can_run_it_is_told_so(rig: Rig, nucleus: Path) -> None:
    del nucleus
    done = rig.run("install", EYE, "--machine", "amd64", "--room", "3", "--ipc", IMAGE)
    assert (done.returncode, done.stdout) == (0, f"{EYE}: this machine can run it\n"), done.stderr


def test_no_docker(rig: Rig) -> None:
    (rig.bin / "docker").unlink()
    for name in ("sh", "printf", "id", "uname", "dirname"):
        (rig.bin / name).unlink(missing_ok=True)
        (rig.bin / name).symlink_to(shutil.which(name) or name)
    rig.environment["PATH"] = str(rig.bin)
    assert rig.refused("install", EYE, IMAGE) == (
        f"{EYE}: there is no docker command: install Docker Engine 20.10 or newer"
    )


@pytest.mark.parametrize(
    ("complaint", "remedy"),
    [
        ("Got permission denied while trying to connect to the Docker daemon socket", "sudo usermod -aG docker"),
        (
            "Cannot connect to the Docker daemon at unix:///var/run/docker.sock.\nIs it on?",
            "sudo systemctl enable --now docker",
        ),
        ("", "see journalctl -u docker"),
    ],
)
def test_an_engine_that_does_not_answer(rig: Rig, complaint: str, remedy: str) -> None:
    rig.says("version", complaint, 1)
    assert remedy in rig.refused("install", EYE, IMAGE)
    assert remedy in rig.refused("startup", EYE, NAME, IMAGE, "--")


def test_another_architecture(rig: Rig) -> None:
    assert "this machine is amd64 and the component's images are for aarch64" in rig.refused(
        "install", EYE, "--machine", "aarch64", IMAGE
    )


def test_an_image_of_another_architecture(rig: Rig) -> None:
    rig.says("image-inspect", "arm64\n")
    said = rig.refused("install", EYE, "--machine", "amd64", IMAGE)
    assert f"image {IMAGE} is built for aarch64 and this machine is amd64" in said


def test_an_image_that_is_not_there(rig: Rig) -> None:
    rig.says("image-inspect", "no such image", 1)
    assert f"image {IMAGE} is not on this machine" in rig.refused("install", EYE, IMAGE)


def test_a_full_disk(rig: Rig) -> None:
    said = rig.refused("install", EYE, "--room", "60", IMAGE)
    assert "has 50 GiB free and 60 GiB are needed" in said
    assert "docker image prune" in said


def test_no_runtime_of_nvidia(rig: Rig) -> None:
    rig.says("info", '{"runc":{}}\n')
    assert "sudo nvidia-ctk runtime configure --runtime=docker" in rig.refused("install", EYE, "--gpu", IMAGE)
    rig.says("info", '{"nvidia":{},"runc":{}}\n')
    assert rig.run("install", EYE, "--gpu", IMAGE).returncode == 0


def test_no_jetson_and_another_jetpack(rig: Rig) -> None:
    assert "this is no Jetson" in rig.refused("install", EYE, "--l4t", "36", IMAGE)
    release = rig.root / "etc/nv_tegra_release"
    release.write_text("# R35 (release), REVISION: 4.1, GCID: 33958178, BOARD: t186ref, EABI: aarch64\n")
    assert "this Jetson has L4T R35 and Triton's image is for R36" in rig.refused("install", EYE, "--l4t", "36", IMAGE)
    release.write_text("# R36 (release), REVISION: 4.3\n")
    assert rig.run("install", EYE, "--l4t", "36", IMAGE).returncode == 0


def test_no_socket(rig: Rig) -> None:
    assert "the nucleus gave no socket" in rig.refused("install", EYE, "--ipc", IMAGE)
    (rig.work / "file").touch()
    rig.environment[SOCKET] = "file"
    assert "is no socket: restart Greengrass" in rig.refused("install", EYE, "--ipc", IMAGE)


def test_a_socket_that_only_its_owner_may_use(rig: Rig, nucleus: Path) -> None:
    nucleus.chmod(0o600)
    assert "run components as ggc_user:ggc_group" in rig.refused("install", EYE, "--ipc", IMAGE)


def for_group(rig: Rig, group: int) -> None:
    rig.program("stat", f"case $2 in %g) echo {group} ;; %a) echo 660 ;; esac")


def test_a_socket_for_roots_group(rig: Rig, nucleus: Path) -> None:
    del nucleus
    for_group(rig, 0)
    assert "is for root's group, which no container gets" in rig.refused("install", EYE, "--ipc", IMAGE)


def test_a_socket_whose_folder_docker_cannot_mount(rig: Rig, nucleus: Path) -> None:
    os.rename(nucleus.parent, rig.folder / "g:g")  # noqa: PTH104
    rig.environment[SOCKET] = "../g:g/ipc.socket"
    assert "has a colon or a comma in its path" in rig.refused("install", EYE, "--ipc", IMAGE)


def test_how_docker_is_called_for_a_start(rig: Rig, nucleus: Path) -> None:
    for_group(rig, 998)
    done = rig.run(
        *("startup", EYE, NAME, IMAGE, "--ipc", "--network", "plant", "--internal-network", "inside", "--alias", "eye"),
        *("--stop", "20", "--", "--user", "10001:10001", "--memory", "1g"),
    )
    assert done.returncode == 1
    assert "ended by itself with status 0" in done.stderr  # status 0 would be RUNNING for ever
    [create] = rig.calls("create")
    words = " ".join(create)
    for wanted in (
        f"--name {NAME} --rm --label com.lineside.component={EYE} --read-only --cap-drop ALL",
        "--security-opt no-new-privileges:true --tmpfs /tmp:rw,noexec,nosuid,nodev,size=64m,mode=1777",
        "--stop-timeout 20",
        "--network-alias eye --network plant",
        "--group-add 998",
        f"--volume {nucleus.parent.resolve()}:/run/greengrass:ro --env SVCUID --env LINESIDE_COMPONENT={EYE}",
        f"--env {SOCKET}=/run/greengrass/ipc.socket",
        "--env LINESIDE_THING=press-7 --no-healthcheck --env LINESIDE_CONFIG= --env AWS_REGION",
        f"--user 10001:10001 --memory 1g {IMAGE}",
    ):
        assert wanted in words
    for unwanted in ("a-token", "--privileged", "--restart", "AWS_CONTAINER_AUTHORIZATION_TOKEN"):
        assert unwanted not in words
    assert rig.calls("network")[-1] == ["network", "connect", "--alias", "eye", "inside", NAME]
    assert ["network", "create", "plant"] in rig.diary
    assert ["network", "create", "--internal", "inside"] in rig.diary
    assert rig.diary[-1] == ["start", "--attach", NAME]


def test_credentials_come_by_the_machines_own_network(rig: Rig) -> None:
    rig.says("network-inspect-lineside-inside", "")
    rig.says("network-inspect---format", "172.20.0.1 fd00::1 \n")
    rig.run("startup", EYE, NAME, IMAGE, "--host-network", "--listen", "LISTEN_HOST=lineside-inside", "--")
    words = " ".join(rig.calls("create")[0])
    assert "--network host --env AWS_CONTAINER_AUTHORIZATION_TOKEN --env AWS_CONTAINER_CREDENTIALS_FULL_URI" in words
    assert "--env LISTEN_HOST=172.20.0.1 " in words


def test_every_name_on_the_engine_begins_with_another_word_where_a_test_says_so(rig: Rig) -> None:
    rig.environment["LINESIDE_TEST_SCOPE"] = "t1"
    (rig.state / "containers" / "t1-eye").write_text(EYE)
    rig.run(
        *("startup", EYE, "lineside-eye", IMAGE, "--secrets", "inference", "--shared-memory", "8m"),
        *("--network", "lineside-plant", "--internal-network", "lineside-inside", "--listen", "HOST=lineside-inside"),
        *("--neighbour", "forwarder=lineside-inside", "--", "--volume", "lineside-spool:/var/lib/lineside/spool"),
    )
    rig.run("shutdown", EYE, "lineside-eye", "5")
    rig.run("recover", EYE, "lineside-eye", "--shared-memory", IMAGE)
    words = " ".join(word for call in rig.diary for word in call)
    assert not re.search(r"(^|[ =:])lineside-", words)
    named = set(re.findall(r"\bt1-[a-z-]+", words))
    assert named >= {f"t1-{each}" for each in ("eye", "plant", "inside", "spool", "shared-memory", "secret-inference")}


@pytest.mark.parametrize(("wanted", "given"), [("4", "2"), ("2", "2"), ("0.5", "0.5"), ("2.5", "2")])
def test_no_more_processors_are_asked_for_than_there_are(rig: Rig, wanted: str, given: str) -> None:
    rig.says("info", "2\n")
    rig.run("startup", EYE, NAME, IMAGE, "--cpus", wanted, "--")
    [create] = rig.calls("create")
    assert create[create.index("--cpus") + 1] == given


def test_a_file_of_the_machine_is_mounted_only_where_it_is(rig: Rig) -> None:
    there = rig.work / "release"
    there.touch()
    shared = ("--share-if-there", str(rig.work), "--share-if-there", "/none/either")
    rig.run("startup", EYE, NAME, IMAGE, "--if-there", str(there), "--if-there", "/none/at/all", *shared, "--")
    words = " ".join(rig.calls("create")[0])
    assert f"--volume {rig.work}:{rig.work} " in words
    assert "/none/either" not in words
    assert f"--volume {there}:{there}:ro" in words
    assert "/none/at/all" not in words


def test_shared_memory_and_secrets_are_volumes_made_once(rig: Rig) -> None:
    for _ in range(2):
        rig.run("startup", EYE, NAME, IMAGE, "--shared-memory", "256m", "--secrets", "inference", "--")
    made = [call for call in rig.calls("volume") if call[1] == "create"]
    assert [call[-1] for call in made] == ["lineside-shared-memory"]
    assert "o=size=256m,mode=1777,noexec,nosuid,nodev" in made[0]
    words = " ".join(rig.calls("create")[0])
    assert "--volume lineside-secret-inference:/run/secrets/lineside:ro,nocopy" in words
    assert "--volume lineside-shared-memory:/dev/shm:nocopy" in words
    setup = " ".join(rig.calls("run")[0])
    assert "--user 0:0 --network none --read-only --cap-drop ALL" in setup
    assert "--cap-add CHOWN" in setup


CARD = "eth1 192.168.100.0/24 192.168.100.9"


def with_card(rig: Rig, cameras: str, rmem_max: int = 212992) -> tuple[str, ...]:
    """Return a start with cameras configured, on a machine that has the card eth1."""
    (rig.root / "sys/class/net/eth1").mkdir(parents=True, exist_ok=True)
    core = rig.root / "proc/sys/net/core"
    core.mkdir(parents=True, exist_ok=True)
    (core / "rmem_max").write_text(f"{rmem_max}\n")
    return ("startup", EYE, NAME, IMAGE, "--network", "plant", "--cameras", cameras, "--", "--user", "10001:10001")


@pytest.mark.parametrize("cameras", ["none", ""])
def test_without_a_card_for_cameras_there_is_no_network_of_theirs(rig: Rig, cameras: str) -> None:
    rig.run(*with_card(rig, cameras))
    assert rig.calls("create")
    assert "cameras" not in json.dumps(rig.diary)


@pytest.mark.parametrize("card", ["eth1", "eth1.20"])
def test_a_container_gets_an_address_on_the_card_of_the_cameras_and_no_other_right(rig: Rig, card: str) -> None:
    done = rig.run(*with_card(rig, CARD.replace("eth1", card)))
    made = next(call for call in rig.calls("network") if call[1] == "create" and "macvlan" in call)
    assert made[2:] == [
        *("--driver", "macvlan", "--internal", "--label", f"com.lineside.cameras={card} 192.168.100.0/24"),
        *("--opt", f"parent={card}", "--subnet", "192.168.100.0/24", "lineside-cameras"),
    ]
    assert rig.calls("network")[-1] == ["network", "connect", "--ip", "192.168.100.9", "lineside-cameras", NAME]
    [create] = rig.calls("create")
    assert not {"--privileged", "--cap-add", "host"} & set(create)
    assert "net.core.rmem_max is 212992 bytes" in done.stderr


def test_a_machine_with_room_for_packets_is_told_nothing(rig: Rig) -> None:
    shipped = (ROOT / "systemd/60-lineside-gige.conf").read_text().rpartition("=")[2]
    assert "rmem_max" not in rig.run(*with_card(rig, CARD, int(shipped))).stderr


def test_the_network_of_the_cameras_is_kept_and_made_anew_for_another_card(rig: Rig) -> None:
    rig.says("network-inspect---format", "eth1 192.168.100.0/24\n")
    rig.run(*with_card(rig, CARD))
    assert "macvlan" not in json.dumps(rig.diary)
    rig.says("network-inspect---format", "eth0 192.168.100.0/24\n")
    rig.run(*with_card(rig, CARD))
    changed = [call[1:] for call in rig.calls("network")]
    assert changed.index(["rm", "lineside-cameras"]) < next(at for at, call in enumerate(changed) if "macvlan" in call)
    rig.says("network-rm", "it has active endpoints\n", 1)
    assert "is for 'eth0 192.168.100.0/24' and still used" in rig.refused(*with_card(rig, CARD))


@pytest.mark.parametrize(
    "cameras", ["eth1", "eth1 192.168.100.9", "eth1 192.168.100.0 192.168.100.9", f"{CARD} more", "* * *"]
)
def test_cameras_that_are_configured_wrongly_are_refused_with_an_example(rig: Rig, cameras: str) -> None:
    said = rig.refused(*with_card(rig, cameras))
    assert f"container.cameras is '{cameras}': expected none, or CARD SUBNET ADDRESS" in said
    assert f"'{CARD}'" in said
    assert rig.calls("create") == []


def test_a_card_that_this_machine_has_not_is_named_with_those_that_it_has(rig: Rig) -> None:
    said = rig.refused(*with_card(rig, CARD.replace("eth1", "enp9s0")))
    assert "names the network card enp9s0, and this machine has eth1 " in said


def test_an_address_that_docker_does_not_give_ends_the_start(rig: Rig) -> None:
    rig.says("network-connect---ip", "Address already in use\n", 1)
    assert "gave eye not the address 192.168.100.9 in the cameras' network" in rig.refused(*with_card(rig, CARD))
    assert rig.calls("start") == []


def test_a_container_that_fails_ends_the_component_with_its_status(rig: Rig) -> None:
    (rig.state / "ends").write_text("137")
    done = rig.run("startup", EYE, NAME, IMAGE, "--")
    assert done.returncode == 137
    assert "ended with status 137" in done.stderr


def test_docker_that_makes_no_container_is_said(rig: Rig) -> None:
    rig.says("create", "invalid reference format\n", 125)
    assert f"Docker did not make the container {NAME}" in rig.refused("startup", EYE, NAME, IMAGE, "--")


def started(rig: Rig, *arguments: str) -> subprocess.Popen[str]:
    (rig.state / "runs").touch()
    return subprocess.Popen(
        rig.argv("startup", EYE, NAME, IMAGE, *arguments, "--"),
        cwd=rig.work,
        env=rig.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_signal_stops_the_container_and_ends_in_peace(rig: Rig) -> None:
    """As nucleus lite stops a component: a signal of systemd's."""
    process = started(rig, "--stop", "20")
    block_until(lambda: rig.calls("start"), "the container's start")
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=HANG_S)
    assert process.returncode == 0, said
    assert ["stop", "-t", "20", NAME] in rig.diary


def test_shutdown_lets_the_container_finish_and_takes_one_that_is_gone(rig: Rig) -> None:
    (rig.state / "containers" / NAME).write_text(EYE)
    assert rig.run("shutdown", EYE, NAME, "20").returncode == 0
    assert rig.calls("stop") == [["stop", "-t", "20", NAME]]
    assert rig.run("shutdown", EYE, NAME, "20").returncode == 0
    rig.says("stop", "permission denied\n", 1)
    said = rig.refused("shutdown", EYE, NAME, "20")
    assert "did not stop eye (permission denied" in said
    assert "see journalctl -u docker, and restart it" in said


def test_recover_clears_the_container_twice_and_leaves_somebody_elses_alone(rig: Rig) -> None:
    (rig.state / "containers" / NAME).write_text(EYE)
    for _ in range(2):
        assert rig.run("recover", EYE, NAME, "--shared-memory", IMAGE).returncode == 0
    assert not (rig.state / "containers" / NAME).exists()
    (rig.state / "containers" / NAME).write_text("com.example.Nose")
    for verb in (("recover", EYE, NAME), ("startup", EYE, NAME, IMAGE, "--")):
        assert f"a container {NAME} that is not this component's" in rig.refused(*verb)
    assert (rig.state / "containers" / NAME).exists()


def test_startup_clears_what_the_last_run_left(rig: Rig) -> None:
    """Nucleus lite has no recover, and a power cut runs none."""
    (rig.state / "containers" / NAME).write_text(EYE)
    rig.run("startup", EYE, NAME, IMAGE, "--")
    verbs = [call[0] for call in rig.diary]
    assert verbs.index("rm") < verbs.index("create")


def test_running_is_reported_for_a_container_that_cannot_do_it_itself(rig: Rig, nucleus: Path) -> None:
    process = started(rig, "--reporter", "plant.example/topic-bridge:1")
    block_until(lambda: rig.calls("run"), "the report")
    [report] = rig.calls("run")
    words = " ".join(report)
    assert "--entrypoint python plant.example/topic-bridge:1 -m lineside.greengrass.state RUNNING" in words
    assert f"--volume {nucleus.parent.resolve()}:/run/greengrass:ro --env SVCUID" in words
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=HANG_S)
    assert "healthy, and reported RUNNING" in out
    assert SOCKET not in " ".join(rig.calls("create")[0])  # Triton itself gets no token
    assert "--no-healthcheck" not in rig.calls("create")[0]  # its health is what is waited for


def test_a_report_that_fails_ends_the_container(rig: Rig, nucleus: Path) -> None:
    del nucleus
    rig.says("run", "no connection\n", 1)
    process = started(rig, "--reporter", "plant.example/topic-bridge:1")
    _, err = process.communicate(timeout=HANG_S)
    assert process.returncode == 1
    assert "Greengrass could not be told" in err


def test_triton_waits_for_its_first_model_and_says_so(rig: Rig) -> None:
    rig.says("run", "", 3)
    process = started(rig, "--needs-model")
    block_until(lambda: len(rig.calls("run")) > 1, "a second look")
    assert rig.calls("create") == []
    (rig.state / "status" / "run").write_text("0")
    block_until(lambda: rig.calls("start"), "the container's start")
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=HANG_S)
    assert err.count("holds no model yet") == 1


FORWARDER = "plant.example/forwarder:1.4.0"


def edge_manager(rig: Rig, nucleus: Path, socket_file: Path, *more: str) -> dict[str, str]:
    """Start a component with a forwarder and clients of this machine; return how its two containers were made."""
    for_group(rig, 998)
    del nucleus
    rig.run(
        *("startup", EYE, NAME, IMAGE, "--forwarder", FORWARDER, "--ipc", "--work", f"{rig.work}/"),
        *("--socket-file", str(socket_file), *more, "--", "--ipc", "host"),
    )
    return {call[-1]: " ".join(call) for call in rig.calls("create")}


def test_a_forwarder_beside_a_component_has_its_configuration_and_the_machines_network(rig: Rig, nucleus: Path) -> None:
    made = edge_manager(rig, nucleus, rig.folder / "agent.sock")
    own = f"--user {os.getuid()}:{os.getgid()}"
    agent, forwarder = made[IMAGE], made[FORWARDER]
    for words in (agent, forwarder):
        assert own in words
        assert f"--volume {rig.work}:{rig.work} " in words
        assert f"--env LINESIDE_SPOOL__FOLDER={rig.work}/spool " in words
        assert f"--env LINESIDE_COMPONENT={EYE} " in words
        assert "--group-add 998" in words
        assert "--read-only --cap-drop ALL" in words
    assert "--network host --env AWS_CONTAINER_AUTHORIZATION_TOKEN " in forwarder
    assert "--env LINESIDE_COMPANION=yes " in forwarder
    assert f"--name {NAME}-forwarder " in forwarder
    assert "LINESIDE_COMPANION" not in agent
    assert "AWS_CONTAINER" not in agent
    assert f"--volume {rig.work.parent}:{rig.work.parent}:ro " in agent
    assert f"--volume {rig.folder}:{rig.folder} " in agent
    assert f'--env LINESIDE_EDGE_MANAGER__MODEL_ROOTS=["{rig.work.parent}"] ' in agent
    assert all((rig.work / each).is_dir() for each in ("spool", "state", "models"))
    started_ones = [call[-1] for call in rig.calls("start")]
    assert sorted(started_ones) == [NAME, f"{NAME}-forwarder"]


def test_clients_models_are_held_against_the_machines_roots(rig: Rig, nucleus: Path) -> None:
    assert "SIGNER_ROOTS" not in edge_manager(rig, nucleus, rig.folder / "agent.sock")[IMAGE]
    roots = roots_of(rig)
    (rig.root / "etc/lineside/unsigned-models").write_text("weld\n\npress-7\n")
    words = edge_manager(rig, nucleus, rig.folder / "agent.sock")[IMAGE]
    assert f"--volume {roots}:/etc/lineside/model-roots:ro " in words
    assert "--env LINESIDE_EDGE_MANAGER__SIGNER_ROOTS=/etc/lineside/model-roots " in words
    assert '--env LINESIDE_EDGE_MANAGER__UNSIGNED_MODELS=["weld","press-7"] ' in words


def test_the_folder_of_the_socket_is_shared_in_place_of_a_tmp_of_its_own(rig: Rig, nucleus: Path) -> None:
    made = edge_manager(rig, nucleus, Path("/tmp/agent.sock"))
    assert "--volume /tmp:/tmp " in made[IMAGE]
    assert "--tmpfs" not in made[IMAGE]
    assert "--tmpfs /tmp:" in made[FORWARDER]


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/agent.sock", "must be an absolute path in a folder"),
        ("agent.sock", "must be an absolute path in a folder"),
        ("/none/at/all/agent.sock", "is not there: sudo install -d"),
        ("/none:at/all/agent.sock", "has a colon or a comma"),
    ],
)
def test_a_socket_that_clients_could_not_reach_is_refused(rig: Rig, nucleus: Path, path: str, says: str) -> None:
    del nucleus
    said = rig.refused("startup", EYE, NAME, IMAGE, "--ipc", "--socket-file", path, "--")
    assert said.startswith(f"{EYE}: ")
    assert f"UnixSocketName {path}" in said
    assert says in said
    assert rig.calls("create") == []


def test_the_public_components_folders_mean_this_ones_wherever_it_is(rig: Rig, nucleus: Path) -> None:
    """The defaults of a nucleus in its usual place; another folder is shared where it is there."""
    usual = f"/greengrass/v2/work/{EYE}"
    shared = [word for path in (f"{usual}/capture", usual, str(rig.root)) for word in ("--share-if-there", path)]
    for words in edge_manager(rig, nucleus, rig.folder / "agent.sock", *shared).values():
        assert f"--env LINESIDE_EDGE_MANAGER__CAPTUREDATADISKPATH={rig.work}/capture " in words
        assert f"--env LINESIDE_EDGE_MANAGER__LOCALDATAROOTPATH={rig.work} " in words
        assert f"--volume {rig.root}:{rig.root} " in words
        assert f"{usual}:" not in words


def test_a_forwarder_is_stopped_and_cleared_with_its_component(rig: Rig) -> None:
    for each in (NAME, f"{NAME}-forwarder"):
        (rig.state / "containers" / each).write_text(EYE)
    assert rig.run("shutdown", EYE, NAME, "20", "--forwarder").returncode == 0
    assert rig.calls("stop") == [["stop", "-t", "20", NAME], ["stop", "-t", "10", f"{NAME}-forwarder"]]
    for each in (NAME, f"{NAME}-forwarder"):
        (rig.state / "containers" / each).write_text(EYE)
    assert rig.run("recover", EYE, NAME, "--forwarder").returncode == 0
    assert list((rig.state / "containers").iterdir()) == []


def test_the_folder_of_clients_models_is_open_and_lets_triton_start(rig: Rig) -> None:
    assert rig.run("install", EYE, "--client-models", IMAGE).returncode == 0
    [made] = rig.calls("run")
    words = " ".join(made)
    assert "--volume lineside-client-models:/var/lib/lineside/client-models --entrypoint sh" in words
    assert 'chmod 1777 "$1" && : >"$1/.wanted"' in words


def test_a_model_without_its_files_is_refused(rig: Rig) -> None:
    (rig.work / "model").mkdir()
    assert "has no config.pbtxt" in rig.refused("model", EYE, IMAGE, "surface-defect", "model")


MODEL, URL = "surface-defect", "http://inference:8080"


@pytest.fixture
def folder(rig: Rig) -> Path:
    """A model's folder as Greengrass unpacks it."""
    made = rig.work / "unpacked" / MODEL
    (made / "2").mkdir(parents=True)
    for name in ("config.pbtxt", "card.yaml", "2/model.onnx"):
        (made / name).touch()
    return made


def test_a_model_is_put_into_the_volume_by_a_container_that_does_nothing_else(rig: Rig, folder: Path) -> None:
    rig.says("run", "version 2\n")
    done = rig.run("model", EYE, IMAGE, MODEL, str(folder.parent))
    assert done.stdout == f"{EYE}: version 2 of the model {MODEL} is in the volume lineside-models\n"
    [put] = rig.calls("run")
    words = " ".join(put)
    assert "--user 0:0 --network none --read-only --cap-drop ALL" in words
    assert words.endswith(f"--entrypoint python {IMAGE} -m lineside_inference.deploying put {MODEL}")
    rig.says("run", "what is wrong with it\n", 1)
    said = rig.refused("model", EYE, IMAGE, MODEL, str(folder))
    assert "was not put into the volume lineside-models" in said


def test_a_model_serves_once_the_inference_service_says_so(rig: Rig, folder: Path) -> None:
    (rig.state / "containers" / "lineside-inference").touch()
    rig.says("run", "2 1\n")
    done = rig.run("serves", EYE, "lineside-model", IMAGE, MODEL, str(folder), URL, "60")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, f"{EYE}: the model {MODEL} serves as it was deployed")
    confirm, accept = (" ".join(call) for call in rig.calls("run"))
    assert "--user 10001:10001 --network lineside-inside --read-only" in confirm
    assert "--name lineside-model --volume lineside-models:/models:ro" in confirm
    assert f"confirm {MODEL} {URL} --within 60 --token-file /run/secrets/lineside/inference-token" in confirm
    assert "--user 0:0 --network none" in accept
    assert accept.endswith(f"accept {MODEL} 2 1 2")


def test_a_model_that_was_refused_ends_the_step(rig: Rig, folder: Path) -> None:
    (rig.state / "containers" / "lineside-inference").touch()
    rig.says("run", "version 2 of model 'surface-defect' failed, version 1 stays in force: NaN\n", 1)
    done = rig.run("serves", EYE, "lineside-model", IMAGE, MODEL, str(folder), URL, "60")
    assert done.returncode == 1
    reason, last = done.stderr.splitlines()
    assert "failed, version 1 stays in force: NaN" in reason
    assert "does not serve as it was deployed; why stands above, and what served before serves on" in last
    assert len(rig.calls("run")) == 1  # nothing is taken away


def test_a_model_without_inference_waits_for_triton_and_not_for_ever(rig: Rig, folder: Path) -> None:
    rig.environment["LINESIDE_TEST_AWAY_S"] = "0"
    serves = ("serves", EYE, "lineside-model", IMAGE, MODEL, str(folder), URL)
    said = rig.refused(*serves, "60")
    assert "no inference service is on this machine" in said
    assert "deploy com.lineside.Inference" in said
    (rig.state / "containers" / "lineside-triton").touch()
    rig.environment["LINESIDE_TEST_AWAY_S"] = "60"
    assert "no inference service is on this machine" in rig.refused(*serves, "1")


def test_on_nucleus_lite_running_is_told(rig: Rig, folder: Path, nucleus: Path) -> None:
    del nucleus
    (rig.state / "containers" / "lineside-inference").touch()
    rig.says("run", "2\n")
    serves = ("serves", EYE, "lineside-model", IMAGE, MODEL, str(folder), URL, "60")
    assert rig.run(*serves, "--tell").returncode == 0
    assert " ".join(rig.calls("run")[-1]).endswith(f"{IMAGE} -m lineside.greengrass.state RUNNING")


S3 = "s3://your-bucket/models/detector/v1.4/"
DOWNLOADS, ONCE = "run---rm---init", "run---rm---label"
"""How the calls begin that fetch from S3, and those that do one thing."""


def test_models_of_s3_are_fetched_by_nobody_put_as_any_model_and_noted_down(rig: Rig) -> None:
    rig.says(DOWNLOADS, "detector=abc/files\n")
    rig.says(ONCE, "version 1\n")
    rig.environment |= {"AWS_CONTAINER_AUTHORIZATION_TOKEN": "hunter2", "AWS_REGION": "eu-central-1"}
    done = rig.run("install", EYE, "--models", S3, "plant.example/forwarder:1", IMAGE)
    assert done.returncode == 0, done.stderr
    assert "version 1 of the model detector is in the volume lineside-models" in done.stdout
    fetch, *pipe, accept, placed = (" ".join(call) for call in rig.calls("run"))
    put, tar = sorted(pipe, key=lambda call: "tar" in call.split())  # they run at the same time
    for word in ("--user 10001:10001", "--network host", "--read-only", "--cap-drop ALL", "--memory 256m"):
        assert word in fetch
    for variable in ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_REGION"):
        assert f"--env {variable} " in fetch
    assert "hunter2" not in fetch
    assert "--volume lineside-models:/models:ro" in fetch
    assert fetch.endswith(f"model_download fetch {S3} /var/lib/lineside/state /models")
    assert all("--network none" in call for call in (tar, put, accept))
    assert tar.endswith("--entrypoint tar plant.example/forwarder:1 -C /download/abc/files -cf - .")
    assert put.endswith(f"--entrypoint python {IMAGE} -m lineside_inference.deploying put detector")
    assert accept.endswith("sh detector")
    assert placed.endswith(f"model_download placed {S3} /var/lib/lineside/state /models")


def test_what_is_in_place_already_is_not_put_again(rig: Rig) -> None:
    assert rig.run("install", EYE, "--models", S3, "forwarder:1", IMAGE).returncode == 0
    assert [call[1:3] for call in rig.calls("run")] == [["--rm", "--init"]] * 2


def test_models_that_cannot_be_fetched_or_put_leave_what_was_there(rig: Rig) -> None:
    rig.says(DOWNLOADS, "there is no bucket 'your-bucket': make it, or correct ModelS3URI\n", 1)
    assert rig.refused("install", EYE, "--models", S3, "forwarder:1", IMAGE) == (
        f"{EYE}: the models of {S3} are not here; why stands above, and what was there stays"
    )
    rig.says(DOWNLOADS, "detector=abc/files\n")
    rig.says(ONCE, "as it is\n", 1)
    said = rig.refused("install", EYE, "--models", S3, "forwarder:1", IMAGE)
    assert f"{EYE}: the model's files in {S3} could not all be read" in said
    assert not any("placed" in call for call in rig.calls("run"))


def test_a_folder_of_this_machine_is_fetched_from_nowhere(rig: Rig) -> None:
    assert rig.run("install", EYE, "--models", "file:///models", "forwarder:1", IMAGE).returncode == 0
    assert rig.calls("run") == []


@pytest.mark.parametrize(
    "arguments", [(), ("start",), ("install", EYE, "--rooms", "3"), ("startup", EYE, NAME, IMAGE, "-x")]
)
def test_wrong_arguments_are_named(rig: Rig, arguments: tuple[str, ...]) -> None:
    done = rig.run(*arguments)
    assert done.returncode == 2
    assert "one of" in done.stderr or "none of" in done.stderr


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_step_of_every_recipe_is_one_that_the_script_takes(rig: Rig, nucleus: Path, path: Path) -> None:
    del nucleus
    rig.says("info", '{"nvidia":{}}\n')
    rig.says("run", "1\n")
    (rig.state / "containers" / "lineside-inference").write_text("com.lineside.Inference")
    (rig.root / "etc/nv_tegra_release").write_text("# R36 (release), REVISION: 4.3\n")
    model = rig.work / "unpacked/surface-defect"
    model.mkdir(parents=True)
    for name in ("config.pbtxt", "card.yaml"):
        (model / name).touch()
    for manifest in yaml.safe_load(path.read_text())["Manifests"]:
        machine = manifest["Platform"]["architecture"]
        rig.program("uname", f"echo {machine}")
        rig.says("image-inspect", "arm64\n" if machine == "aarch64" else "amd64\n")
        for step, each in manifest["Lifecycle"].items():
            script = each["Script"].replace("{artifacts:path}", str(SOURCE.parent)).replace("component.sh", SOURCE.name)
            script = script.replace("{artifacts:decompressedPath}", str(model.parent))
            script = script.replace("{configuration:/UnixSocketName}", str(rig.work / "agent.sock"))
            script = script.replace("{work:path}", str(rig.work))
            script = script.replace("{configuration:/container/cameras}", "none")
            script = script.replace("{configuration:/container/", "").replace("}", "")
            done = subprocess.run(
                ["sh", "-c", script], cwd=rig.work, env=rig.environment, capture_output=True, text=True, check=False
            )
            ended = "ended by itself with status 0" in done.stderr
            assert done.returncode == 0 or (step == "startup" and ended), f"{step}: {done.stderr}"
    assert all(shlex.join(call) for call in rig.diary)


@pytest.fixture
def package(rig: Rig) -> Path:
    """A package and its signature as Greengrass downloads them."""
    made = rig.work / "artifacts"
    made.mkdir()
    packed = rig.work / "packed"
    (packed / "2").mkdir(parents=True)
    for name in ("card.yaml", "2/model.onnx"):
        (packed / name).touch()
    subprocess.run(["tar", "-czf", made / "m-2.tar.gz", "-C", packed, "card.yaml", "2/model.onnx"], check=True)
    (made / "m-2.tar.gz.sig").write_text("{}")
    return made / "m-2.tar.gz"


INSTALL = f"--entrypoint python {IMAGE} -m lineside_inference.deploying install - --model {MODEL}"


def roots_of(rig: Rig) -> Path:
    roots = rig.root / "etc/lineside/model-roots"
    roots.mkdir(parents=True)
    return roots


def test_a_package_is_verified_by_the_container_that_puts_it_there(rig: Rig, package: Path) -> None:
    rig.says("run", "version 2\n")
    roots = roots_of(rig)
    done = rig.run("model", EYE, IMAGE, MODEL, str(package))
    assert done.stdout == f"{EYE}: version 2 of the model {MODEL} is in the volume lineside-models\n"
    [put] = rig.calls("run")
    words = " ".join(put)
    assert f"--volume {roots}:/etc/lineside/model-roots:ro" in words
    assert words.endswith(f"{INSTALL} --roots /etc/lineside/model-roots")
    assert "--user 0:0 --network none --read-only --cap-drop ALL" in words


def test_a_package_is_installed_unverified_where_nobody_is_named(rig: Rig, package: Path) -> None:
    rig.says("run", "version 2\n")
    assert rig.run("model", EYE, IMAGE, MODEL, str(package)).returncode == 0
    assert " ".join(rig.calls("run")[0]).endswith(INSTALL)


def test_a_model_without_a_signature_is_refused_unless_root_allows_its_name(rig: Rig, folder: Path) -> None:
    roots_of(rig)
    said = rig.refused("model", EYE, IMAGE, MODEL, str(folder))
    assert f"the model {MODEL} comes as a folder without a signature, and /etc/lineside/model-roots says who" in said
    assert not rig.calls("run")
    (rig.root / "etc/lineside/unsigned-models").write_text(f"other\n{MODEL}x\n")
    rig.refused("model", EYE, IMAGE, MODEL, str(folder))
    (rig.root / "etc/lineside/unsigned-models").write_text(f"other\n{MODEL}\n")
    rig.says("run", "version 2\n")
    assert rig.run("model", EYE, IMAGE, MODEL, str(folder)).returncode == 0


def test_the_allowed_name_goes_to_who_verifies(rig: Rig, package: Path) -> None:
    roots_of(rig)
    (rig.root / "etc/lineside/unsigned-models").write_text(f"{MODEL}\n")
    rig.says("run", "version 2\n")
    assert rig.run("model", EYE, IMAGE, MODEL, str(package)).returncode == 0
    assert " ".join(rig.calls("run")[0]).endswith(f"--roots /etc/lineside/model-roots --allow-unsigned {MODEL}")


def test_models_of_a_folder_in_s3_need_leave_too(rig: Rig) -> None:
    roots_of(rig)
    rig.says("run", "detector=models/detector/v1.4\n")
    said = rig.refused("install", EYE, "--models", S3, "plant.example/forwarder:1", IMAGE)
    assert "the model detector comes as a folder without a signature" in said


def test_roots_that_are_no_folder_themselves_are_refused(rig: Rig, package: Path) -> None:
    roots = roots_of(rig)
    roots.rmdir()
    roots.symlink_to("/etc/ssl/certs")
    assert "/etc/lineside/model-roots must be a folder itself" in rig.refused("model", EYE, IMAGE, MODEL, str(package))


def test_a_package_that_serves_keeps_its_versions(rig: Rig, package: Path) -> None:
    (rig.state / "containers" / "lineside-inference").touch()
    rig.says("run", "2 1\n")
    done = rig.run("serves", EYE, "lineside-model", IMAGE, MODEL, str(package), URL, "60")
    assert done.returncode == 0, done.stderr
    assert " ".join(rig.calls("run")[-1]).split() == [
        *" ".join(rig.calls("run")[-1]).split()[:-4],
        MODEL,
        "2",
        "1",
        "2",
    ]
