"""Closed periods that wait to be sent: oldest first, bounded, as many in one call as fit."""

from collections import deque
from collections.abc import Callable, Iterable

from lineside_exporter.cloudwatch.aggregation import Block


class Outbox:
    """The blocks of the newest `keep_periods` closed periods."""

    def __init__(self, keep_periods: int) -> None:
        self._keep = keep_periods
        self._blocks: deque[Block] = deque()

    @property
    def periods(self) -> int:
        """How many periods wait."""
        return len({block.period for block in self._blocks})

    def __bool__(self) -> bool:
        return bool(self._blocks)

    def put(self, blocks: Iterable[Block]) -> list[Block]:
        """Take a closed period; return what is dropped for it, the oldest."""
        self._blocks.extend(blocks)
        dropped = []
        while self._blocks and self._blocks[0].period <= self._blocks[-1].period - self._keep:
            dropped.append(self._blocks.popleft())
        return dropped

    def first(self, share: Callable[[Block], float]) -> list[Block]:
        """Return the oldest blocks that go in one call, one at least; `share` says how much of a call a block fills."""
        taken: list[Block] = []
        filled = 0.0
        for block in self._blocks:
            filled += share(block)
            if taken and filled > 1:
                break
            taken.append(block)
        return taken

    def remove(self, blocks: Iterable[Block]) -> int:
        """Forget blocks; return how many results they are, without those that were dropped in the meantime."""
        gone = {id(block) for block in blocks}
        results = sum(block.results for block in self._blocks if id(block) in gone)
        self._blocks = deque(block for block in self._blocks if id(block) not in gone)
        return results
