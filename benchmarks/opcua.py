"""The bridge's way from the PLC against a naive asyncua script and a node-opcua client: values a second, gaps, CPU.

All take the same changes of the same 2,000 tags in turns of a few seconds, each from a server of its own, each with one
core for itself where there are two. `link` is the bridge's OPC UA side with stations that only count, which is the job
that the alternatives do; `bridge` is the whole process, with windows over all tags and a broker. A rate holds where
every value came and the last one no more than 0.3 seconds after the load's end.
"""

import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from opcua_bridge import Bridge, Requests, broker
from opcua_peers import NODE_PACKAGES, Client, Counting, Load, NodeServer, Server, Turn, turn
from report import arguments, percentiles, table, write

NODES = 2000
RATE_HZ = 10.0
EDGES_PER_S = 20.0
TRIGGERS = 8
LADDER_HZ = (20, 25, 30, 40, 50, 60, 80, 100, 125, 160, 200, 250, 320)
WARM_HZ = 20.0
WARM_S = 1.5
GOAL = 30_000


@dataclass(frozen=True)
class Plan:
    """How long everything takes, in seconds a turn; `real_s` 0 leaves node-opcua's server out."""

    rounds: int
    turn_s: float
    step_s: float
    ladder_hz: tuple[float, ...]
    latency_s: float
    real_s: float


FULL = Plan(3, 4.0, 3.0, LADDER_HZ, 15.0, 4.0)
QUICK = Plan(1, 1.5, 1.0, (20, 40), 3.0, 0.0)

Start = Callable[[Server, float], Client]
"""Start a client on a server; a client that is configured for a rate is given that."""


def starts(work: Path, mqtt_port: int) -> dict[str, Start]:
    """Return how each client is started; without node-opcua, those without it."""

    def counting(kind: str) -> Start:
        return lambda server, rate_hz: Counting(kind, server, NODES, rate_hz)

    found = {
        "link": counting("link"),
        "bridge": lambda server, rate_hz: Bridge(server, NODES, rate_hz, mqtt_port=mqtt_port, work=work),
        "naive": counting("naive"),
    }
    if has_node():
        found["node-opcua"] = counting("node-opcua")
    else:
        print("without node-opcua: `npm ci` in bench/node_opcua installs it")
    return found


def has_node() -> bool:
    return bool(shutil.which("node")) and (NODE_PACKAGES / "node_modules" / "node-opcua").is_dir()


@contextmanager
def started(how: dict[str, Start], loads: dict[str, Load], rate_hz: float) -> Iterator[dict[str, Client]]:
    """Run all clients, each on its own load and warm: a compiler at run time has to see some values first."""
    with ExitStack() as running, ThreadPoolExecutor(len(how)) as pool:
        starting = {name: pool.submit(start, loads[name], rate_hz) for name, start in how.items()}
        clients = {name: running.enter_context(closing(each.result())) for name, each in starting.items()}
        for name, client in clients.items():
            turn(loads[name], client, WARM_HZ, WARM_S)
        yield clients


def nominal(clients: dict[str, Client], loads: dict[str, Load], plan: Plan) -> dict[str, list[Turn]]:
    """Return each client's turns at 2,000 tags x 10 Hz."""
    turns: dict[str, list[Turn]] = {name: [] for name in clients}
    for _ in range(plan.rounds):
        for name, client in clients.items():
            turns[name].append(turn(loads[name], client, RATE_HZ, plan.turn_s))
    return turns


def highest(name: str, client: Client, load: Load, plan: Plan) -> Turn | None:
    """Return the turn at the highest rate that held; a rate has to fail twice to be too high."""
    best: Turn | None = None
    for rate_hz in plan.ladder_hz:
        tried = turn(load, client, rate_hz, plan.step_s)
        if not tried.held:
            tried = turn(load, client, rate_hz, plan.step_s)
        if not tried.held:
            print(f"{name} does not hold {tried}", flush=True)
            return best
        best = tried
    return best


def real(how: dict[str, Start], plan: Plan) -> dict[str, Turn]:
    """Return each client's turn at the nominal rate on node-opcua's server, which writes every value singly."""
    turns = {}
    for name, start in how.items():
        with closing(NodeServer(NODES)) as server, closing(start(server, RATE_HZ)) as client:
            turn(server, client, RATE_HZ, plan.real_s)
            turns[name] = turn(server, client, RATE_HZ, plan.real_s)
    return turns


