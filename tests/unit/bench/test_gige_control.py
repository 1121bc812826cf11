"""The simulated GigE camera's control channel, triggers and stream, without a socket."""

import struct

import pytest

from lineside_bench.gige_camera import gvcp, gvsp
from lineside_bench.gige_camera.control import Control
from lineside_bench.gige_camera.faults import Faults, Resending
from lineside_bench.gige_camera.gvcp import Command, Refused, Request, Resend, Status
from lineside_bench.gige_camera.registers import Bootstrap, Memory, Register
from lineside_bench.gige_camera.sensor import Sensor, Source, Trigger
from lineside_bench.gige_camera.stream import Stream

ONE, OTHER = ("127.0.0.1", 1), ("127.0.0.1", 2)


class Rig:
    def __init__(self) -> None:
        self.memory = Memory(b"<xml/>")
        self.memory.put_word(Bootstrap.HEARTBEAT_TIMEOUT, 1000)
        self.heard: list[int] = []
        self.control = Control(self.memory, check=self.check, written=self.heard.append)
        self.now = 0.0

    @staticmethod
    def check(address: int, data: bytes) -> None:
        if address == Register.WIDTH and int.from_bytes(data, "big") > 640:
            raise Refused(Status.INVALID_PARAMETER)

    def write(self, address: int, value: int, peer: tuple[str, int] = ONE) -> int:
        return self.status(Command.WRITEREG, struct.pack(">II", address, value), peer)

    def read(self, address: int, peer: tuple[str, int] = ONE) -> int:
        return self.status(Command.READREG, struct.pack(">I", address), peer)

    def status(self, command: int, payload: bytes, peer: tuple[str, int] = ONE) -> int:
        answer = self.control.answer(Request(command, 1, payload), peer, self.now)
        assert answer is not None
        return int.from_bytes(answer[:2], "big")


def test_one_has_control_and_the_other_is_told_who() -> None:
    rig = Rig()
    assert rig.write(Register.WIDTH, 320) == Status.ACCESS_DENIED
    assert rig.write(Bootstrap.CONTROL_PRIVILEGE, 2) == 0
    assert rig.memory.word(Bootstrap.CONTROLLER_ADDRESS) == 0x7F000001
    assert rig.memory.word(Bootstrap.CONTROLLER_PORT) == 1
    assert rig.write(Bootstrap.CONTROL_PRIVILEGE, 2, OTHER) == Status.ACCESS_DENIED
    assert rig.write(Register.WIDTH, 320, OTHER) == Status.ACCESS_DENIED
    assert rig.read(Register.WIDTH, OTHER) == 0
    assert rig.write(Register.WIDTH, 320) == 0
    assert rig.memory.word(Register.WIDTH) == 320
    assert Register.WIDTH in rig.heard
    assert rig.write(Bootstrap.CONTROL_PRIVILEGE, 0) == 0
    assert rig.control.controller is None


def test_exclusive_control_lets_nobody_else_read() -> None:
    rig = Rig()
    assert rig.write(Bootstrap.CONTROL_PRIVILEGE, 1) == 0
    assert rig.read(Register.WIDTH, OTHER) == Status.ACCESS_DENIED
    assert rig.read(Bootstrap.CONTROL_PRIVILEGE, OTHER) == 0
    assert rig.read(Register.WIDTH) == 0


def test_control_ends_with_the_heartbeat_and_not_before() -> None:
    rig = Rig()
    rig.write(Bootstrap.CONTROL_PRIVILEGE, 2)
    rig.now = 0.9
    assert rig.read(Bootstrap.CONTROL_PRIVILEGE) == 0
    assert not rig.control.expire(1.8)
    rig.now = 1.8
    rig.read(Bootstrap.CONTROL_PRIVILEGE, OTHER)
    assert rig.control.expire(2.0)
    assert rig.control.controller is None
    assert not rig.control.expire(9.0)


