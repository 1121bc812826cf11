"""The containers: how large their images are, what memory they hold, and how long from `up` to the first verdict.

Images are built before anything is measured. Size is what an image has beyond the Python image that all are made from;
"libaravis" is what reads GigE Vision and USB3 Vision cameras, of inference's.
Memory is what the engine counts for a container (`docker stats`: anonymous and shared memory, and what of its files is
in use), at rest and as the most of what was seen while parts come at 20 a second. The first verdict is the first that
the PLC got by way of the model, after `docker compose up` with nothing there but the images. Images that are not ours
have their pinned names; the environment gives others (MOSQUITTO_IMAGE and so on, see docker/versions.env).
"""

import contextlib
import datetime as dt
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from report import arguments, free_ports, table, write

ROOT = Path(__file__).parents[1]
OURS = ("inference", "topic-bridge", "opcua-bridge", "forwarder", "exporter")
DEPLOYER = "deployer"
"""A service of ours that only boxes without Greengrass have; here it only tells what runs."""
OTHERS = (DEPLOYER, "triton", "broker", "plc-sim", "camera-sim")
IMAGES = (*OURS, DEPLOYER, "tools", "plc-sim", "camera-sim", "triton-cpu")
CAMERAS = "libaravis"
"""In the step of the Dockerfile that installs it."""
RATE = 20
REST_S, PARTS = (20.0, 600)
QUICK_REST_S, QUICK_PARTS = (5.0, 100)
FIRST_S = 180.0
MB = 1e6
UNITS = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "kB": 1e3, "MB": 1e6, "GB": 1e9}


class Project:
    """The line as compose.yaml has it, under a name and on ports of its own."""

    def __init__(self) -> None:
        self.name = f"lineside-measured-{os.getpid()}"
        names = ("LINESIDE_PAGE_PORT", "LINESIDE_CONTROL_PORT", "LINESIDE_METRICS_PORT", "LINESIDE_DEPLOYER_PORT")
        ports = [str(port) for port in free_ports(len(names))]
        self.control = f"http://127.0.0.1:{ports[1]}"
        self._environment = {
            **os.environ,
            **dict(zip(names, ports, strict=True)),
            "COMPOSE_PROJECT_NAME": self.name,
            "COMPOSE_PROFILES": "bench,deployments",
            "COMPOSE_FILE": "compose.yaml",
        }

    def compose(self, *words: str) -> str:
        return run("docker", "compose", *words, environment=self._environment)

    def first_verdict(self) -> dt.datetime | None:
        """Return when the PLC got its first verdict from a model."""
        for row in self.compose("logs", "--no-log-prefix", "--no-color", "opcua-bridge").splitlines():
            with contextlib.suppress(ValueError):
                told = json.loads(row[row.index("{") :])
                if told.get("event") == "verdict" and told.get("origin") == "result":
                    return dt.datetime.fromisoformat(told["timestamp"])
        return None

    def memory(self) -> dict[str, float]:
        """Return the memory of each service, in MB."""
        shown = run("docker", "stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}")
        rows = (row.split() for row in shown.splitlines() if row.startswith(f"{self.name}-"))
        return {row[0].removeprefix(f"{self.name}-").removesuffix("-1"): _bytes(row[1]) / MB for row in rows}


def run(*words: str, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(words)}: exit status {done.returncode}\n{done.stderr[-3000:]}")
    return done.stdout


def _bytes(shown: str) -> float:
    unit = shown.lstrip("0123456789.")
    return float(shown.removesuffix(unit)) * UNITS[unit]


def sizes() -> dict[str, float]:
    """Return what each image has beyond the base image, and what libaravis has of it, in MB."""
    versions = dict(
        row.split("=", 1) for row in (ROOT / "docker" / "versions.env").read_text().splitlines() if "=" in row[:40]
    )

    def size(image: str) -> int:
        return int(run("docker", "image", "inspect", "--format", "{{.Size}}", image))

    base = size(os.environ.get("PYTHON_IMAGE", versions["PYTHON_IMAGE"]))
    registry = os.environ.get("LINESIDE_REGISTRY", "lineside")
    version = os.environ.get("LINESIDE_VERSION", versions["LINESIDE_VERSION"])
    found = {name: (size(f"{registry}/{name}:{version}") - base) / MB for name in IMAGES}
    steps = run("docker", "history", "--human=false", "--no-trunc", "--format", "{{.Size}} {{.CreatedBy}}",
                f"{registry}/inference:{version}")  # fmt: skip
    found[CAMERAS] = sum(int(step.split()[0]) for step in steps.splitlines() if CAMERAS in step) / MB
    return found


@contextlib.contextmanager
def watched(project: Project) -> Iterator[dict[str, float]]:
    """Yield a table of the most that each service held meanwhile."""
    most: dict[str, float] = {}
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            for name, held in project.memory().items():
                most[name] = max(held, most.get(name, 0.0))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield most
    finally:
        over.set()
        thread.join()


def up(project: Project) -> float:
    """Bring the line up and return the seconds to the first verdict."""
    began = dt.datetime.now(dt.UTC)
    project.compose("up", "-d", "--no-build")
    end = time.monotonic() + FIRST_S
    while time.monotonic() < end:
        if first := project.first_verdict():
            return (first - began).total_seconds()
        time.sleep(0.2)
    sys.exit(f"no verdict within {FIRST_S:g} s:\n{project.compose('ps', '-a')}")


def load(project: Project, parts: int) -> dict[str, object]:
    """Judge parts at 20 a second and return the run's summary."""
    with tempfile.TemporaryDirectory() as folder:
        summary = Path(folder) / "summary.json"
        lineside = Path(sys.executable).with_name("lineside")
        run(str(lineside), "bench", "--attach", project.control, "--parts", str(parts), "--rate", str(RATE),
            "--json", str(summary))  # fmt: skip
        document: dict[str, object] = json.loads(summary.read_text(encoding="utf-8"))
        return document


def main() -> None:
    options = arguments(__doc__ or "")
    project = Project()
    project.compose("--profile", "*", "build", "-q")
    images = sizes()
    try:
        first = up(project)
        time.sleep(QUICK_REST_S if options.quick else REST_S)
        rest = project.memory()
        with watched(project) as most:
            summary = load(project, QUICK_PARTS if options.quick else PARTS)
    finally:
        project.compose("down", "-v", "--remove-orphans")
    table({name: {"beyond": size} for name, size in images.items()}, unit="MB of image")
    rows = {name: {"at rest": rest[name], "20/s": most[name]} for name in (*OURS, *OTHERS)}
    ours = {when: sum(rows[name][when] for name in OURS) for when in ("at rest", "20/s")}
    table({**rows, "our five": ours}, unit="MB of memory")
    print(f"first verdict {first:.1f} s after up")
    write(
        options.json,
        figures={
            "image_beyond_base_mb": images,
            "largest_service_beyond_base_mb": max(images[name] for name in (*OURS, DEPLOYER)),
            "memory_mb": rows,
            "our_services_at_rest_mb": ours["at rest"],
            "our_services_at_20_a_second_mb": ours["20/s"],
            "first_verdict_s": first,
            "run": summary,
        },
        ratios={},
    )


if __name__ == "__main__":
    main()
