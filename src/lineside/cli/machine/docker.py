"""Docker as its own command sees it, by context or DOCKER_HOST: the Engine, Compose, NVIDIA's runtime.

Where services run as processes Docker is not needed: what is wrong with it is a warning then, unless DOCKER_HOST says
that it is meant to be used. Nothing is started, pulled or changed.
"""

import asyncio
import json
import os
import re
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lineside.checks import Check, Mark, container, ok, skip, warn
from lineside.reaping import reap

DOCKER, COMPOSE, RUNTIME = "docker", "docker compose", "nvidia runtime"

ANSWER_S = 5.0
_MIN_ENGINE = (20, 10)
_BUILDS = (25, 0)
"""The first that builds our images, which say HEALTHCHECK --start-interval; older ones run them."""
_MIN_COMPOSE = (2, 20)
"""The first Compose with everything that compose.yaml uses."""

_SOCKET = "run/docker.sock"
_GPU_MARKS = ("dev/nvidia0", "dev/nvidiactl", "proc/driver/nvidia/version")
_UNLIMITED = {"MemoryLimit": "memory", "PidsLimit": "processes", "CpuCfsQuota": "processors"}


async def checks(root: Path) -> list[Check]:
    """Return the three checks; what does not apply here is skipped."""
    wanted = bool(os.environ.get("DOCKER_HOST"))
    command = shutil.which("docker")
    if command is None and (kind := container(root)):
        why = f"in a container ({kind}): ask on the machine itself"
        return [skip(name, why) for name in (DOCKER, COMPOSE, RUNTIME)]
    if command is None:
        return [_no_command(root, wanted=wanted), *(skip(name, f"needs: {DOCKER}") for name in (COMPOSE, RUNTIME))]
    found = await ask(command)
    if isinstance(found, str):
        wrong = Check(DOCKER, Mark.FAIL if wanted else Mark.WARN, found, remedy(found))
        return [wrong, *(skip(name, f"needs: {DOCKER}") for name in (COMPOSE, RUNTIME))]
    return [engine(found), compose(found), runtime(found, gpu(root))]


async def ask(command: str) -> dict[str, Any] | str:
    """Return what `docker info` says, or in words why it says nothing; a hung Engine is left alone in time."""
    process = await asyncio.create_subprocess_exec(
        command,
        "info",
        "--format",
        "{{json .}}",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(ANSWER_S):
            said, complained = await process.communicate()
    except TimeoutError:
        return f"the Engine does not answer within {ANSWER_S:g} s"
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await reap(process)
    try:
        document = json.loads(said)
    except ValueError:
        document = None
    return read(document, complained.decode("utf-8", "replace"), process.returncode or 0)


def read(document: object, complained: str, status: int) -> dict[str, Any] | str:
    """Return the document of `docker info` where the Engine answered, else why not, on one line."""
    known = document if isinstance(document, dict) else {}
    errors = known.get("ServerErrors") or ([complained] if status or not known.get("ServerVersion") else [])
    if errors:
        return " ".join(" ".join(map(str, errors)).split())[:300] or f"`docker info` ended with status {status}"
    return known


def remedy(why: str) -> str:
    """Return what to do about an Engine that does not answer."""
    if "permission denied" in why.lower():
        return "call this as root, or as a user of the group docker"
    if "does not answer" in why:
        return "see the Engine's log: `journalctl -u docker`; restart it"
    where = " and is DOCKER_HOST right" if os.environ.get("DOCKER_HOST") else ""
    return f"does the Engine run{where}? `systemctl status docker`; without containers it is not needed"


def _no_command(root: Path, *, wanted: bool) -> Check:
    what = "there is no docker command here"
    if wanted:
        return Check(DOCKER, Mark.FAIL, f"{what}, and DOCKER_HOST is set", "install Docker's command")
    if (root / _SOCKET).exists():
        return warn(DOCKER, f"{what}, and an Engine's socket is", "install Docker's command: Greengrass needs it")
    return skip(DOCKER, f"{what}: services run as processes")


def engine(found: Mapping[str, Any]) -> Check:
    """Judge the Engine: its version, and whether it can hold a container to its limits."""
    version = str(found["ServerVersion"])
    ways = [f"control groups {found.get('CgroupVersion', '?')}", str(found.get("Driver", "?"))]
    if any("name=rootless" in str(option) for option in found.get("SecurityOptions") or ()):
        ways.append("rootless")
    if _MIN_ENGINE <= _numbers(version) < _BUILDS:
        ways.append("runs our images, does not build them")
    what = f"Engine {version}, {', '.join(ways)}"
    if _numbers(version) < _MIN_ENGINE:
        return warn(DOCKER, what, f"install {'.'.join(map(str, _MIN_ENGINE))} or newer: Greengrass is verified with it")
    if lacking := [word for field, word in _UNLIMITED.items() if found.get(field) is False]:
        do = "switch the kernel's control groups on: limits of containers do not hold"
        return warn(DOCKER, f"{what}; it cannot limit {', '.join(lacking)}", do)
    return ok(DOCKER, what)


def compose(found: Mapping[str, Any]) -> Check:
    """Judge the Compose plugin of the docker command."""
    plugins = (found.get("ClientInfo") or {}).get("Plugins") or ()
    versions = [str(each.get("Version", "")) for each in plugins if each.get("Name") == "compose"]
    install = "install Docker's package docker-compose-plugin; Greengrass does without"
    if not versions:
        return warn(COMPOSE, "the docker command has no Compose", install)
    what = f"Compose {versions[0].removeprefix('v')}"
    if _numbers(versions[0]) < _MIN_COMPOSE:
        return warn(COMPOSE, f"{what}; compose.yaml needs {'.'.join(map(str, _MIN_COMPOSE))}", install)
    return ok(COMPOSE, what)


def runtime(found: Mapping[str, Any], gpu_here: str | None) -> Check:
    """Judge whether a container can be given the GPU that is here."""
    if gpu_here is None:
        return skip(RUNTIME, "no GPU of NVIDIA here: Triton runs on the processor")
    runtimes = found.get("Runtimes") or {}
    if "nvidia" in runtimes:
        default = ", the default" if found.get("DefaultRuntime") == "nvidia" else ""
        return ok(RUNTIME, f"the Engine has it{default}; here is {gpu_here}")
    do = "install nvidia-container-toolkit, `nvidia-ctk runtime configure --runtime=docker`, restart the Engine"
    what = f"here is {gpu_here}, and the Engine has only {', '.join(sorted(runtimes)) or 'no runtime'}"
    return Check(RUNTIME, Mark.FAIL if is_jetson(gpu_here) else Mark.WARN, what, do)


def gpu(root: Path) -> str | None:
    """Return what of NVIDIA is here: a Jetson by its name, `a GPU`, or None."""
    try:
        module = (root / "proc/device-tree/model").read_text(encoding="utf-8", errors="replace").strip("\0 \n")
    except OSError:
        module = ""
    if is_jetson(module):
        return module
    if (root / "etc/nv_tegra_release").exists():
        return "a Jetson"
    return "a GPU of NVIDIA" if any((root / mark).exists() for mark in _GPU_MARKS) else None


def is_jetson(name: str) -> bool:
    """Whether a machine's name is that of a Jetson."""
    return "jetson" in name.lower()


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"v?([0-9]+)\.([0-9]+)", version)
    return (int(found[1]), int(found[2])) if found else (0, 0)
