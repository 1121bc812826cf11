"""The end of a child process that was killed."""

import asyncio
import contextlib


async def reap(process: asyncio.subprocess.Process, within_s: float = 10.0) -> None:
    """Wait for the end of a process that was killed, and of what it wrote to its pipes.

    Its exit may be seen before its pipes' end: a loop that closes between the two leaves them open. Where somebody else
    holds a pipe, as a child of the process that was not killed, no longer than `within_s` is waited.
    """
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(process.communicate(), within_s)
