"""What every Python client of the comparison does with a value: count it, and count the gap before it.

Counters of the load go up by one with each change, so `value - last - 1` is what is missing. A line on stdin asks for
the counts, a line of JSON on stdout gives them; the end of stdin ends the client.
"""

import asyncio
import json
import sys
import time
from collections.abc import Hashable


class Gaps:
    """The counters by key; `received` counts the changes after the first value of each."""

    def __init__(self) -> None:
        self.last: dict[Hashable, float] = {}
        self.received = self.gaps = self.repeated = 0

    def see(self, key: Hashable, value: float) -> None:
        last = self.last.get(key)
        self.last[key] = value
        if last is None:
            return
        self.received += 1
        missing = value - last - 1
        if missing:
            if missing > 0:
                self.gaps += int(missing)
            else:
                self.repeated += 1


async def report(gaps: Gaps) -> None:
    """Answer until stdin ends."""
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    print(json.dumps({"ready": True}), flush=True)
    while await lines.readline():
        counts = {
            "received": gaps.received,
            "gaps": gaps.gaps,
            "repeated": gaps.repeated,
            "nodes": len(gaps.last),
            "least": min(gaps.last.values(), default=0),
            "cpu_s": time.process_time(),
        }
        print(json.dumps(counts), flush=True)
