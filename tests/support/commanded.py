"""A program that a test commands over its standard input."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any


async def obey_stdin(obey: Callable[[dict[str, Any]], Awaitable[Any]]) -> None:
    """Say {"ready": true} on stdout, then answer each line of JSON with {"ok": what `obey` returns}, until the end."""
    sys.stdout.write('{"ready": true}\n')
    sys.stdout.flush()
    while line := await asyncio.to_thread(sys.stdin.readline):
        answer = await obey(json.loads(line))
        sys.stdout.write(json.dumps({"ok": answer}) + "\n")
        sys.stdout.flush()
