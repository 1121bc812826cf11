"""What a service costs before it does anything: the time to import it, and the memory that it holds at rest.

Import time is what `python -X importtime` reports for the service's `__main__` in a new process, all that it imports
included, beside the processor time of that process, Python's own start included; each the best of five. Memory is VmRSS
of the running service five seconds after its `/livez` first answered, with the settings of one box whose peers (broker,
Triton, PLC) are not there; the median of three starts.

Run with the Python of another checkout's environment it measures that checkout.
"""

import contextlib
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import yaml
from report import arguments, free_ports, table, write

ROOT = Path(__file__).parents[1]
SERVICES = ("inference", "topic_bridge", "opcua_bridge", "forwarder", "exporter")
IMPORTS, STARTS, REST_S = 5, 3, 5.0
QUICK_IMPORTS, QUICK_STARTS, QUICK_REST_S = 1, 1, 2.0
START_S = 60.0
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.upper().startswith("LINESIDE_")}


def import_s(service: str) -> tuple[float, float]:
    """Return the seconds, and the seconds of processor time, that the import of a service takes in a new process."""
    module = f"lineside_{service}.__main__"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-X", "importtime", "-c", f"import {module}"]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    imported = (line.split("|") for line in done.stderr.splitlines() if line.startswith("import time:"))
    # The package and its __main__ have a line each; what they import is indented and within their cumulative time.
    outermost = {f" {module.partition('.')[0]}", f" {module}"}
    wall_s = sum(int(cumulative) for _, cumulative, name in imported if name in outermost) / 1e6
    return wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def resident_mb(service: str, rest_s: float) -> float:
    """Start a service, wait until it rests, and return its resident memory in MB (1e6 bytes)."""
    with tempfile.TemporaryDirectory(prefix="lineside-footprint-") as folder:
        ports = free_ports(len(SERVICES) + 1)
        settings = Path(folder, "settings.yaml")
        settings.write_text(yaml.safe_dump(document(Path(folder), ports)), encoding="utf-8")
        command = [sys.executable, "-m", f"lineside_{service}", str(settings)]
        with (
            Path(folder, "log").open("wb") as log,
            subprocess.Popen(command, env=ENVIRONMENT, stdout=log, stderr=log) as process,
        ):
            try:
                wait_alive(f"http://127.0.0.1:{ports[SERVICES.index(service)]}/livez", process, Path(folder, "log"))
                time.sleep(rest_s)
                return resident_bytes(process.pid) / 1e6
            finally:
                process.terminate()


def document(folder: Path, ports: list[int]) -> dict:
    """Return the settings of a box whose peers are all at a port where nobody listens."""
    nobody = ports[-1]
    http = {name: {"host": "127.0.0.1", "port": port} for name, port in zip(SERVICES, ports, strict=False)}
    for name in ("images", "evidence"):
        (folder / name).mkdir()
    return {
        "thing": "footprint",
        "bus": {"host": "127.0.0.1", "port": nobody},
        "spool": {"folder": str(folder / "spool"), "max_bytes": 2**28},
        "inference": {
            "http": http["inference"],
            "triton": {"url": f"127.0.0.1:{nobody}"},
            "model_repository": str(ROOT / "models"),
            "cameras": {"station-1": {"url": f"http://127.0.0.1:{nobody}/station-1/snapshot.jpg"}},
            "file_roots": [str(folder / "images")],
        },
        "topic_bridge": {"http": http["topic_bridge"], "inference_url": f"http://127.0.0.1:{nobody}"},
        "opcua_bridge": {
            "http": http["opcua_bridge"],
            "endpoint": f"opc.tcp://127.0.0.1:{nobody}",
            "security": {"policy": "none"},
            "triggers": [
                {
                    "name": "station-1",
                    "when": {"kind": "edge", "node": "nsu=urn:lineside:bench;s=Station1.PartPresent"},
                    "station": "station-1",
                    "model": "surface-defect",
                    "source": {"kind": "camera", "camera": "station-1"},
                    "deadline_ms": 400,
                }
            ],
        },
        "forwarder": {
            "http": http["forwarder"],
            "destinations": [{"name": "disk", "kind": "disk", "path": str(folder / "evidence")}],
        },
        "exporter": {"http": http["exporter"], "services": {"inference": f"http://127.0.0.1:{nobody}"}},
    }


def wait_alive(url: str, process: subprocess.Popen, log: Path) -> None:
    """Return once the service answers; ends the benchmark with its log where it does not."""
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=1) as answer:  # noqa: S310 - our own
            if answer.status == 200:
                return
        time.sleep(0.05)
    sys.exit(f"{url} did not answer:\n{log.read_text(encoding='utf-8', errors='replace')[-3000:]}")


def resident_bytes(pid: int) -> int:
    """Return VmRSS of a process."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:"))) * 1024


def main() -> None:
    asked = arguments("Measure import time and resident memory of each service")
    imports, starts = (QUICK_IMPORTS, QUICK_STARTS) if asked.quick else (IMPORTS, STARTS)
    rest_s = QUICK_REST_S if asked.quick else REST_S
    rows = {}
    for service in SERVICES:
        taken = [import_s(service) for _ in range(imports)]
        rows[service.replace("_", "-")] = {
            "import s": min(wall_s for wall_s, _ in taken),
            "CPU s": min(cpu_s for _, cpu_s in taken),
            "memory MB": statistics.median(resident_mb(service, rest_s) for _ in range(starts)),
        }
    table(rows, unit="at rest")
    figures = {
        "first_import_s": {name: round(row["import s"], 3) for name, row in rows.items()},
        "first_import_cpu_s": {name: round(row["CPU s"], 3) for name, row in rows.items()},
        "resident_mb": {name: round(row["memory MB"], 1) for name, row in rows.items()},
    }
    write(asked.json, figures=figures, ratios={})


if __name__ == "__main__":
    main()
