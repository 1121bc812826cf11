import asyncio
import threading
from collections.abc import Callable

import pytest

from lineside.threads import Daemons, run_abandonable, run_to_end
from tests.support.waiting import HANG_S, until


async def test_what_a_call_returns_or_raises_reaches_who_asked() -> None:
    assert await run_abandonable(lambda: 42) == 42

    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await run_abandonable(fail)


def ends_while_a_call_hangs(begin: Callable[[Callable[[], object]], asyncio.Future[object]]) -> bool:
    """Run an event loop that begins a call which hangs and gives it up; return whether the loop ends before it."""
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def hangs() -> None:
        begun.set()
        go_on.wait(HANG_S)

    async def main() -> None:
        waiting = begin(hangs)
        await until(begun.is_set)
        waiting.cancel()

    def run() -> None:
        asyncio.run(main())
        ended.set()

    thread = threading.Thread(target=run)
    thread.start()
    begun.wait(HANG_S)
    # A pool's thread is waited for: that the loop has not ended shows only by waiting, so a short while must do.
    found = ended.wait(HANG_S if begin is not by_a_pool else 0.2)
    go_on.set()
    thread.join()
    return found


def by_itself(call: Callable[[], object]) -> asyncio.Future[object]:
    return asyncio.ensure_future(run_abandonable(call))


def by_the_loops_executor(call: Callable[[], object]) -> asyncio.Future[object]:
    asyncio.get_running_loop().set_default_executor(Daemons())
    return asyncio.ensure_future(asyncio.to_thread(call))


def by_a_pool(call: Callable[[], object]) -> asyncio.Future[object]:
    return asyncio.ensure_future(asyncio.to_thread(call))


def test_a_loop_ends_though_a_call_hangs() -> None:
    assert ends_while_a_call_hangs(by_itself)
    assert ends_while_a_call_hangs(by_the_loops_executor)
    assert not ends_while_a_call_hangs(by_a_pool), "without it the end waits: the test can tell"


async def test_calls_that_hang_hold_up_no_other() -> None:
    go_on = threading.Event()
    asyncio.get_running_loop().set_default_executor(Daemons())
    try:
        hung = [asyncio.ensure_future(asyncio.to_thread(go_on.wait, HANG_S)) for _ in range(100)]
        assert await asyncio.to_thread(lambda: "done") == "done"
        assert not any(each.done() for each in hung)
    finally:
        go_on.set()
    await asyncio.gather(*hung)


async def test_a_cancelled_call_is_waited_for() -> None:
    begun, go, ended = threading.Event(), threading.Event(), threading.Event()

    def call() -> None:
        begun.set()
        assert go.wait(HANG_S)
        ended.set()

    waiting = asyncio.create_task(run_to_end(call))
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
        await run_to_end(lambda: 1 // 0)
