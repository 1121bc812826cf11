"""A body on its way: read free to be signed, paid for in pieces to be sent, ended when nobody waits."""

import asyncio
import io
import threading
from typing import Any

import pytest

from lineside_forwarder.s3_sending import PIECE, Abandoned, Body, Meter, run_metered
from tests.support.waiting import HANG_S


class Limiter:
    def __init__(self) -> None:
        self.spent: list[int] = []

    async def spend(self, amount: int) -> None:
        self.spent.append(amount)


def read_all(body: Body, block: int) -> bytes:
    return b"".join(iter(lambda: body.read(block), b""))


async def test_reading_is_free_until_it_is_sent() -> None:
    data = bytes(range(256)) * 1000
    limiter = Limiter()

    def work(meter: Meter) -> None:
        body = Body(io.BytesIO(data), 100, 200_000, meter)
        assert len(body) == 200_000
        assert read_all(body, 1024 * 1024) == data[100:200_100]
        assert limiter.spent == []
        body.seek(0)
        body.begin_sending()
        assert read_all(body, 16 * 1024) == data[100:200_100]

    await run_metered(work, limiter, "test")
    assert limiter.spent == [PIECE, PIECE, PIECE, 200_000 - 3 * PIECE]


async def test_what_is_sent_again_is_signed_free_and_paid_again() -> None:
    limiter = Limiter()

    def work(meter: Meter) -> None:
        body = Body(io.BytesIO(b"x" * 1000), 0, 1000, meter)
        body.begin_sending()
        body.read()
        body.seek(0)
        body.read()
        assert limiter.spent == [1000]
        body.seek(0)
        body.begin_sending()
        body.read()

    await run_metered(work, limiter, "test")
    assert limiter.spent == [1000, 1000]


async def test_a_file_that_ends_too_early_is_an_error() -> None:
    def work(meter: Meter) -> None:
        Body(io.BytesIO(b"short"), 0, 10, meter).read()

    with pytest.raises(OSError, match="ends 5 bytes before it should"):
        await run_metered(work, Limiter(), "test")


def test_places_in_the_window() -> None:
    body = Body(io.BytesIO(b"0123456789"), 2, 5, Any)  # type: ignore[arg-type]
    assert (body.seek(0, io.SEEK_END), body.tell()) == (5, 5)
    assert body.read() == b""
    assert body.seek(-2, io.SEEK_CUR) == 3
    assert body.read(100) == b"56"


async def test_a_cancellation_does_not_wait_for_the_thread_and_ends_it() -> None:
    reached, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def work(meter: Meter) -> None:
        reached.set()
        go_on.wait(HANG_S)
        try:
            meter.spend(1)
        except Abandoned:
            ended.set()
            raise

    limiter = Limiter()
    task = asyncio.create_task(run_metered(work, limiter, "test"))
    assert await asyncio.to_thread(reached.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()
    assert await asyncio.to_thread(ended.wait, 10)
    assert limiter.spent == []
