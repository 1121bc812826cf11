"""One compose project of a test: with a name and ports of its own, removed at the end in any case."""

import contextlib
import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.attached_bench import attached
from tests.support.paths import ROOT
from tests.support.ports import free_ports
from tests.support.waiting import HANG_S, PATIENCE_S, Patience, block_until

PORTS = ("PAGE", "CONTROL", "METRICS", "DEPLOYER", "PROMETHEUS", "ALERTMANAGER", "GRAFANA")
NOT_RUN = ("grafana",)
"""What no engine here can run: its image is not held and cannot be pulled."""
QUICK = "tests/docker/quick.yaml"
DEADLINE_MS = 8000
"""Of a part, in place of the bench's: long enough for a machine that does much else at the same time."""


def run(
    *arguments: str, environment: Mapping[str, str] | None = None, check: bool = True, timeout: float = HANG_S
) -> str:
    """Run a program in the repository and return what it wrote; a failure fails the test with all of it."""
    done = subprocess.run(
        arguments, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=timeout, check=False
    )
    if check and done.returncode:
        pytest.fail(f"{' '.join(arguments)}: exit status {done.returncode}\n{done.stdout}{done.stderr}"[-6000:])
    return done.stdout + done.stderr


class Project:
    """The services of compose.yaml, with overlays and profiles, under a name of its own."""

    def __init__(
        self,
        held: Mapping[str, str],
        *,
        profiles: Sequence[str] = ("bench",),
        overlays: Sequence[str] = (),
        **given: str,
    ) -> None:
        self.name = f"lineside-test-{secrets.token_hex(4)}"
        ports = free_ports(len(PORTS))
        self.ports = dict(zip(PORTS, ports, strict=True))
        self.environment = {
            **os.environ,
            **held,
            **{f"LINESIDE_{name}_PORT": str(port) for name, port in self.ports.items()},
            "COMPOSE_PROJECT_NAME": self.name,
            "COMPOSE_PROFILES": ",".join(profiles),
            "COMPOSE_FILE": ":".join(("compose.yaml", *overlays, QUICK)),
            **given,
        }

    def compose(self, *arguments: str, check: bool = True, timeout: float = HANG_S) -> str:
        return run("docker", "compose", *arguments, environment=self.environment, check=check, timeout=timeout)

    def services(self) -> list[str]:
        """Return the services that these profiles bring, but those that cannot be run here."""
        return [name for name in self.compose("config", "--services").split() if name not in NOT_RUN]

    def up(self, *services: str) -> None:
        """Bring services up. What compose calls unhealthy may only be slow, on a busy machine: it is asked again."""
        command = ("docker", "compose", "up", "-d", "--no-build", "--wait", *(services or self.services()))
        patient = Patience(5 * PATIENCE_S)
        while True:
            done = subprocess.run(
                command, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=2 * HANG_S, check=False
            )
            if done.returncode == 0:
                return
            said = done.stdout + done.stderr
            if "unhealthy" not in said or patient.is_over():
                pytest.fail(f"{' '.join(command)}: exit status {done.returncode}\n{said}"[-6000:])

    def down(self) -> None:
        self.compose("--profile", "*", "down", "-v", "--remove-orphans", "--timeout", "15", timeout=240)

    def container(self, service: str) -> str:
        """Return what compose names the service's container."""
        return f"{self.name}-{service}-1"

    def inspect(self, service: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(run("docker", "inspect", self.container(service)))[0]
        return document

    def running(self) -> dict[str, dict[str, Any]]:
        """Return what the engine knows of each running container of the project, by its service."""
        names = run("docker", "ps", "-q", "--filter", f"label=com.docker.compose.project={self.name}").split()
        documents = json.loads(run("docker", "inspect", *names))
        return {each["Config"]["Labels"]["com.docker.compose.service"]: each for each in documents}

    def execute(self, service: str, *arguments: str, user: str | None = None, check: bool = True) -> str:
        """Run a program in a service's container."""
        as_user = () if user is None else ("-u", user)
        return run("docker", "exec", *as_user, self.container(service), *arguments, check=check)

    def health(self, service: str) -> bool:
        """Whether the service says so itself, now: docker looks every ten seconds only."""
        done = subprocess.run(
            ["docker", "exec", self.container(service), "lineside-service", "health"], capture_output=True, check=False
        )
        return done.returncode == 0

    def until_ready(self, services: Sequence[str], what: str) -> None:
        """Wait until each of the services is ready; they are asked side by side."""
        with ThreadPoolExecutor(len(services)) as pool:
            list(pool.map(lambda each: block_until(lambda: self.health(each), f"{each} is ready {what}"), services))

    def passwords(self) -> dict[str, str]:
        """Return the accounts' passwords as the setup service has them."""
        show = "cd /setup; for each in */mqtt-password; do echo password ${each%/*} $(cat $each); done"
        out = self.compose("run", "--rm", "-T", "--no-deps", "--entrypoint", "sh", "setup", "-c", show)
        rows = [row.split() for row in out.splitlines() if row.startswith("password ")]
        return {account: password for _, account, password in rows}

    def kill(self, service: str, image: str) -> None:
        """Kill a container's first process as a crash would; `docker kill` would count as an order to stay down."""
        before = self.inspect(service)
        pid = str(before["State"]["Pid"])
        program = f"import os; os.kill({pid}, 9)"
        run("docker", "run", "--rm", "--network=none", "--pid=host", "--user=0", image, "python3", "-c", program)
        count = before["RestartCount"]

        def is_back() -> bool:
            now = self.inspect(service)
            return now["RestartCount"] > count and now["State"]["Running"]

        block_until(is_back, f"{service} comes back")

    def attach(self, parts: int, *, rate: int, summary: Path) -> tuple[int, str, dict[str, Any]]:
        """Judge parts by `lineside bench --attach`; return its exit status, what it printed, and the summary."""
        return attached(f"http://127.0.0.1:{self.ports['CONTROL']}", parts, rate=rate, summary=summary)

    def get(self, port: str, path: str) -> str:
        """Ask one of the published ports."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[port]}{path}", timeout=10) as answer:
            text: str = answer.read().decode()
            return text

    def left(self) -> list[str]:
        """Return what the engine still has of the project: containers, networks, volumes."""
        label = f"label=com.docker.compose.project={self.name}"
        return [
            *run("docker", "ps", "-aq", "--filter", label).split(),
            *run("docker", "network", "ls", "-q", "--filter", label).split(),
            *run("docker", "volume", "ls", "-q", "--filter", label).split(),
        ]


@contextlib.contextmanager
def project(
    held: Mapping[str, str], *, sections: str = "", changed: Callable[[str], str] = str, **options: Any
) -> Iterator[Project]:
    """Yield a project that is not up yet, and take it down at the end; where it fails, show its logs' ends.

    `sections` are what its settings have beside those of the bench, which `changed` changes.
    """
    with tempfile.TemporaryDirectory() as folder:
        made = Project(held, LINESIDE_SETTINGS=str(settings(Path(folder), sections, changed)), **options)
        try:
            yield made
        except BaseException:
            sys.stderr.write(made.compose("logs", "--tail", "30", check=False)[-12000:])
            raise
        finally:
            made.down()


def settings(folder: Path, sections: str = "", changed: Callable[[str], str] = str) -> Path:
    """Write the bench's settings, changed, with a longer deadline, and these sections."""
    shipped = (ROOT / "docker" / "config" / "bench.yaml").read_text(encoding="utf-8")
    written, count = re.subn(r"(?m)^( *deadline_ms): .*$", rf"\1: {DEADLINE_MS}", shipped)
    assert count > 1, "the triggers' and the simulated PLC's"
    path = folder / "settings.yaml"
    path.write_text(changed(written) + sections, encoding="utf-8")
    path.chmod(0o644)
    return path
