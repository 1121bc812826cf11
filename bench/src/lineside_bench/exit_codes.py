"""The exit statuses of the commands, and the one place where a BenchError is printed.

0    as it should be; for `up`, ended by Ctrl-C or SIGTERM
1    a part without verdict, judged twice, with a wrong write-back, or not shown by its camera; evidence that is lost
2    the line could not start, or could not be reached
130  `bench` ended by Ctrl-C; 143 by SIGTERM
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from rich.console import Console
from rich.text import Text

from lineside_bench.errors import BenchError

FAULTS = 1
CANNOT_START = 2
INTERRUPTED = 128


def guarded(command: Callable[[Console], Coroutine[Any, Any, int]]) -> int:
    """Run a command to its exit status."""
    try:
        return asyncio.run(command(Console(highlight=False)))
    except BenchError as error:
        Console(stderr=True).print(Text(str(error), style="red"), soft_wrap=True)
        return CANNOT_START


def status(*, signal: int, faults: bool) -> int:
    """Return the exit status of a run: `signal` is what ended it, 0 for its own end."""
    if signal:
        return INTERRUPTED + signal
    return FAULTS if faults else 0
