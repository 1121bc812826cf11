"""Tells the nucleus that the component runs, once the service is ready, and not before.

The nucleus waits for it within the startup step's time, and takes back the deployment of a component that does not say
it. ERRORED is never told: the exit status says it, also where nothing could be told any more.
"""

import asyncio
from collections.abc import Callable

import structlog

log = structlog.get_logger("lineside.greengrass")

_PERIOD_S = 0.1


async def tell_running(is_ready: Callable[[], bool], running: Callable[[], None]) -> None:
    """Call `running`, which may block and raise LinesideError, when `is_ready` for the first time; then wait for ever.

    Ready is what /readyz says: started, every required connection online, and so every model loaded and warm.
    """
    while not is_ready():  # noqa: ASYNC110 - many states make it, and none of them tells
        await asyncio.sleep(_PERIOD_S)
    await asyncio.to_thread(running)
    log.info("told the nucleus that the component runs")
    await asyncio.Event().wait()  # its end would be that of the service
