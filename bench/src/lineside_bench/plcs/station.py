"""What a PLC does at an inspection station, on whatever stack its nodes are.

For each part it clears the verdict, sets PartId and raises PartPresent, `gap_ms` later: 0 is the same millisecond. It
takes the verdict at the instant that Done is written as true, and lowers PartPresent. With the handshake it then waits
until the bridge has lowered Done (`write_back.clear_done: bridge`), and lowers it nowhere itself.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Protocol

from lineside_bench.reporting.records import PartRecord, WriteBack

NAMESPACE = "urn:lineside:bench"
MAX_STRAYS = 100
TAGS: Mapping[str, tuple[str, Any]] = {
    "PartPresent": ("Boolean", False),
    "PartId": ("String", ""),
    "Verdict": ("String", ""),
    "Confidence": ("Double", 0.0),
    "RequestId": ("String", ""),
    "JudgedId": ("String", ""),
    "Done": ("Boolean", False),
}
"""A station's tags: OPC UA type and first value."""
WRITABLE = ("Verdict", "Confidence", "RequestId", "JudgedId", "Done")
BESIDE = ("Verdict", "Confidence", "RequestId", "JudgedId")
"""What is read at the instant of Done."""


class TagWriter(Protocol):
    """The nodes, as their PLC writes them."""

    async def write(self, *steps: tuple[str, Any] | float) -> datetime:
        """Write tags in this order; a number between them is a wait in milliseconds. Return the time of the last."""
        ...


class SimulatedStation:
    """One inspection station; judges one part at a time."""

    def __init__(self, number: int, nodes: TagWriter, *, gap_ms: float = 0.0, handshake: bool = False) -> None:
        self.name = f"station-{number}"
        self.prefix = f"Station{number}"
        self.strays: deque[WriteBack] = deque(maxlen=MAX_STRAYS)
        """Verdicts written before there was any part."""
        self.line: Callable[[str, str], object] | None = None
        """What hears of the trigger's rise, as a camera's hardware trigger does: by the station's name and the part."""
        self._nodes = nodes
        self._gap_ms = gap_ms
        self._handshake = handshake
        self._record: PartRecord | None = None
        self._done = asyncio.Event()
        self._cleared = asyncio.Event()

    async def judge(self, record: PartRecord, *, patience_s: float, beside: Mapping[str, Any] | None = None) -> bool:
        """Present a part and wait for its verdict; return whether one came.

        `record.triggered` becomes the time at which PartPresent was written. `beside` are further tags of the station
        that are written with PartId. Verdicts that come later, until the next part, are appended to the record too.
        """
        await self._clear()
        self._done.clear()
        self._cleared.clear()
        self._record = record
        identity = ({"PartId": record.part_id} | dict(beside or {})).items()
        raised = self._step("PartPresent", value=True)
        gap = (self._gap_ms,) if self._gap_ms else ()
        before = [*(self._step(*item) for item in identity), *gap]
        if self.line is not None:
            await self._nodes.write(*before)
            self.line(self.name, record.part_id)
            before = []
        record.triggered = await self._nodes.write(*before, raised)
        came = await self._within(self._done, patience_s)
        await self._nodes.write(self._step("PartPresent", value=False))
        if came and self._handshake:
            await self._within(self._cleared, patience_s)
        return came

    def written(self, value: Any, at: datetime, beside: Mapping[str, Any]) -> None:
        """Take a write of Done, with the station's other tags at that instant by their short names."""
        if value is not True:
            self._cleared.set()
            return
        taken = WriteBack(at, beside["Verdict"], beside["Confidence"], beside["RequestId"], beside["JudgedId"])
        if self._record is None:
            self.strays.append(taken)
            return
        self._record.write_backs.append(taken)
        self._done.set()

    async def _clear(self) -> None:
        kept = ("Done",) if self._handshake else ()
        await self._nodes.write(*(self._step(tag, TAGS[tag][1]) for tag in WRITABLE if tag not in kept))

    def _step(self, tag: str, value: Any) -> tuple[str, Any]:
        return f"{self.prefix}.{tag}", value

    @staticmethod
    async def _within(event: asyncio.Event, patience_s: float) -> bool:
        try:
            await asyncio.wait_for(event.wait(), patience_s)
        except TimeoutError:
            return False
        return True
