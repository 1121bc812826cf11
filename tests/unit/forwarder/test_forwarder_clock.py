import asyncio
import threading

import pytest

from lineside_forwarder.clock import Clock, in_thread
from tests.support.waiting import HANG_S


async def test_a_wait_ends_with_the_event_and_with_the_time() -> None:
    event = asyncio.Event()
    waiting = asyncio.create_task(Clock().wait(event, 3600))
    await asyncio.sleep(0)
    event.set()
    await asyncio.wait_for(waiting, 10)
    await asyncio.wait_for(Clock().wait(event, 3600), HANG_S)
    await asyncio.wait_for(Clock().wait(asyncio.Event(), 0.001), HANG_S)
    assert len(asyncio.all_tasks()) == 1


async def test_a_cancelled_call_is_waited_for() -> None:
    begun, go, ended = threading.Event(), threading.Event(), threading.Event()

    def call() -> None:
        begun.set()
        assert go.wait(HANG_S)
        ended.set()

    waiting = asyncio.create_task(in_thread(call))
    await asyncio.to_thread(begun.wait, 10)
    waiting.cancel()
    await asyncio.sleep(0)
    assert not waiting.done()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended.is_set()


async def test_what_a_call_raises_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        await in_thread(lambda: 1 // 0)
