"""`lineside bench` and `lineside up`: start the line, feed parts, stop at a signal, report, return the exit status."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from rich.console import Console

from lineside import telemetry
from lineside_bench import exit_codes
from lineside_bench.options import Options
from lineside_bench.processes.interrupts import Interrupts
from lineside_bench.reporting import json_file, progress, report
from lineside_bench.runner import capacity
from lineside_bench.runner.simulated_line import SimulatedLine

STATE_PERIOD_S = 0.5


def bench(options: Options, *, summary_file: Path | None = None, state_file: Path | None = None) -> int:
    """Judge the run's parts, report, and return the exit status."""
    return exit_codes.guarded(lambda console: _bench(console, options, summary_file, state_file))


def up(options: Options, *, state_file: Path | None = None) -> int:
    """Keep the line running until Ctrl-C or SIGTERM, and return the exit status."""
    return exit_codes.guarded(lambda console: _up(console, options, state_file))


def find_capacity(options: Options, *, summary_file: Path | None = None) -> int:
    """Look for the highest rate with nothing late or unknown, report, and return the exit status."""
    return exit_codes.guarded(lambda console: _find_capacity(console, options, summary_file))


async def _find_capacity(console: Console, options: Options, summary_file: Path | None) -> int:
    if summary_file:
        json_file.check_writable(summary_file, "--json")
    interrupts = Interrupts(console.print)
    trials: list[capacity.Trial] = []
    found: list[float | None] = []

    def told(each: capacity.Trial) -> None:
        trials.append(each)
        console.print(_said(each), soft_wrap=True)

    with interrupts.caught():
        async with _started(console, options, None, interrupts) as line:
            if line is not None:

                async def search() -> None:
                    found.append((await capacity.find(line, options.rate, told))[0])

                await interrupts.until(search())
    rate = found[0] if found else None
    if found:
        bad = [each for each in trials if not each.is_good]
        what = (
            f"{rate:.3g} parts a second" if rate is not None else "none: not even one part a second was judged in time"
        )
        console.print(f"Capacity: {what}", style="bold")
        if bad:
            nearest = min(bad, key=lambda each: each.rate)
            console.print(f"What keeps it from {nearest.rate:.3g}: {nearest.limited_by}", soft_wrap=True)
    if summary_file:
        document = {"capacity": rate, "seed": options.seed, "stations": options.station_count}
        json_file.write_json(summary_file, {**document, "trials": [each.document() for each in trials]})
    return exit_codes.status(signal=interrupts.number, faults=rate is None)


def _said(each: capacity.Trial) -> str:
    wrong = ", ".join(
        f"{name} {count}"
        for name, count in (
            ("late", each.late),
            ("unknown", each.unknown),
            ("missing", each.missing),
            ("duplicates", each.duplicates),
        )
        if count
    )
    times = f"p50 {each.p50_ms:.0f} ms, p99 {each.p99_ms:.0f} ms" if each.p50_ms and each.p99_ms else "no verdicts"
    behind = f", parts up to {each.behind_s:.1f} s behind" if each.behind_s > capacity.BEHIND_S else ""
    busy = f"{each.load.busy:.0%} busy, {each.load.others:.0%} by others"
    return f"{each.rate:6.1f}/s: {wrong or 'all judged in time'}{behind}; {times}; processors {busy}"


async def _bench(console: Console, options: Options, summary_file: Path | None, state_file: Path | None) -> int:
    if summary_file:
        json_file.check_writable(summary_file, "--json")
    interrupts = Interrupts(console.print)
    faults = False
    with interrupts.caught():
        async with _started(console, options, state_file, interrupts) as line:
            if line is not None:
                async with progress.shown(console, line.tally, options.parts):
                    await interrupts.until(line.run())
                faults = await _report(console, line, summary_file, interrupted=interrupts.number > 0)
    return exit_codes.status(signal=interrupts.number, faults=faults)


async def _up(console: Console, options: Options, state_file: Path | None) -> int:
    interrupts = Interrupts(console.print)
    with interrupts.caught():
        async with _started(console, options, state_file, interrupts) as line:
            if line is not None:
                console.print("Running; Ctrl-C ends it.")
                async with progress.shown(console, line.tally, None):
                    await interrupts.until(line.run() if options.rate > 0 else asyncio.Event().wait())
                if line.records:
                    await _report(console, line, None, interrupted=False)
    return 0


async def _report(console: Console, line: SimulatedLine, summary_file: Path | None, *, interrupted: bool) -> bool:
    """Print the report; return whether there were faults, and keep the logs then."""
    summary = await line.summary(interrupted=interrupted)
    console.print(report.render(summary))
    faults = report.has_faults(summary)
    if faults:
        line.keep()
        console.print(f"The logs are kept in {line.work}", soft_wrap=True)
    if summary_file:
        json_file.write_json(summary_file, summary)
    return faults


@contextlib.asynccontextmanager
async def _started(
    console: Console, options: Options, state_file: Path | None, interrupts: Interrupts
) -> AsyncIterator[SimulatedLine | None]:
    """Start the line and print its endpoints; yield None where a signal came first."""
    if state_file:
        json_file.check_writable(state_file, "--state")
    line = SimulatedLine(options, note=console.print)
    console.print(f"Starting the line: {options.station_count} stations, seed {options.seed}")
    with contextlib.ExitStack() as last:
        async with contextlib.AsyncExitStack() as life:
            if not await interrupts.until(life.enter_async_context(line)):
                yield None
                return
            _log_into(last, line.work / "bench.log")
            _announce(console, line)
            if state_file:
                await life.enter_async_context(_state_kept(line, state_file))
            yield line


def _announce(console: Console, line: SimulatedLine) -> None:
    for name, default in line.ports.moved.items():
        console.print(f"{name.replace('_', '-')}: port {default} is in use, {line.ports[name]} instead", style="yellow")
    console.print(f"Ready after {line.ready_s:.1f} s; Triton is the CPU one of 2024: for benches only")
    for name, url in line.endpoints.items():
        console.print(f"  [dim]{name.replace('_', '-'):<15}[/dim] {url}")


def _log_into(life: contextlib.ExitStack, path: Path) -> None:
    """Send the log lines of the PLC, the camera and the observer to a file until `life` ends."""
    log = life.enter_context(path.open("w", encoding="utf-8"))
    telemetry.configure("bench", level="warning", style="json", stream=log)
    life.callback(logging.getLogger().handlers.clear)


@contextlib.asynccontextmanager
async def _state_kept(line: SimulatedLine, path: Path) -> AsyncIterator[None]:
    """Write the state file when ready and after each restart of a process; remove it at the end."""

    async def keep(written: dict[str, Any]) -> None:
        while True:
            await asyncio.sleep(STATE_PERIOD_S)
            if line.state != written:
                written = line.state
                json_file.write_json(path, written)

    document = line.state
    line.remove_at_end(path)
    json_file.write_json(path, document)
    keeping = asyncio.create_task(keep(document), name="state file")
    try:
        yield
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        path.unlink(missing_ok=True)  # noqa: ASYNC240 - one small call at the end of all
