"""The stream's frames as packets: which are sent when, which are lost, and which may be had again. No socket."""

import random
from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass

from lineside_bench.gige_camera import gvsp
from lineside_bench.gige_camera.faults import Faults, Resending
from lineside_bench.gige_camera.gvcp import Resend, Status

_REMEMBERED = 8
"""Frames of which packets may be had again."""


@dataclass
class _Sending:
    block: int
    packets: list[bytes]
    until: int
    """How many of them are sent."""
    next: int = 0


class Stream:
    """What waits to be sent, packet by packet, and what was sent. Losses are by chance, the same for one seed."""

    def __init__(self, faults: Faults, *, seed: int = 0) -> None:
        self.lost = 0
        self.resent = 0
        self._faults = faults
        self._chance = random.Random(seed)
        self._waiting: deque[_Sending] = deque()
        self._sent: OrderedDict[int, list[bytes]] = OrderedDict()

    @property
    def is_sending(self) -> bool:
        """Return whether packets wait."""
        return bool(self._waiting)

    def add(self, leader: gvsp.Leader, payload: bytes, packet_size: int) -> None:
        """Let a frame be sent behind those that wait."""
        packets = gvsp.packets(leader, payload, packet_size)
        if self._faults.cut_frames > 0:
            self._faults.cut_frames -= 1
            self._waiting.append(_Sending(leader.block, packets, len(packets) // 2))
            return
        self._waiting.append(_Sending(leader.block, packets, len(packets)))
        self._sent[leader.block] = packets
        self._sent.move_to_end(leader.block)
        while len(self._sent) > _REMEMBERED:
            self._sent.popitem(last=False)

    def take(self, most: int) -> Iterator[bytes | None]:
        """Yield the next packets that are due, at most so many; None for one that is lost."""
        for _ in range(most):
            if not self._waiting:
                return
            sending = self._waiting[0]
            number, sending.next = sending.next, sending.next + 1
            if sending.next >= sending.until:
                self._waiting.popleft()
            is_lost = (sending.block, number) in self._faults.lose_these or self._is_lost()
            self.lost += is_lost
            yield None if is_lost else sending.packets[number]

    def again(self, wanted: Resend) -> Iterator[bytes]:
        """Yield packets that an application wants again, as the settings of faults let it."""
        if self._faults.resending is Resending.ignore:
            return
        packets = self._sent.get(wanted.block, [])
        last = min(wanted.last, wanted.first + len(packets))
        for number in range(wanted.first, last + 1):
            is_there = self._faults.resending is Resending.answer and number < len(packets)
            if not is_there:
                yield gvsp.unavailable(wanted.block, number, Status.PACKET_UNAVAILABLE)
            elif not self._is_lost():
                self.resent += 1
                yield packets[number]

    def clear(self) -> None:
        """Forget everything."""
        self._waiting.clear()
        self._sent.clear()

    def _is_lost(self) -> bool:
        return self._faults.lose > 0 and self._chance.random() < self._faults.lose
