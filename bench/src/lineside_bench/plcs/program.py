"""What the Python programs share: their options, the commands on stdin, the replies on stdout. Standard library only.

It runs in the environment of the stack, where nothing of ours is installed but this folder on the path.
"""

import asyncio
import json
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

MAX_BYTES = 1024 * 1024


@dataclass(frozen=True)
class PlcConfig:
    """A program's options; see :mod:`lineside_bench.plcs`."""

    port: int
    host: str
    namespace: str
    tags: Mapping[str, tuple[str, Any]]
    writable: Sequence[str]
    watched: Mapping[str, Sequence[str]]

    @property
    def folders(self) -> list[str]:
        """The objects that hold the tags."""
        return list(dict.fromkeys(tag.partition(".")[0] for tag in self.tags))


class PlcServer(Protocol):
    """The nodes on one stack."""

    async def open(self, config: PlcConfig, written: Callable[[str, Any, Mapping[str, Any]], None]) -> None:
        """Serve the nodes; call `written` with a watched tag, its value, and those beside it, at each write of it."""
        ...

    async def write(self, tag: str, value: Any) -> None:
        """Write as the PLC does, with the time stamps that the stack gives it."""
        ...

    async def read(self, tag: str) -> Any:
        """Return a tag's value."""
        ...

    async def close(self) -> None:
        """Serve no more."""
        ...


def run(server: PlcServer) -> None:
    """Serve until stdin ends."""
    options = json.loads(sys.argv[1])
    asyncio.run(_serve(server, PlcConfig(**options)))


async def _serve(server: PlcServer, config: PlcConfig) -> None:
    lines = asyncio.StreamReader(limit=MAX_BYTES)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)

    def written(tag: str, value: Any, beside: Mapping[str, Any]) -> None:
        _say({"written": tag, "value": value, "at": _now(), "beside": beside})

    await server.open(config, written)
    try:
        _say({"ready": True})
        while line := await lines.readline():
            try:
                _say({"ok": await _do(server, json.loads(line))})
            except Exception as error:  # noqa: BLE001 - whatever a stack raises is the answer
                _say({"error": f"{line.decode(errors='replace').strip()}: {error!r}"})
    finally:
        await server.close()


async def _do(server: PlcServer, command: Mapping[str, Any]) -> Any:
    if "write" in command:
        for step in command["write"]:
            if isinstance(step, int | float):
                await asyncio.sleep(step / 1000)
            else:
                at = _now()
                await server.write(*step)
        return at
    return {tag: await server.read(tag) for tag in command["read"]}


_saying = threading.Lock()


def _say(message: Mapping[str, Any]) -> None:
    with _saying:  # a stack may tell of a write from a thread of its own
        sys.stdout.write(f"{json.dumps(message)}\n")
        sys.stdout.flush()


def _now() -> str:
    return datetime.now(UTC).isoformat()