def test_what_cannot_be_is_refused_with_its_status() -> None:
    rig = Rig()
    rig.write(Bootstrap.CONTROL_PRIVILEGE, 2)
    assert rig.write(Register.WIDTH, 1000) == Status.INVALID_PARAMETER
    assert rig.write(Bootstrap.VERSION, 1) == Status.WRITE_PROTECT
    assert rig.write(0xFFFFFFF0, 1) == Status.INVALID_ADDRESS
    assert rig.read(0xFFFFFFF0) == Status.INVALID_ADDRESS
    assert rig.status(0x7777, b"") == Status.NOT_IMPLEMENTED
    two = struct.pack(">IIII", Register.WIDTH, 320, Register.WIDTH, 1000)
    answer = rig.control.answer(Request(Command.WRITEREG, 1, two), ONE, 0.0)
    assert answer is not None
    assert answer[8:].hex() == "00000001", "the first of them was written"
    assert rig.control.answer(Request(Command.READREG, 1, bytes(4), flags=0), ONE, 0.0) is None


def test_a_trigger_during_an_exposure_gives_nothing() -> None:
    sensor = Sensor(latency_s=0.001)
    first = sensor.take(Trigger(Source.line, 1.0), exposure_us=5000)
    assert first is not None
    assert (first.began, first.ended) == (pytest.approx(1.001), pytest.approx(1.006))
    assert sensor.take(Trigger(Source.line, 1.004), exposure_us=5000) is None
    assert sensor.missed == 1
    second = sensor.take(Trigger(Source.line, 1.03), exposure_us=5000, delay_us=2000)
    assert second is not None
    assert (second.number, second.began) == (2, pytest.approx(1.033))


def frame(stream: Stream, block: int = 1) -> list[bytes]:
    leader = gvsp.Leader(block, 0, 0x01080001, 100, 10)
    stream.add(leader, bytes(1000), 136)
    return gvsp.packets(leader, bytes(1000), 136)


def test_packets_are_sent_lost_and_had_again() -> None:
    faults = Faults(lose_these={(1, 3)})
    stream = Stream(faults)
    packets = frame(stream)
    assert list(stream.take(100)) == [*packets[:3], None, *packets[4:]]
    assert not stream.is_sending
    assert list(stream.again(Resend(1, 3, 3))) == [packets[3]]
    faults.resending = Resending.unavailable
    assert list(stream.again(Resend(1, 3, 3))) == [gvsp.unavailable(1, 3, Status.PACKET_UNAVAILABLE)]
    faults.resending = Resending.ignore
    assert list(stream.again(Resend(1, 3, 3))) == []
    assert (stream.lost, stream.resent) == (1, 1)


def test_a_share_of_packets_is_lost_and_none_without() -> None:
    faults = Faults(lose=0.5)
    stream = Stream(faults, seed=3)
    frame(stream)
    assert 0 < sum(each is None for each in stream.take(100)) < 12
    faults.lose = 0.0
    frame(stream, 2)
    assert None not in list(stream.take(100))


def test_a_frame_that_is_cut_ends_in_its_middle_and_is_not_had_again() -> None:
    stream = Stream(Faults(cut_frames=1))
    packets = frame(stream)
    assert list(stream.take(100)) == packets[:6]
    assert list(stream.again(Resend(1, 11, 11))) == [gvsp.unavailable(1, 11, Status.PACKET_UNAVAILABLE)]
    assert list(stream.take(100)) == []
    frame(stream, 2)
    assert len(list(stream.take(100))) == 12


def test_a_discovery_is_answered_with_the_bootstrap_registers() -> None:
    rig = Rig()
    rig.memory.put_text(Bootstrap.SERIAL, "S-9", 16)
    answer = rig.control.answer(Request(Command.DISCOVERY, 3), OTHER, 0.0)
    assert answer is not None
    assert len(answer) == 8 + 0xF8
    assert answer[8 + 0xD8 :].startswith(b"S-9\0")
    assert gvcp.forced_address(bytes(2) + bytes(range(6)) + bytes(12) + bytes([10, 0, 0, 9]) + bytes(32)) == (
        bytes(range(6)),
        bytes([10, 0, 0, 9]),
    )
