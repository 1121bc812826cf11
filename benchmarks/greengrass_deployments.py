"""Deployments of the whole line from its recipes: to the first verdict, an update of one component, a rollback.

The core device is the bench's, the engine this machine's own, and the parts come at 20 a second. The gap of an update
is the longest time between two verdicts meanwhile, while nothing but the opcua-bridge changes; `usual_gap_ms` is the
same before it. The rollback is from the begin of a deployment whose opcua-bridge ends after three seconds to the end of
the way back. Without an engine nothing is measured, and the figures say why.
"""

import asyncio
import os
import platform
import secrets
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from report import free_ports

from lineside import __version__
from lineside.contract import RESULT_TOPIC, Result, utc_now
from lineside_bench.deployable import SCOPE_VARIABLE, WITH_PORTS, DeployableLine, remove
from lineside_bench.greengrass.core.nucleus import Device, Nucleus, Outcome, Status, this_machine
from lineside_bench.greengrass.core.preparing import WAYS
from lineside_bench.reporting.records import longest_gap_ms, milliseconds

ROOT = Path(__file__).parents[1]
RATE = 20.0
DEADLINE_MS = 3000
"""Of a part; longer than the bench's own, so that a verdict that is late only counts for the gap."""
VERDICTS, QUICK_VERDICTS = 200, 40
"""How many are waited for before and after a change."""
WAIT_S = 300.0
BRIDGE = "OpcUaBridge"
START = "sh {artifacts:path}/component.sh startup"


class Deployed:
    """The line on its core, and the verdicts that went over its bus."""

    def __init__(self, line: DeployableLine, nucleus: Nucleus) -> None:
        self._line = line
        self._nucleus = nucleus
        self._read = 0
        self._verdicts: list[Result] = []

    async def deploy(self, **versions: str) -> Outcome:
        print(f"deployment of {versions or 'the line'}", flush=True)
        return await self._nucleus.deploy(self._line.with_versions(**versions), self._line.recipes.values())

    def verdicts(self) -> list[Result]:
        """Return every result so far that judged a part."""
        new = self._nucleus.server.messages[self._read :]
        self._read += len(new)
        results = [Result.model_validate_json(payload) for _who, topic, payload in new if topic == RESULT_TOPIC]
        self._verdicts += [each for each in results if each.status == "ok" and each.time.published]
        return self._verdicts

    async def more(self, count: int) -> None:
        """Wait for so many more verdicts."""
        wanted = len(self.verdicts()) + count
        async with asyncio.timeout(WAIT_S):
            while len(self.verdicts()) < wanted:  # noqa: ASYNC110 - the core keeps a list, and tells nobody
                await asyncio.sleep(0.05)

    def longest_gap_ms(self, since: int) -> float:
        return round(longest_gap_ms(self.verdicts()[since:]))


def why_not() -> str:
    """Return why nothing can be measured here; empty where it can."""
    if platform.machine() not in {"x86_64", "AMD64"}:
        return "the recipes' Triton for this architecture is a Jetson's"
    if shutil.which("docker") is None:
        return "docker is not installed"
    answer = docker("version")
    return "" if answer.returncode == 0 else f"no Docker Engine answers: {answer.stderr.strip()}"


def build() -> None:
    """Build the images, as compose.yaml says; what has not changed takes a second."""
    done = docker("compose", "build", "-q", COMPOSE_PROFILES="*")
    if done.returncode:
        sys.exit(f"the images do not build\n{done.stderr[-3000:]}")


def docker(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = ("docker", *words)
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **variables}, capture_output=True, text=True, check=False
    )


async def deployments(line: DeployableLine, root: Path, bucket: Path, verdicts: int) -> dict[str, float]:
    """Deploy, update and roll back; return the figures."""
    device = Device(thing="measured", platform=this_machine(), files=bucket)
    async with Nucleus(root, ways=WAYS["classic"], device=device) as nucleus:
        deployed = Deployed(line, nucleus)
        began = utc_now()
        must_be(Status.SUCCEEDED, await deployed.deploy())
        await deployed.more(1)
        first_s = milliseconds(began, deployed.verdicts()[0].time.published) / 1000
        await deployed.more(verdicts)  # the line warms up
        since = len(deployed.verdicts())
        await deployed.more(verdicts)
        usual_ms = deployed.longest_gap_ms(since)
        since = len(deployed.verdicts()) - 1
        line.recipe(BRIDGE, "0.1.1")
        must_be(Status.SUCCEEDED, await deployed.deploy(**{BRIDGE: "0.1.1"}))
        await deployed.more(verdicts)
        update_ms = deployed.longest_gap_ms(since)
        since = len(deployed.verdicts()) - 1
        line.recipe(BRIDGE, "0.1.2", lambda text: text.replace(START, f"sleep 3; exit 1; {START}"))
        failed = await deployed.deploy(**{BRIDGE: "0.1.2"})
        must_be(Status.ROLLED_BACK, failed)
        await deployed.more(verdicts)
        return {
            "deploy_to_first_verdict_s": round(first_s, 1),
            "rollback_s": round(failed.seconds, 1),
            "rollback_gap_ms": deployed.longest_gap_ms(since),
            "update_one_component_gap_ms": update_ms,
            "usual_gap_ms": usual_ms,
        }


def must_be(status: Status, outcome: Outcome) -> None:
    if outcome.status is not status:
        sys.exit(f"the deployment ended {outcome.status}, not {status}: {outcome.why}")


def shown(figures: dict[str, float]) -> None:
    for name, value in figures.items():
        print(f"{name:<30}{value:>10g}")


def measured(*, quick: bool) -> dict[str, object]:
    """Return the figures of the deployments, or `deployments_not_measured` with why there are none."""
    if why := why_not():
        print(f"deployments: not measured: {why}")
        return {"deployments_not_measured": why}
    build()
    scope = os.environ[SCOPE_VARIABLE] = f"measured-{secrets.token_hex(3)}"
    registry = os.environ.get("LINESIDE_REGISTRY", "lineside")
    version = os.environ.get("LINESIDE_VERSION", __version__)
    with tempfile.TemporaryDirectory(prefix="gg-") as folder:
        bucket = Path(folder) / "bucket"
        ports = dict(zip(WITH_PORTS, free_ports(len(WITH_PORTS)), strict=True))
        line = DeployableLine(
            bucket, registry=registry, version=version, ports=ports, rate=RATE, deadline_ms=DEADLINE_MS
        )
        try:
            figures = asyncio.run(
                deployments(line, Path(folder) / "core", bucket, QUICK_VERDICTS if quick else VERDICTS)
            )
        finally:
            remove(scope)
    shown(figures)
    return dict(figures)
