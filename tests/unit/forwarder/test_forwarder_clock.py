import asyncio

from lineside_forwarder.clock import Clock
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
