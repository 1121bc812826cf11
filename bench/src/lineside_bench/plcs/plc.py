"""The simulated PLC: an OPC UA server with inspection stations and a spindle, on any of four stacks.

Loopback without encryption or passwords: good for a bench, not for a plant. Clients may write the verdict nodes of each
station and nothing else. A callback in the server's address space sees each write of Done; nothing is polled.
"""

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lineside.contract import utc_now
from lineside_bench.parts.spindle import NODES, RATE, SpindleSimulator
from lineside_bench.plcs import station
from lineside_bench.plcs.asyncua_plc import AsyncuaPlc
from lineside_bench.plcs.control import PlcProcess
from lineside_bench.plcs.environment import Stack
from lineside_bench.plcs.program import PlcConfig
from lineside_bench.plcs.station import NAMESPACE, SimulatedStation
from lineside_bench.processes.ports import HOST

LONGEST_STALL_S = 1.5
"""Longest stall that is made up for; the spindle stands still in the rest. A reader's queue holds two seconds."""
Tag = tuple[str, Any]
"""An OPC UA type and a first value."""


class _Plc(ABC):
    """A PLC with stations, and with a spindle where it has a seed; serves while it is entered.

    `gap_ms` is the time between a part's id and its trigger. `beside` are further tags of each station by their short
    names ({"Recipe": ("String", "")}), which :meth:`Station.judge` writes with the id.
    """

    def __init__(
        self,
        *,
        stations: int = 1,
        seed: int | None = None,
        gap_ms: float = 0.0,
        handshake: bool = False,
        beside: Mapping[str, Tag] | None = None,
    ) -> None:
        numbers = range(1, stations + 1)
        self.stations = [SimulatedStation(number, self, gap_ms=gap_ms, handshake=handshake) for number in numbers]
        self._by_tag = {f"{each.prefix}.Done": each for each in self.stations}
        self._spindle = None if seed is None else SpindleSimulator(seed)
        self._spindle_task: asyncio.Task[None] | None = None
        every = {**station.TAGS, **(beside or {})}
        prefixes = [each.prefix for each in self.stations]
        self._tags = {f"{prefix}.{tag}": made for prefix in prefixes for tag, made in every.items()}
        if self._spindle:
            self._tags |= {node: ("Double", value) for node, value in zip(NODES, self._spindle.step(), strict=True)}
        self._writable = [f"{prefix}.{tag}" for prefix in prefixes for tag in station.WRITABLE]
        self._watched = {f"{prefix}.Done": [f"{prefix}.{tag}" for tag in station.BESIDE] for prefix in prefixes}

    @abstractmethod
    async def write(self, *steps: tuple[str, Any] | float) -> datetime:
        """Write tags in this order; a number between them is a wait in milliseconds. Return the time of the last."""

    @abstractmethod
    async def _open(self) -> None: ...

    @abstractmethod
    async def _close(self) -> None: ...

    async def __aenter__(self) -> Self:
        await self._open()
        if self._spindle:
            self._spindle_task = asyncio.create_task(self._run_spindle(self._spindle), name="spindle")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._spindle_task:
            self._spindle_task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._spindle_task
        await self._close()

    def _written(self, tag: str, value: Any, at: datetime, beside: Mapping[str, Any]) -> None:
        if each := self._by_tag.get(tag):
            short = {name.removeprefix(f"{each.prefix}."): held for name, held in beside.items()}
            each.written(value, at, short)

    async def _run_spindle(self, spindle: SpindleSimulator) -> None:
        """Write the spindle's tags ten times a second.

        Where this process stalls, the samples that were missed are written at once, with the times at which they were
        due, and without a pause in which a reader could take some of them for all.
        """
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due = max(due + 1 / RATE, loop.time() - LONGEST_STALL_S)
            if (ahead := due - loop.time()) > 0:
                await asyncio.sleep(ahead)
            await self._write_spindle(
                dict(zip(NODES, spindle.step(), strict=True)), utc_now() - timedelta(seconds=loop.time() - due)
            )

    @abstractmethod
    async def _write_spindle(self, values: Mapping[str, float], at: datetime) -> None:
        """Write the spindle's values of an instant."""


class Plc(_Plc):
    """The PLC on asyncua, in this process.

    It names itself to each client by the address that the client has used, whatever `host` it listens on.
    """

    def __init__(self, *, port: int, host: str = HOST, **made: Any) -> None:
        super().__init__(**made)
        self.url = f"opc.tcp://{host}:{port}"
        self._nodes = AsyncuaPlc()
        self._address = host, port

    async def write(self, *steps: tuple[str, Any] | float) -> datetime:
        """Write tags in this order; a number between them is a wait in milliseconds. Return the time of the last."""
        at = utc_now()
        for step in steps:
            if isinstance(step, int | float):
                await asyncio.sleep(step / 1000)
            else:
                at = utc_now()
                await self._nodes.write(*step, at=at)
        return at

    async def _open(self) -> None:
        host, port = self._address

        def written(tag: str, value: Any, beside: Mapping[str, Any]) -> None:
            self._written(tag, value, utc_now(), beside)

        await self._nodes.open(PlcConfig(port, host, NAMESPACE, self._tags, self._writable, self._watched), written)

    async def _close(self) -> None:
        await self._nodes.close()

    async def _write_spindle(self, values: Mapping[str, float], at: datetime) -> None:
        for node, value in values.items():
            await self._nodes.write(node, value, at=at)


class StackPlc(_Plc):
    """The PLC on a stack, in a process of its own; see :mod:`lineside_bench.plcs`.

    `root` is the checkout, `port` 0 one that is free; what the stack prints goes into `log`; `note` hears of what is
    installed for it. Entering raises BenchError where it does not start.
    """

    def __init__(
        self,
        stack: Stack,
        *,
        root: Path,
        port: int = 0,
        log: Path | None = None,
        note: Callable[[str], object] = lambda _text: None,
        **made: Any,
    ) -> None:
        super().__init__(**made)
        self.program = PlcProcess(
            stack,
            PlcConfig(port, HOST, NAMESPACE, self._tags, self._writable, self._watched),
            root=root,
            log=log,
            note=note,
        )
        self.url = self.program.url

    async def write(self, *steps: tuple[str, Any] | float) -> datetime:
        """Write tags in this order; a number between them is a wait in milliseconds. Return the time of the last."""
        return await self.program.write(*steps)

    async def _open(self) -> None:
        self.program.listen(lambda told: self._written(told.tag, told.value, told.at, told.beside))
        await self.program.__aenter__()

    async def _close(self) -> None:
        await self.program.__aexit__(None, None, None)

    async def _write_spindle(self, values: Mapping[str, float], at: datetime) -> None:  # noqa: ARG002 - the stack stamps it
        await self.program.write(*values.items())
