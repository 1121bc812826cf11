"""Progress of a run: a live table on a terminal, a line every few seconds otherwise."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

from rich.console import Console
from rich.live import Live
from rich.table import Table

from lineside_bench.reporting.records import VERDICTS
from lineside_bench.reporting.report import percentile
from lineside_bench.reporting.tally import Tally

LIVE_PERIOD_S = 0.25
LINE_PERIOD_S = 2.0
ENDLESS_LINE_PERIOD_S = 30.0


@contextlib.asynccontextmanager
async def shown(console: Console, tally: Tally, parts: int | None) -> AsyncIterator[None]:
    """Show the tally within this context; `parts` is how many there will be, None without end."""
    if console.is_terminal:
        with Live(console=console, auto_refresh=False, transient=True) as live:
            async with _every(LIVE_PERIOD_S, lambda since: live.update(_table(tally, parts, since), refresh=True)):
                yield
        return
    said = [0]

    def say(since: float) -> None:
        done = tally.judged + tally.missing
        if parts is not None or done != said[0]:  # an idle line has nothing to say, a stalled run has
            said[0] = done
            console.print(as_line(tally, parts, since), highlight=False, soft_wrap=True)

    async with _every(LINE_PERIOD_S if parts is not None else ENDLESS_LINE_PERIOD_S, say):
        yield


def as_line(tally: Tally, parts: int | None, since_s: float) -> str:
    """Return the tally as one line of text."""
    return ", ".join(f"{name} {value}" for name, value in _figures(tally, parts, since_s))


def _table(tally: Tally, parts: int | None, since_s: float) -> Table:
    table = Table.grid(padding=(0, 2))
    for name, value in _figures(tally, parts, since_s):
        table.add_row(f"[dim]{name}[/dim]", value)
    return table


def _figures(tally: Tally, parts: int | None, since_s: float) -> list[tuple[str, str]]:
    done = tally.judged + tally.missing
    of = f"/{parts}" if parts is not None else ""
    rate = done / since_s if since_s > 0 else 0.0
    figures = [
        ("parts", f"{done}{of}"),
        ("rate", f"{rate:.1f}/s"),
        *((verdict, str(tally.verdicts[verdict])) for verdict in VERDICTS),
    ]
    p50, p95 = percentile(tally.latencies_ms, 0.50), percentile(tally.latencies_ms, 0.95)
    if p50 is not None and p95 is not None:
        figures.append(("latency", f"p50 {p50:.0f} ms p95 {p95:.0f} ms"))
    if tally.missing:
        figures.append(("missing", str(tally.missing)))
    return figures


@contextlib.asynccontextmanager
async def _every(period_s: float, show: Callable[[float], None]) -> AsyncIterator[None]:
    start = time.monotonic()

    async def keep_showing() -> None:
        while True:
            await asyncio.sleep(period_s)
            show(time.monotonic() - start)

    showing = asyncio.create_task(keep_showing(), name="progress")
    try:
        yield
    finally:
        showing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await showing
