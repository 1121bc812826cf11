"""The line at more than it can judge: at 1.5, 2 and 4 times its capacity, what is late, missing, told twice, judged.

The capacity is looked for first, as `lineside bench --find-capacity` does, or given. What is beside the line on the
machine counts: the table says how busy the processors were, and by how much others than the line kept them so.
"""

import argparse
import asyncio
from pathlib import Path

from report import write

from lineside_bench.options import MAX_RATE, MAX_STATIONS, Options
from lineside_bench.runner.capacity import PICTURES, Trial, find, trial
from lineside_bench.runner.simulated_line import SimulatedLine

SEED = 11
TIMES = (1.5, 2.0, 4.0)
START = 10.0


async def measure(seconds: float, capacity: float | None) -> tuple[float, list[tuple[float, Trial]], Trial]:
    """Return the capacity, what became of the parts at each multiple of it, and of those after all that."""
    options = Options(parts=None, rate=START, seed=SEED, stations=MAX_STATIONS, pictures=PICTURES)
    async with SimulatedLine(options) as line:
        if capacity is None:
            capacity, _trials = await find(line, START, told)
        if capacity is None:
            raise SystemExit("not even one part a second was judged in time; nothing to multiply")
        print(f"capacity {capacity:.1f} parts/s", flush=True)
        rows = []
        for times in TIMES:
            made = await trial(line, min(MAX_RATE, times * capacity), seconds)
            told(made)
            rows.append((times, made))
        after = await trial(line, capacity / 2, seconds)
        told(after)
        return capacity, rows, after


def told(each: Trial) -> None:
    print(f"  {each.rate:.1f}/s: {each.judged} judged, {each.unknown} unknown, {each.late} late", flush=True)


def table(capacity: float, rows: list[tuple[float, Trial]], after: Trial) -> None:
    """Print one row a rate."""
    names = ("late", "missing", "duplicates", "judged", "unknown")
    print(
        f"{'times':>6}{'rate':>8}"
        + "".join(f"{name:>11}" for name in names)
        + f"{'judged/s':>10}{'of it':>7}  limited by"
    )
    for times, each in [*rows, (after.rate / capacity, after)]:
        counts = "".join(f"{getattr(each, name):>11}" for name in names)
        share = each.judged_a_second / capacity
        print(f"{times:>6.2f}{each.rate:>8.1f}{counts}{each.judged_a_second:>10.1f}{share:>7.0%}  {each.limited_by}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write figures and ratios there")
    parser.add_argument("--quick", action="store_true", help="a short run, for a first look")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long parts come at each rate")
    parser.add_argument("--capacity", type=float, help="parts a second; else it is looked for first")
    given = parser.parse_args()
    capacity, rows, after = asyncio.run(measure(5.0 if given.quick else given.seconds, given.capacity))
    table(capacity, rows, after)
    figures = {
        "capacity": capacity,
        "overload": {f"{times:g}": each.document() for times, each in rows},
        "after": after.document(),
    }
    ratios = {f"judged_at_{times:g}": each.judged_a_second / capacity for times, each in rows}
    write(given.json, figures=figures, ratios=ratios)
    wrong = [each for _times, each in [*rows, (0.0, after)] if each.late or each.missing or each.duplicates]
    if wrong:
        raise SystemExit(f"late, missing or told twice at {', '.join(f'{each.rate:.1f}/s' for each in wrong)}")


if __name__ == "__main__":
    main()
