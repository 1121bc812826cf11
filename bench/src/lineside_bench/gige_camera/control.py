"""The control channel: who may read and write, and the answer to each command. Told the time, it sends nothing."""

import ipaddress
import struct
from collections.abc import Callable, Iterable

from lineside_bench.gige_camera import gvcp
from lineside_bench.gige_camera.gvcp import Command, Refused, Request, Status
from lineside_bench.gige_camera.registers import DISCOVERED, Bootstrap, Memory

Peer = tuple[str, int]
_EXCLUSIVE, _CONTROL = 0x1, 0x2
_LEAST_HEARTBEAT_MS = 500
_WORD = 4


class Control:
    """One application has control, until it gives it back or is not heard of for the heartbeat's timeout.

    `check` judges a register's new value and raises Refused; `written` hears of each register after it was written.
    """

    def __init__(self, memory: Memory, *, check: Callable[[int, bytes], None], written: Callable[[int], None]) -> None:
        self.controller: Peer | None = None
        self.memory = memory
        self._check = check
        self._written = written
        self._heard = float("-inf")

    def answer(self, request: Request, peer: Peer, now: float) -> bytes | None:
        """Return the acknowledgement of a command, None where none is wanted; `now` in seconds of any clock."""
        if peer == self.controller:
            self._heard = now
        try:
            payload = self._done(request, peer, now)
        except Refused as refused:
            index = struct.pack(">HH", 0, refused.index) if request.command == Command.WRITEREG else b""
            return gvcp.ack(request, index, refused.status) if request.wants_ack else None
        return gvcp.ack(request, payload) if request.wants_ack and payload is not None else None

    def expire(self, now: float) -> bool:
        """Take control from an application that was not heard of for too long; return whether that was so."""
        timeout_ms = max(_LEAST_HEARTBEAT_MS, self.memory.word(Bootstrap.HEARTBEAT_TIMEOUT))
        if self.controller is None or now - self._heard <= timeout_ms / 1000:
            return False
        self.give_to(None)
        return True

    def give_to(self, peer: Peer | None, *, now: float = float("inf"), privilege: int = _CONTROL) -> None:
        """Give control to an application, or to none; without `now` its heartbeat never ends."""
        self.controller, self._heard = peer, now
        host, port = peer or ("0.0.0.0", 0)  # noqa: S104 - the address that says nobody
        self.memory.put_word(Bootstrap.CONTROL_PRIVILEGE, privilege if peer else 0)
        self.memory.put_word(Bootstrap.CONTROLLER_ADDRESS, int(ipaddress.IPv4Address(host)))
        self.memory.put_word(Bootstrap.CONTROLLER_PORT, port)
        self._written(Bootstrap.CONTROL_PRIVILEGE)

    def _done(self, request: Request, peer: Peer, now: float) -> bytes | None:
        payload = request.payload
        if request.command == Command.DISCOVERY:
            return self.memory.read(0, DISCOVERED)
        if request.command == Command.READREG:
            asked = gvcp.addresses(payload)
            return b"".join(self._read(address, _WORD, peer) for address in asked)
        if request.command == Command.READMEM:
            address, count = gvcp.memory_read(payload)
            return payload[:_WORD] + self._read(address, count, peer)
        if request.command == Command.WRITEREG:
            writes = gvcp.register_writes(payload)
            self._write_all(((address, value.to_bytes(_WORD, "big")) for address, value in writes), peer, now)
            return struct.pack(">HH", 0, len(writes))
        if request.command == Command.WRITEMEM:
            address, data = gvcp.memory_write(payload)
            self._write_all([(address, data)], peer, now)
            return struct.pack(">HH", 0, len(data))
        raise Refused(Status.NOT_IMPLEMENTED)

    def _read(self, address: int, count: int, peer: Peer) -> bytes:
        is_shut = self.memory.word(Bootstrap.CONTROL_PRIVILEGE) & _EXCLUSIVE and peer != self.controller
        if is_shut and address != Bootstrap.CONTROL_PRIVILEGE:
            raise Refused(Status.ACCESS_DENIED)
        return self.memory.read(address, count)

    def _write_all(self, writes: Iterable[tuple[int, bytes]], peer: Peer, now: float) -> None:
        for index, (address, data) in enumerate(writes):
            try:
                self._write(address, data, peer, now)
            except Refused as refused:
                raise Refused(refused.status, index) from None

    def _write(self, address: int, data: bytes, peer: Peer, now: float) -> None:
        if address == Bootstrap.CONTROL_PRIVILEGE and len(data) == _WORD:
            self._ask_control(int.from_bytes(data, "big"), peer, now)
            return
        if peer != self.controller:
            raise Refused(Status.ACCESS_DENIED)
        self._check(address, data)
        self.memory.write(address, data)
        for word in range(address, address + len(data), _WORD):
            self._written(word)

    def _ask_control(self, wanted: int, peer: Peer, now: float) -> None:
        if self.controller not in {None, peer}:
            raise Refused(Status.ACCESS_DENIED)
        privilege = wanted & (_EXCLUSIVE | _CONTROL)
        self.give_to(peer if privilege else None, now=now, privilege=privilege)
