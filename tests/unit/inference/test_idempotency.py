import asyncio
from collections.abc import Callable, Coroutine

import pytest

from lineside.contract import InlineSource, Request
from lineside_inference.errors import IdReused
from lineside_inference.usecases.idempotency import AnswerCache, fingerprint


async def answer(
    kept: AnswerCache, asked: Request, run: Callable[[], Coroutine[None, None, bytes]]
) -> tuple[bytes, bool]:
    return await kept.answer(asked, fingerprint(asked), run)


def request(request_id: str = "r1", *, data: bytes = b"x", model: str = "m", **fields: object) -> Request:
    source = InlineSource(content_type="image/png", data=data)
    return Request.new(id=request_id, model=model, source=source, **fields)


class Run:
    """Counts its runs; waits for `gate` where there is one."""

    def __init__(self, answer: bytes = b"answer", gate: asyncio.Event | None = None) -> None:
        self.count = 0
        self.started = asyncio.Event()
        self._answer = answer
        self._gate = gate

    async def __call__(self) -> bytes:
        self.count += 1
        self.started.set()
        if self._gate is not None:
            await self._gate.wait()
        return self._answer


def repeats(max_count: int = 4, max_bytes: int = 1_000_000) -> AnswerCache:
    return AnswerCache(max_count=max_count, max_bytes=max_bytes)


async def test_asked_again_is_answered_again_without_a_run() -> None:
    kept, run = repeats(), Run()
    assert await answer(kept, request(), run) == (b"answer", False)
    assert await answer(kept, request(), run) == (b"answer", True)
    assert run.count == 1


async def test_asked_while_the_first_runs() -> None:
    gate = asyncio.Event()
    kept, run = repeats(), Run(gate=gate)
    first = asyncio.create_task(answer(kept, request(), run))
    await run.started.wait()
    second = asyncio.create_task(answer(kept, request(), run))
    await asyncio.sleep(0)
    gate.set()
    assert await first == (b"answer", False)
    assert await second == (b"answer", True)
    assert run.count == 1


async def test_the_run_goes_on_when_who_asked_goes_away() -> None:
    gate = asyncio.Event()
    kept, run = repeats(), Run(gate=gate)
    first = asyncio.create_task(answer(kept, request(), run))
    await run.started.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    gate.set()
    assert await answer(kept, request(), run) == (b"answer", True)
    assert run.count == 1


async def test_the_same_id_with_other_content_is_refused_running_or_kept() -> None:
    gate = asyncio.Event()
    kept, run = repeats(), Run(gate=gate)
    first = asyncio.create_task(answer(kept, request(), run))
    await run.started.wait()
    with pytest.raises(IdReused, match="r1"):
        await answer(kept, request(data=b"other"), run)
    gate.set()
    await first
    with pytest.raises(IdReused, match="id of its own"):
        await answer(kept, request(model="n"), run)
    assert run.count == 1


async def test_the_oldest_is_forgotten_above_the_number() -> None:
    kept, run = repeats(max_count=2), Run()
    for name in ("a", "b", "a", "c"):
        await answer(kept, request(name), run)
    assert len(kept) == 2
    assert (await answer(kept, request("a"), run))[1]
    assert not (await answer(kept, request("b"), run))[1]


async def test_the_oldest_is_forgotten_above_the_bytes() -> None:
    kept, run = repeats(max_count=1000, max_bytes=3000), Run(b"x" * 1000)
    for number in range(10):
        await answer(kept, request(f"r{number}"), run)
    assert len(kept) == 2


async def test_a_run_that_failed_is_not_kept() -> None:
    kept, run = repeats(), Run()

    async def broken() -> bytes:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError):
        await answer(kept, request(), broken)
    assert await answer(kept, request(), run) == (b"answer", False)


def test_time_and_deadline_are_no_content() -> None:
    assert fingerprint(request()) == fingerprint(request(deadline_ms=5, time={"received": "2026-01-01T00:00:00Z"}))
    assert fingerprint(request()) != fingerprint(request(context={"part_id": "P-1"}))
    assert fingerprint(request()) != fingerprint(request(model_version="1"))


def test_to_have_the_evidence_kept_is_content() -> None:
    assert fingerprint(request()) == fingerprint(request(capture=False))
    assert fingerprint(request()) != fingerprint(request(capture=True))
