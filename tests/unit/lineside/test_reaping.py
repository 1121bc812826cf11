"""A process that was killed is waited for to the end of its pipes, by real processes."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from lineside.reaping import reap

Process = asyncio.subprocess.Process
HELD = "exec 3<&0; cat <&3 & echo begun; exec sleep 1000"
"""Its child has the same stdout, and ends with its stdin."""


@pytest.mark.parametrize(
    ("awaited", "is_released", "is_at_end"),
    [(partial(reap, within_s=0.05), False, False), (reap, True, True)],
    ids=["not for ever", "to the end"],
)
async def test_a_pipe_is_read_to_its_end(
    awaited: Callable[[Process], Awaitable[object]], *, is_released: bool, is_at_end: bool
) -> None:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec("sh", "-c", HELD, stdin=pipe, stdout=pipe)
    assert process.stdout is not None
    assert process.stdin is not None
    assert await process.stdout.readline() == b"begun\n"
    process.kill()
    if is_released:
        process.stdin.close()
    await awaited(process)
    assert (process.returncode, process.stdout.at_eof()) == (-signal.SIGKILL, is_at_end)
    process.stdin.close()
    await reap(process)
