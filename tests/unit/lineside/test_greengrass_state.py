"""RUNNING is told once, when the service is ready."""

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

    telling = asyncio.create_task(tell_running(is_ready, lambda: told.append(len(asked))))
    await until(lambda: told)
    assert told == [4]
    answers[3] = False  # what happens later is told by nobody
    await asyncio.sleep(0)
    assert not telling.done()
    telling.cancel()
    assert told == [4]


async def test_a_service_that_never_gets_ready_tells_nothing() -> None:
    asked, told = [], []
    telling = asyncio.create_task(tell_running(lambda: bool(asked.append(1)), lambda: told.append(1)))
    await until(lambda: len(asked) > 2)
    telling.cancel()
    assert not told


async def test_what_the_nucleus_will_not_take_ends_it() -> None:
    def refuse() -> None:
        raise LinesideError("no")

    with pytest.raises(LinesideError, match="no"):
        await tell_running(lambda: True, refuse)