def trigger_to_request(bridge: Client, load: Load, requests: Requests, plan: Plan) -> dict[str, dict[str, float]]:
    """Return milliseconds from an edge's source timestamp, with all tags changing at the nominal rate beside it."""
    with closing(bridge):
        load.rate(RATE_HZ)
        time.sleep(1.0)
        requests.clear()
        before = load.edges(EDGES_PER_S)
        time.sleep(plan.latency_s)
        raised = load.edges(0) - before
        time.sleep(0.5)
        load.rate(0)
    seen = requests.edges()
    if len(seen) != raised:
        raise SystemExit(f"{raised} edges became {len(seen)} requests: nothing to compare")
    return {
        "published": percentiles([each.published_ms for each in seen]),
        "arrived": percentiles([each.arrived_ms for each in seen]),
    }


def measure(plan: Plan) -> tuple[dict[str, object], dict[str, float]]:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        work = Path(folder)
        mqtt_port = running.enter_context(broker(work))
        requests = running.enter_context(Requests(mqtt_port))
        how = starts(work, mqtt_port)
        loads = {name: running.enter_context(closing(Load(NODES, TRIGGERS))) for name in how}
        with started(how, loads, RATE_HZ) as clients:
            turns = nominal(clients, loads, plan)
            show(turns)
        held = {}
        for name, start in how.items():  # one at a time: a client that fills its core would starve one that waits there
            with started({name: start}, loads, plan.ladder_hz[-1]) as clients:
                held[name] = highest(name, clients[name], loads[name], plan)
            print(f"highest rate that holds, {name}: {values_a_second(held[name]):,.0f} values/s", flush=True)
        bridge = Bridge(loads["bridge"], NODES, RATE_HZ, mqtt_port=mqtt_port, work=work, edges=TRIGGERS)
        latency = trigger_to_request(bridge, loads["bridge"], requests, plan)
        on_real = real(how, plan) if has_node() and plan.real_s else {}
    print(f"\ntrigger to request at {NODES * RATE_HZ:,.0f} values/s")
    table(latency, unit="milliseconds")
    cpu_us = {name: statistics.median(each.cpu_us for each in rounds) for name, rounds in turns.items()}
    gaps = {name: sum(missing(each) for each in rounds) for name, rounds in turns.items()}
    figures: dict[str, object] = {
        "values_per_s_per_core": 1e6 / cpu_us["bridge"],
        "gaps": gaps["bridge"] + gaps["link"],
        "nodes": NODES,
        "nominal_values_per_s": NODES * RATE_HZ,
        "values_per_cpu_s": {name: 1e6 / each for name, each in cpu_us.items()},
        "cpu_us_per_value": cpu_us,
        "gaps_by_client": gaps,
        "highest_rate_held": {name: values_a_second(each) for name, each in held.items()},
        "cpu_us_per_value_at_highest": {name: each.cpu_us for name, each in held.items() if each},
        "goal_reached": values_a_second(held["bridge"]) >= GOAL,
        "trigger_to_request_ms": latency,
        "on_node_opcua_server": {
            name: {"values": each.received, "gaps": missing(each), "cpu_us_per_value": each.cpu_us}
            for name, each in on_real.items()
        },
    }
    ratios = {
        f"{prefix}vs_{name.replace('-', '_')}": cpu_us[name] / cpu_us[side]
        for side, prefix in (("link", ""), ("bridge", "bridge_"))
        for name in ("naive", "node-opcua")
        if name in cpu_us
    }
    return figures, ratios


def missing(each: Turn) -> int:
    """Return the values that did not come, whoever lost them."""
    return max(each.gaps, each.generated - each.received)


def values_a_second(each: Turn | None) -> float:
    return each.rate_hz * NODES if each else 0.0


def show(turns: dict[str, list[Turn]]) -> None:
    print(f"{NODES} tags x {RATE_HZ:g} Hz, the median of {len(next(iter(turns.values())))}", flush=True)
    rows = {
        name: {
            "us CPU": statistics.median(each.cpu_us for each in rounds),
            "core %": statistics.median(100 * each.cpu_s / each.wall_s for each in rounds),
            "values": float(sum(each.received for each in rounds)),
            "missing": float(sum(missing(each) for each in rounds)),
        }
        for name, rounds in turns.items()
    }
    table(rows, unit="a value")


def main() -> None:
    given = arguments(__doc__.splitlines()[0])
    figures, ratios = measure(QUICK if given.quick else FULL)
    write(given.json, figures=figures, ratios=ratios)
    if figures["gaps"]:
        sys.exit("values were lost at the nominal rate")


if __name__ == "__main__":
    main()
