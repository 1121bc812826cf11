"""The simulated line with parts that come."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from lineside_bench.runner.simulated_line import SimulatedLine
from tests.support.waiting import until


async def judged(line: SimulatedLine, count: int) -> None:
    """Wait until that many more parts got pass or fail."""

    def now() -> int:
        return line.tally.verdicts["pass"] + line.tally.verdicts["fail"]

    start = now()
    await until(lambda: now() >= start + count, f"{count} more parts judged")


@asynccontextmanager
async def parts_coming(line: SimulatedLine, first: int) -> AsyncIterator[None]:
    """Show parts without end, once the first are judged; at the end what is under way is waited for."""
    feeding = asyncio.create_task(line.run())
    try:
        await judged(line, first)
        yield
    finally:
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)
