"""Tells the nucleus that the component runs, once the service is ready and has stayed so, and not before.

A deployment has succeeded with the last RUNNING: what ends seconds after that is not taken back. The nucleus waits for
it within the startup step's time, and takes back the deployment of a component that does not say it. ERRORED is never
told: the exit status says it, also where nothing could be told any more.

`python -m lineside.greengrass.state RUNNING` tells it for a component that cannot speak to the nucleus itself.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Sequence

import structlog

from lineside.errors import LinesideError
from lineside.greengrass.client import shared
from lineside.greengrass.nucleus import ComponentNucleus
from lineside.threads import run_abandonable

log = structlog.get_logger("lineside.greengrass")

STEADY_S = 5.0
"""For so long it has to be ready without a break."""
AGAIN_S = 60.0
"""After so long without a break it is told again: the nucleus forgets its errors by that, and three of them in an hour
would leave the component BROKEN."""
_PERIOD_S = 0.1


async def tell_running(
    is_ready: Callable[[], bool],
    running: Callable[[], None],
    moments: Sequence[float] = (STEADY_S, AGAIN_S),
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Call `running`, which may block and raise LinesideError, when it `is_ready` for each of the moments (seconds).

    Ready is what /readyz says: started, every required connection online, and so every model loaded and warm. Waits for
    ever afterwards.
    """
    for moment in moments:
        since: float | None = None
        while True:  # many states make it ready, and none of them tells
            since = (clock() if since is None else since) if is_ready() else None
            if since is not None and clock() - since >= moment:
                break
            await asyncio.sleep(_PERIOD_S)
        await run_abandonable(running, "greengrass state")
        log.info("told the nucleus that the component runs", steady_s=moment)
    await asyncio.Event().wait()  # its end would be that of the service


def main(arguments: Sequence[str]) -> int:
    """Tell the nucleus that this component runs; return 0, 1 with the reason where it did not take it, 2 for misuse."""
    if list(arguments) != ["RUNNING"]:
        sys.stderr.write(f"got {' '.join(arguments)!r}, takes RUNNING: errors are told by exit statuses\n")
        return 2
    try:
        nucleus = ComponentNucleus(shared("reporting RUNNING"))
        nucleus.connect()
        nucleus.running()
    except LinesideError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
