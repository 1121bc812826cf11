"""What the benchmarks share: their arguments, free ports, the table, the JSON."""

import argparse
import contextlib
import json
import os
import platform
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path


def arguments(what: str) -> argparse.Namespace:
    """Return `--json FILE` and `--quick` as given."""
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--json", type=Path, help="write figures and ratios there")
    parser.add_argument("--quick", action="store_true", help="a short run, for a first look")
    return parser.parse_args()


def free_ports(count: int) -> list[int]:
    """Return different TCP ports of the loopback address that are free now."""
    with contextlib.ExitStack() as held:
        listeners = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [listener.getsockname()[1] for listener in listeners]


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Return p50, p95, p99 and max of a non-empty sequence, by nearest rank."""
    ordered = sorted(values)

    def rank(share: float) -> float:
        return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered) + 0.5) - 1))]

    return {"p50": rank(0.50), "p95": rank(0.95), "p99": rank(0.99), "max": ordered[-1]}


def table(rows: Mapping[str, Mapping[str, float]], *, unit: str) -> None:
    """Print one row a thing, one column a figure."""
    columns = list(next(iter(rows.values())))
    width = max(len(name) for name in rows)
    print(f"{unit:<{width}}" + "".join(f"{name:>10}" for name in columns))
    for name, figures in rows.items():
        print(f"{name:<{width}}" + "".join(f"{figures[column]:>10.2f}" for column in columns))


def write(path: Path | None, *, figures: Mapping[str, object], ratios: Mapping[str, float]) -> None:
    """Write the JSON: a ratio above 1 means that ours is better."""
    for name, ratio in ratios.items():
        print(f"ratio {name}: {ratio:.2f} (above 1: ours is better)")
    if path:
        machine = {
            "cores": len(os.sched_getaffinity(0)),
            "machine": platform.machine(),
            "python": platform.python_version(),
        }
        document = {"figures": {**figures, "machine": machine}, "ratios": {k: round(v, 3) for k, v in ratios.items()}}
        path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
