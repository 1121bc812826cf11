"""What the doctor makes of Docker's own words, and of a GPU that is here or not."""

import copy
from pathlib import Path
from typing import Any

import pytest

from lineside.checks import Mark
from lineside.cli.machine import docker

INFO: dict[str, Any] = {
    "ServerVersion": "26.1.5+dfsg1",
    "Driver": "overlay2",
    "CgroupVersion": "2",
    "MemoryLimit": True,
    "PidsLimit": True,
    "CpuCfsQuota": True,
    "SecurityOptions": ["name=apparmor", "name=seccomp,profile=builtin"],
    "Runtimes": {"runc": {"path": "runc"}, "io.containerd.runc.v2": {"path": "runc"}},
    "DefaultRuntime": "runc",
    "ClientInfo": {"Plugins": [{"Name": "buildx", "Version": "0.13.1"}, {"Name": "compose", "Version": "v2.26.1-4"}]},
}
"""As `docker info --format '{{json .}}'` of Engine 26 says it, in short."""
ORIN = "NVIDIA Jetson Orin NX Engineering Reference Developer Kit"


def info(**changes: Any) -> dict[str, Any]:
    return copy.deepcopy(INFO) | changes


@pytest.mark.parametrize(
    ("found", "mark", "says"),
    [
        (info(), Mark.OK, "Engine 26.1.5+dfsg1, control groups 2, overlay2"),
        (info(SecurityOptions=["name=seccomp", "name=rootless"]), Mark.OK, "rootless"),
        (info(SecurityOptions=None), Mark.OK, "Engine"),
        (
            info(ServerVersion="20.10.24"),
            Mark.OK,
            "20.10.24, control groups 2, overlay2, runs our images, does not build",
        ),
        (info(ServerVersion="19.03.15"), Mark.WARN, "19.03.15"),
        (info(ServerVersion="dev"), Mark.WARN, "dev"),
        (info(MemoryLimit=False, CpuCfsQuota=False), Mark.WARN, "cannot limit memory, processors"),
    ],
)
def test_the_engine_is_judged(found: dict[str, Any], mark: Mark, says: str) -> None:
    check = docker.engine(found)
    assert check.mark is mark
    assert says in check.what
    assert bool(check.remedy) == (mark is not Mark.OK)


@pytest.mark.parametrize(
    ("client", "mark"),
    [
        (INFO["ClientInfo"], Mark.OK),
        ({"Plugins": [{"Name": "compose", "Version": "2.19.1"}]}, Mark.WARN),
        ({"Plugins": [{"Name": "compose", "Version": "v10.0.0"}]}, Mark.OK),
        ({"Plugins": [{"Name": "buildx"}]}, Mark.WARN),
        ({"Plugins": None}, Mark.WARN),
        (None, Mark.WARN),
    ],
)
def test_compose_is_judged(client: dict[str, Any] | None, mark: Mark) -> None:
    assert docker.compose(info(ClientInfo=client)).mark is mark


@pytest.mark.parametrize(
    ("runtimes", "here", "mark"),
    [
        (INFO["Runtimes"], None, Mark.SKIP),
        (INFO["Runtimes"], ORIN, Mark.FAIL),
        (INFO["Runtimes"], "a Jetson", Mark.FAIL),
        (INFO["Runtimes"], "a GPU of NVIDIA", Mark.WARN),
        (None, "a GPU of NVIDIA", Mark.WARN),
        ({"nvidia": {"path": "nvidia-container-runtime"}}, ORIN, Mark.OK),
    ],
)
def test_the_runtime_is_asked_for_where_there_is_a_gpu(runtimes: Any, here: str | None, mark: Mark) -> None:
    assert docker.runtime(info(Runtimes=runtimes), here).mark is mark


@pytest.mark.parametrize(
    ("files", "here"),
    [
        ({}, None),
        ({"proc/device-tree/model": "Raspberry Pi 5 Model B\0"}, None),
        ({"proc/device-tree/model": f"{ORIN}\0"}, ORIN),
        ({"etc/nv_tegra_release": "# R36 (release), REVISION: 4.3"}, "a Jetson"),
        ({"dev/nvidia0": ""}, "a GPU of NVIDIA"),
        ({"proc/driver/nvidia/version": "NVRM version"}, "a GPU of NVIDIA"),
    ],
)
def test_a_gpu_is_known_by_its_marks(tmp_path: Path, files: dict[str, str], here: str | None) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert docker.gpu(tmp_path) == here


AWAY = "Cannot connect to the Docker daemon at unix:///run/docker.sock. Is the docker daemon running?"
DENIED = "permission denied while trying to connect to the Docker daemon socket at unix:///run/docker.sock"


@pytest.mark.parametrize(
    ("document", "complained", "status", "says", "do"),
    [
        ({"ServerVersion": "", "ServerErrors": [AWAY]}, "errors pretty printing info", 1, AWAY, "systemctl"),
        ({"ServerErrors": [DENIED], "ServerVersion": ""}, "", 1, DENIED, "group docker"),
        (None, "unknown flag:\n --format", 125, "unknown flag: --format", "systemctl"),
        ([], "", 0, "ended with status 0", "systemctl"),
        ({"ServerVersion": ""}, "", 3, "ended with status 3", "systemctl"),
    ],
)
def test_an_engine_that_does_not_answer(document: Any, complained: str, status: int, says: str, do: str) -> None:
    why = docker.read(document, complained, status)
    assert isinstance(why, str)
    assert says in why
    assert do in docker.remedy(why)


def test_an_engine_that_answers_gives_its_document() -> None:
    assert docker.read(INFO, "WARNING: No swap limit support", 0) == INFO
