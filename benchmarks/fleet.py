"""What a rollout over a fleet costs: processor time of our own commands, and calls of AWS' APIs.

`lineside greengrass cloud` plays AWS' side with 1,000 simulated core devices, some slow, some away at first; the
commands run as people run them, each as a process of its own: plan, start, then evaluate and promote until the whole
target has it, drift at the end, and a rollback. Minutes go by between the commands, by the stand-in's own clock.
Processor time is that of the commands alone, Python's start and the imports included; the stand-in's is not counted.
"""

import http.client
import json
import os
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import yaml
from report import arguments, table, write

DEVICES, QUICK_DEVICES = 1000, 100
MODEL = "com.lineside.Model.SurfaceDefect"
BOUND_CPU_S = 60.0
BOUND_CALLS = 2.0
"""Calls a device, from plan to promoted, at most."""
MINUTES = 120
COMMAND = [sys.executable, "-m", "lineside"]


@contextmanager
def stand_in(devices):
    """Serve the stand-in whose time only we move; yield its environment and address."""
    command = [*COMMAND, "greengrass", "cloud", "--devices", str(devices), "--minute-s", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            lines = [process.stdout.readline() for _ in range(5)]
            given = dict(shlex.split(line)[1].split("=", 1) for line in lines)
            yield {**os.environ, **given}, given["AWS_ENDPOINT_URL_IOT"]
        finally:
            process.terminate()


def steer(url, method, what, body=None):
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=600)
    try:
        connection.request(method, f"/stand-in/{what}", json.dumps(body) if body is not None else None)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


class Measured:
    """Runs commands, and adds up what each costs."""

    def __init__(self, environment, url):
        self.environment, self.url = environment, url
        self.rows = {}

    def run(self, name, *arguments, allowed=(0,)):
        calls = Counter(steer(self.url, "GET", "calls"))
        before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        command = [*COMMAND, "fleet", *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        wall_s, after = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode not in allowed:
            sys.exit(
                f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
            )
        made = Counter(steer(self.url, "GET", "calls")) - calls
        row = self.rows.setdefault(name, {"times": 0, "CPU s": 0.0, "wall s": 0.0, "calls": 0})
        row["times"] += 1
        row["CPU s"] += after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        row["wall s"] += wall_s
        row["calls"] += sum(made.values())
        return done.stdout


def measure(devices, folder):
    rollout = {
        "rollout": "benchmark",
        "target": "line-fleet",
        "components": {MODEL: "1.1.0"},
        "stages": [
            {"name": "staging", "group": "line-staging"},
            {"name": "few", "percentage": 1},
            {"name": "tenth", "percentage": 10},
        ],
        "window_minutes": 0,
        "gate": None,
    }
    file = folder / "rollout.yaml"
    file.write_text(yaml.safe_dump(rollout), encoding="utf-8")
    with stand_in(devices) as (environment, url):
        measured = Measured(environment, url)
        measured.run("plan", "plan", str(file))
        measured.run("start", "start", str(file))
        for _ in range(4):
            steer(url, "POST", "tick", {"minutes": MINUTES})
            measured.run("evaluate", "evaluate", str(file))
            measured.run("promote", "promote", str(file))
        status = json.loads(measured.run("status", "status", str(file), "--json"))
        promoted = dict(measured.rows)
        there = steer(url, "GET", "world")["installed"]
        updated = sum(each.get(MODEL) == "1.1.0" for each in there.values())
        if status["phase"] != "promoted" or updated != len(there):
            sys.exit(f"the rollout is {status['phase']}, and {updated} of {len(there)} devices have it")
        measured.run("drift", "drift")
        measured.run("rollback", "rollback", str(file))
        return promoted, measured.rows


def main():
    asked = arguments("Measure a rollout over a fleet of simulated core devices")
    devices = QUICK_DEVICES if asked.quick else DEVICES
    with tempfile.TemporaryDirectory(prefix="lineside-fleet-") as folder:
        promoted, rows = measure(devices, Path(folder))
    total = {key: sum(row[key] for row in promoted.values()) for key in ("times", "CPU s", "wall s", "calls")}
    table({**rows, "plan to promoted": total}, unit=f"{devices} devices")
    calls = total["calls"] / devices
    print(f"\n{total['CPU s']:.1f} s of our own CPU, {calls:.2f} calls a device from plan to promoted; "
          f"drift {rows['drift']['calls'] / devices:.2f} calls a device")  # fmt: skip
    figures = {
        "devices": devices,
        "cpu_s": {name: round(row["CPU s"], 2) for name, row in {**rows, "plan_to_promoted": total}.items()},
        "calls_a_device": {
            "plan_to_promoted": round(calls, 3),
            "drift": round(rows["drift"]["calls"] / devices, 3),
            "rollback": round(rows["rollback"]["calls"] / devices, 3),
        },
    }
    write(asked.json, figures=figures, ratios={"cpu_bound": round(BOUND_CPU_S / total["CPU s"], 2)})
    if total["CPU s"] > BOUND_CPU_S or (not asked.quick and calls > BOUND_CALLS):
        sys.exit(f"over the bounds: {BOUND_CPU_S:g} s of CPU, {BOUND_CALLS:g} calls a device")


if __name__ == "__main__":
    main()
