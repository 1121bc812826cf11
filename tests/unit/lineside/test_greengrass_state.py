"""RUNNING is told when the service has been ready for a while, and again when it stayed so."""

import asyncio

import pytest

from lineside.errors import LinesideError
from lineside.greengrass.state import tell_running
from tests.support.waiting import until


async def test_running_is_told_once_and_only_when_the_service_is_ready() -> None:
    answers = [False, False, False, True]
    asked: list[bool] = []
    told: list[int] = []

    def is_ready() -> bool:
        asked.append(answers[min(len(asked), 3)])
        return asked[-1]

    telling = asyncio.create_task(tell_running(is_ready, lambda: told.append(len(asked)), moments=(0,)))
    await until(lambda: told)
    assert told == [4]
    answers[3] = False  # what happens later is told by nobody
    await asyncio.sleep(0)
    assert not telling.done()
    telling.cancel()
    assert told == [4]


async def test_a_service_that_never_gets_ready_tells_nothing() -> None:
    asked, told = [], []
    telling = asyncio.create_task(tell_running(lambda: bool(asked.append(1)), lambda: told.append(1), moments=(0,)))
    await until(lambda: len(asked) > 2)
    telling.cancel()
    assert not told


async def test_what_the_nucleus_will_not_take_ends_it() -> None:
    def refuse() -> None:
        raise LinesideError("no")

    with pytest.raises(LinesideError, match="no"):
        await tell_running(lambda: True, refuse, moments=(0,))


async def test_a_service_that_is_not_ready_for_long_tells_nothing() -> None:
    """What ends seconds after RUNNING would not be taken back any more."""
    now, looks, told = [0.0], [0], []
    ready = [True]

    def is_ready() -> bool:
        looks[0] += 1
        return ready[0]

    async def pass_to(moment: float) -> None:
        now[0] = moment
        before = looks[0]
        await until(lambda: looks[0] > before + 2)

    telling = asyncio.create_task(tell_running(is_ready, lambda: told.append(now[0]), (5.0, 60.0), lambda: now[0]))
    await pass_to(0.0)
    await pass_to(4.0)
    ready[0] = False
    await pass_to(5.5)
    ready[0] = True
    await pass_to(6.0)
    await pass_to(10.9)
    assert told == []
    now[0] = 11.0
    await until(lambda: told)
    ready[0] = False
    await pass_to(50.0)
    ready[0] = True
    await pass_to(50.5)
    await pass_to(110.4)
    assert told == [11.0]
    now[0] = 110.5
    await until(lambda: len(told) > 1)  # by which the nucleus forgets the errors before
    assert told == [11.0, 110.5]
    telling.cancel()
