import asyncio
import os
import signal

import pytest

from lineside_bench.errors import BenchError
from lineside_bench.processes.interrupts import Interrupts


async def test_a_signal_cancels_what_runs_and_is_remembered() -> None:
    said: list[str] = []
    interrupts = Interrupts(said.append)
    cleaned = asyncio.Event()

    async def work() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.set()

    with interrupts.caught():
        assert not await interrupts.until(work())
        os.kill(os.getpid(), signal.SIGINT)  # a second one changes nothing
        await asyncio.sleep(0)
    assert cleaned.is_set()
    assert interrupts.number == signal.SIGTERM
    assert len(said) == 1


async def test_work_that_ends_by_itself_passes_its_error_on() -> None:
    async def fails() -> None:
        raise BenchError("it broke", remedy="Mend it")

    interrupts = Interrupts(lambda _text: None)
    with interrupts.caught():
        assert await interrupts.until(asyncio.sleep(0))
        with pytest.raises(BenchError, match="it broke"):
            await interrupts.until(fails())
    assert interrupts.number == 0
