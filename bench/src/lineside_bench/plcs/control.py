"""A PLC program started, told what to do, and listened to; see :mod:`lineside_bench.plcs`."""

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lineside_bench.errors import BenchError
from lineside_bench.plcs.environment import Stack, command, variables
from lineside_bench.plcs.program import PlcConfig
from lineside_bench.processes.ports import HOST

START_S = 60.0
ANSWER_S = 30.0
"""Beside what a write was told to wait."""
STOP_S = 5.0
MAX_BYTES = 1024 * 1024
MAX_WRITES = 1000
LAST_LINES = 20


@dataclass(frozen=True)
class TagWrite:
    """One write of a watched tag, with what stood beside it at that instant."""

    tag: str
    value: Any
    at: datetime
    beside: Mapping[str, Any]


class PlcProcess:
    """A PLC program on a stack, running while it is entered; port 0 is one that is free.

    `writes` are the writes of each watched tag, the newest ones. Entering raises BenchError where it does not start.
    """

    def __init__(
        self,
        stack: Stack,
        config: PlcConfig,
        *,
        root: Path,
        log: Path | None = None,
        note: Callable[[str], object] = lambda _text: None,
    ) -> None:
        self.stack = stack
        self._config = config if config.port else replace(config, port=_free_port())
        self.url = f"opc.tcp://{config.host}:{self._config.port}"
        self.writes: dict[str, deque[TagWrite]] = {tag: deque(maxlen=MAX_WRITES) for tag in config.watched}
        self._root = root
        self._log = log
        self._note = note
        self._listeners: list[Callable[[TagWrite], None]] = []
        self._answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._asking = asyncio.Lock()
        self._heard: deque[str] = deque(maxlen=LAST_LINES)
        self._process: asyncio.subprocess.Process
        self._reading: asyncio.Task[None]

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def listen(self, listener: Callable[[TagWrite], None]) -> None:
        """Call the listener at each write of a watched tag."""
        self._listeners.append(listener)

    async def write(self, *steps: tuple[str, Any] | float) -> datetime:
        """Write tags in this order; a number between them is a wait in milliseconds. Return the time of the last."""
        waits = sum(step for step in steps if isinstance(step, int | float))
        return datetime.fromisoformat(await self._ask({"write": steps}, ANSWER_S + waits / 1000))

    async def read(self, *tags: str) -> dict[str, Any]:
        """Return the tags' values."""
        values: dict[str, Any] = await self._ask({"read": tags}, ANSWER_S)
        return values

    async def __aenter__(self) -> Self:
        argv = await asyncio.to_thread(command, self.stack, self._root, self._note)
        with self._log.open("ab") if self._log else contextlib.nullcontext(asyncio.subprocess.DEVNULL) as log:
            self._process = await asyncio.create_subprocess_exec(
                *argv,
                json.dumps(asdict(self._config)),
                env=variables(self._root),
                cwd=self._root,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                limit=MAX_BYTES,
            )
        self._reading = asyncio.create_task(self._read(), name=f"plc on {self.stack}")
        try:
            await self._answer(START_S)
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stop()

    async def _stop(self) -> None:
        """Close its stdin, which ends it; what does not end is killed."""
        assert self._process.stdin is not None  # noqa: S101 - it was given one
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), STOP_S)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._reading

    async def _ask(self, asked: Mapping[str, Any], within_s: float) -> Any:
        assert self._process.stdin is not None  # noqa: S101 - it was given one
        async with self._asking:
            self._process.stdin.write(json.dumps(asked).encode() + b"\n")
            answer = await self._answer(within_s)
        if "error" in answer:
            raise BenchError(f"the PLC on {self.stack} refused {answer['error']}", remedy="See its tags and types")
        return answer["ok"]

    async def _answer(self, within_s: float) -> dict[str, Any]:
        try:
            answer = await asyncio.wait_for(self._answers.get(), within_s)
        except TimeoutError:
            raise self._failure(f"has not answered for {within_s:g} s") from None
        if "ended" in answer:
            self._answers.put_nowait(answer)  # whoever asks next hears it too
            raise self._failure("has ended")
        return answer

    async def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - it was given one
        async for line in self._process.stdout:
            try:
                message = json.loads(line)
            except ValueError:
                message = None
            if not isinstance(message, dict):
                self._heard.append(line.decode(errors="backslashreplace").rstrip())
            elif "written" in message:
                self._take(message)
            elif message.keys() & {"ok", "error", "ready"}:
                self._answers.put_nowait(message)
        self._answers.put_nowait({"ended": True})

    def _take(self, message: Mapping[str, Any]) -> None:
        at = datetime.fromisoformat(message["at"])
        written = TagWrite(message["written"], message["value"], at, message["beside"])
        self.writes[written.tag].append(written)
        for listener in self._listeners:
            listener(written)

    def _failure(self, what: str) -> BenchError:
        shown = "\n".join(self._heard)
        return BenchError(
            f"the PLC on {self.stack} {what}; it said:\n{shown}\n", remedy=f"See {self._log or 'its log'}"
        )


def _free_port() -> int:
    import socket  # noqa: PLC0415 - of this one use

    with socket.socket() as chosen:
        chosen.bind((HOST, 0))
        port: int = chosen.getsockname()[1]
    return port
