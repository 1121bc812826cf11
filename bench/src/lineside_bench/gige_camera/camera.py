"""The simulated camera on its sockets: one thread, from `start` to `stop`.

    with GigeCamera(lambda number, trigger: picture, address="127.0.0.2", serial="S1") as camera:
        camera.fire_line()

It answers at UDP port 3956 of its address, and to searches in the whole network. Control, sensor, stream and memory are
without sockets beside it; this is where they meet.
"""

import heapq
import itertools
import queue
import selectors
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np

from lineside_bench.errors import BenchError
from lineside_bench.gige_camera import description, factory, gvcp, gvsp, pixels, values
from lineside_bench.gige_camera.clock import NANOSECONDS, DeviceClock
from lineside_bench.gige_camera.control import Control, Peer
from lineside_bench.gige_camera.description import CHUNKS, MODES, PTP_STATES, SOURCES
from lineside_bench.gige_camera.faults import Faults
from lineside_bench.gige_camera.gvcp import Command
from lineside_bench.gige_camera.registers import USER_ID_LENGTH, Bootstrap, Memory, Register
from lineside_bench.gige_camera.sensor import Exposure, Sensor, Source, Trigger
from lineside_bench.gige_camera.stream import Stream

_BROADCAST = "255.255.255.255"
_LOOK_S = 0.05
_ANSWER_S = 10.0
_PACKETS_AT_ONCE = 32
_FIRE_TEST = 0x80000000
_RESET_TICKS, _LATCH_TICKS = 0x1, 0x2
_KEPT = 4096
_TEMPERATURE = 41.5


@dataclass(frozen=True)
class Sent:
    """A frame that was given to the stream: its block id, its exposure, and the ticks that it says."""

    block: int
    exposure: Exposure
    ticks: int


PictureOf = Callable[[int, Trigger], pixels.Picture]
"""Gives the picture of a frame, by its number from 1 and its trigger, at the begin of the exposure."""


class GigeCamera:
    """A camera of one stream channel, running while it is entered, or from `start` to `stop`.

    `width` and `height` are the sensor's. `latency_s` is from a trigger to its exposure. `clock` is the camera's own;
    where its ticks are no nanoseconds the newer features of timestamps are missing, as they are in such cameras.
    `xml` replaces the description. `sent` and `faults` may be read and changed from any thread.
    """

    def __init__(
        self,
        picture: PictureOf,
        *,
        address: str = "127.0.0.1",
        serial: str = "SIM-1",
        user_id: str = "",
        width: int = 640,
        height: int = 480,
        pixel_format: str = "Mono8",
        packet_size: int = 1400,
        latency_s: float = 0.0,
        clock: DeviceClock | None = None,
        faults: Faults | None = None,
        xml: bytes | None = None,
        zipped: bool = False,
        block: int = 0,
        seed: int = 0,
    ) -> None:
        self.address = address
        self.serial = serial
        self.faults = faults or Faults()
        self.clock = clock or DeviceClock()
        self.sensor = Sensor(latency_s=latency_s)
        self.stream = Stream(self.faults, seed=seed)
        self.sent: deque[Sent] = deque(maxlen=_KEPT)
        """The newest frames that were given to the stream."""
        self.acks = 0
        self.lost_heartbeats = 0
        self.temperature = _TEMPERATURE
        self.picture = picture
        self._user_id = user_id
        self._size = width, height
        self._first_format = pixel_format
        self._packet_size = packet_size
        self._block = block
        own = description.xml(ticks_are_ns=self.clock.ticks_a_second == NANOSECONDS) if xml is None else xml
        self._description = description.zipped(own) if zipped else own
        self._is_zipped = zipped
        self._memory = Memory(self._description)
        self._control = Control(self._memory, check=self._check, written=self._written)
        self._acquires = False
        self._left: int | None = None
        self._dead_until = float("-inf")
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._asked: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._is_pacing = False
        self._sockets: list[socket.socket] = []
        self._thread: threading.Thread | None = None
        self._stopping = False

    # From any thread

    def start(self) -> None:
        """Bind its port and answer; raises BenchError where the port is taken."""
        self._stopping = False
        try:
            self._gvcp = self._bound(self.address)
            self._searches = self._bound(_BROADCAST)
        except OSError as error:
            self._close()
            raise BenchError(
                f"a simulated camera cannot have UDP port {gvcp.PORT} of {self.address}: {error.strerror}",
                remedy="End what has it (`ss -ulnp` shows it), or give the camera another address of this machine",
            ) from None
        self._gvsp = self._socket()
        self._gvsp.bind((self.address, 0))
        self._wake, self._woken = socket.socketpair()
        self._woken.settimeout(0)
        self._sockets += [self._wake, self._woken]
        self._boot()
        self._thread = threading.Thread(target=self._run, name=f"camera {self.serial}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it: its port answers nothing any more."""
        if self._thread is not None:
            self._stopping = True
            self._wake.send(b"\0")
            self._thread.join()
            self._thread = None
        self._close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def fire_line(self, tag: Any = None, *, at: float | None = None) -> float:
        """Raise the line of the hardware trigger, Line1; return when that was, of time.monotonic().

        `tag` comes to the picture's callable with the trigger. `at` in the future is when it rises.
        """
        now = time.monotonic() if at is None else at
        self._ask(lambda: self._later(now, lambda: self._trigger(Trigger(Source.line, now, tag))))
        return now

    def reboot(self, silent_s: float, *, xml: bytes | None = None) -> None:
        """Lose everything but the user-defined name, and answer nothing for so many seconds.

        `xml` is its description from then on; None leaves it.
        """

        def boot() -> None:
            if xml is not None:
                self._description, self._is_zipped = xml, False
            self._dead_until = time.monotonic() + silent_s
            self._boot()

        self._ask_and_wait(boot)

    def take_control(self, peer: Peer = ("192.0.2.99", 49_152)) -> None:
        """Give control to another application, whose heartbeat never ends: what had it is refused from now on."""
        self._ask_and_wait(lambda: self._control.give_to(peer))

    def release_control(self) -> None:
        """Take control from whoever has it: the camera is free."""
        self._ask_and_wait(lambda: self._control.give_to(None))

    def set_block(self, block: int) -> None:
        """Let the next frame have the id that follows this one, up to 65535."""
        self._ask_and_wait(lambda: setattr(self, "_block", block))

    @property
    def controller(self) -> Peer | None:
        """Return who has control."""
        return self._control.controller

    @property
    def acquires(self) -> bool:
        """Return whether an acquisition was started."""
        return self._acquires

    # The camera's thread

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            for each in (self._gvcp, self._searches, self._woken):
                selector.register(each, selectors.EVENT_READ)
            while not self._stopping:
                for key, _events in selector.select(self._wait_s()):
                    self._read(key.fileobj)
                self._work()

    def _wait_s(self) -> float:
        if not self._due:
            return _LOOK_S
        return min(_LOOK_S, max(0.0, self._due[0][0] - time.monotonic()))

    def _work(self) -> None:
        with suppress(queue.Empty):
            while True:
                self._asked.get_nowait()()
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            heapq.heappop(self._due)[2]()
        if self._control.expire(now):
            self.lost_heartbeats += 1

    def _read(self, source: Any) -> None:
        if source is self._woken:
            with suppress(BlockingIOError):
                while self._woken.recv(4096):
                    pass
            return
        with suppress(BlockingIOError):
            while True:
                datagram, peer = source.recvfrom(2048)
                request = gvcp.parse(datagram)
                if request is not None and not self._is_dead():
                    self._take(request, peer, is_search=source is self._searches)

    def _take(self, request: gvcp.Request, peer: Peer, *, is_search: bool) -> None:
        if request.command == Command.PACKETRESEND:
            self._resend(request)
            return
        if request.command == Command.ACTION:
            self._act(request, peer)
            return
        if request.command == Command.FORCEIP:
            self._force(request, peer)
            return
        if is_search and request.command != Command.DISCOVERY:
            return
        self._refresh()
        self._answer(request, self._control.answer(request, peer, time.monotonic()), peer)

    def _answer(self, request: gvcp.Request, answer: bytes | None, peer: Peer) -> None:
        if answer is None:
            return
        delay_s = self.faults.ack_delay_s if request.command != Command.DISCOVERY else 0.0
        if delay_s <= 0:
            self._send_ack(answer, peer)
            return
        if self.faults.says_pending:
            self._send_ack(gvcp.pending(request, round(delay_s * 1000) + 100), peer)
        self._later(time.monotonic() + delay_s, lambda: self._send_ack(answer, peer))

    def _send_ack(self, answer: bytes, peer: Peer) -> None:
        if not self._is_dead():
            self.acks += 1
            with suppress(OSError):
                self._gvcp.sendto(answer, peer)

    def _is_dead(self) -> bool:
        return self.faults.is_silent or time.monotonic() < self._dead_until

    def _later(self, when: float, do: Callable[[], None]) -> None:
        heapq.heappush(self._due, (when, next(self._order), do))

    def _ask(self, do: Callable[[], object]) -> None:
        self._asked.put(do)
        with suppress(OSError):
            self._wake.send(b"\0")

    def _ask_and_wait(self, do: Callable[[], None]) -> None:
        """Have something done by the camera's thread, and return once it is; in that thread itself later."""
        done = threading.Event()

        def do_and_say() -> None:
            do()
            done.set()

        self._ask(do_and_say)
        if threading.current_thread() is not self._thread:
            done.wait(_ANSWER_S)

    # What commands do

    def _resend(self, request: gvcp.Request) -> None:
        wanted = gvcp.resend(request)
        if wanted is not None:
            for packet in self.stream.again(wanted):
                self._send_packet(packet)

    def _act(self, request: gvcp.Request, peer: Peer) -> None:
        action = gvcp.action(request)
        memory = self._memory
        is_meant = (
            action is not None
            and self._control.controller is not None
            and action.device_key == memory.word(Bootstrap.ACTION_DEVICE_KEY)
            and action.group_key == memory.word(Bootstrap.ACTION_GROUP_KEY)
            and bool(action.group_mask & memory.word(Bootstrap.ACTION_GROUP_MASK))
        )
        if action is None or not is_meant:
            return
        now = time.monotonic()
        at = now if action.at is None else max(now, self.clock.instant(action.at))
        self._later(at, lambda: self._trigger(Trigger(Source.action, at)))
        self._answer(request, gvcp.ack(request, bytes(4)) if request.wants_ack else None, peer)

    def _force(self, request: gvcp.Request, peer: Peer) -> None:
        """Say yes and stay where it is: a simulated camera's address is one of this machine."""
        forced = gvcp.forced_address(request.payload)
        if forced is not None and forced[0] == self._memory.read(Bootstrap.MAC_HIGH + 2, 6):
            self._memory.put(Bootstrap.PERSISTENT_ADDRESS, forced[1])
            self._answer(request, gvcp.ack(request) if request.wants_ack else None, peer)

    def _check(self, address: int, data: bytes) -> None:
        values.check(self._memory, address, data, is_running=self._acquires)

    def _written(self, address: int) -> None:
        """Do what writing a register means."""
        memory = self._memory
        doing: dict[int, Callable[[], None]] = {
            Register.ACQUISITION_START: self._start_acquiring,
            Register.ACQUISITION_STOP: self._stop_acquiring,
            Register.TRIGGER_SOFTWARE: lambda: self._trigger(Trigger(Source.software, time.monotonic())),
            Register.PTP_ENABLE: self._keep_time,
            Register.DEVICE_RESET: lambda: self.reboot(0.5),
            Bootstrap.TIMESTAMP_CONTROL: lambda: self._latch(memory.word(Bootstrap.TIMESTAMP_CONTROL)),
            Bootstrap.STREAM_PACKET_SIZE: self._probe,
            Bootstrap.CONTROL_PRIVILEGE: self._control_changed,
        }
        if address in doing:
            doing[address]()
        if Register.WIDTH <= address < Register.END:
            memory.put_word(Register.PAYLOAD_SIZE, values.payload_size(self._memory))

    def _control_changed(self) -> None:
        if self._control.controller is None:
            self._stop_acquiring()
            self._memory.put_word(Bootstrap.STREAM_PORT, 0)

    def _latch(self, what: int) -> None:
        now = time.monotonic()
        if what & _RESET_TICKS:
            self.clock.offset, self.clock.origin = 0, now
        if what & _LATCH_TICKS:
            self._memory.put(Bootstrap.TIMESTAMP, self.clock.ticks(now).to_bytes(8, "big"))

    def _keep_time(self) -> None:
        is_kept = bool(self._memory.word(Register.PTP_ENABLE))
        if is_kept:
            self.clock.follow_host()
        self._memory.put_word(Register.PTP_STATUS, PTP_STATES["Slave" if is_kept else "Disabled"])

    def _probe(self) -> None:
        value = self._memory.word(Bootstrap.STREAM_PACKET_SIZE)
        if value & _FIRE_TEST:
            self._memory.put_word(Bootstrap.STREAM_PACKET_SIZE, value & ~_FIRE_TEST)
            self._send_packet(gvsp.probe(value & 0xFFFF))

    def _refresh(self) -> None:
        self._memory.put_double(Register.TEMPERATURE, self.temperature)

    # Frames

    def _start_acquiring(self) -> None:
        mode = self._memory.word(Register.ACQUISITION_MODE)
        frames = {MODES["SingleFrame"]: 1, MODES["MultiFrame"]: self._memory.word(Register.FRAME_COUNT)}
        self._acquires, self._left = True, frames.get(mode)
        self.sensor.start()
        if not self._memory.word(Register.TRIGGER_MODE):
            self._free(time.monotonic(), object())

    def _stop_acquiring(self) -> None:
        self._acquires = False
        self._run_of_frames: object | None = None

    def _free(self, at: float, run: object, *, is_next: bool = False) -> None:
        """Take a frame of those that come by themselves, and see to the next one."""
        if not is_next:
            self._run_of_frames = run
        if self._run_of_frames is not run or not self._acquires:
            return
        if not self._memory.word(Register.TRIGGER_MODE):
            self._expose(Trigger(Source.free, at))
        period = max(1 / self._memory.double(Register.FRAME_RATE), self._exposure_us / 1e6)
        after = max(at + period, time.monotonic())
        self._later(after, lambda: self._free(after, run, is_next=True))

    def _trigger(self, trigger: Trigger) -> None:
        is_on = self._memory.word(Register.TRIGGER_MODE) == 1
        is_meant = SOURCES[trigger.source] == self._memory.word(Register.TRIGGER_SOURCE)
        if not (self._acquires and is_on and is_meant) or self._is_dead():
            self.sensor.ignored += 1
            return
        self._expose(trigger)

    @property
    def _exposure_us(self) -> float:
        return self._memory.double(Register.EXPOSURE_TIME)

    def _expose(self, trigger: Trigger) -> None:
        if self._left == 0:
            return
        delay_us = self._memory.double(Register.TRIGGER_DELAY)
        exposure = self.sensor.take(trigger, exposure_us=self._exposure_us, delay_us=delay_us)
        if exposure is None:
            return
        if self._left is not None:
            self._left -= 1
        self._later(exposure.began, lambda: self._look(exposure))

    def _look(self, exposure: Exposure) -> None:
        picture = self.picture(exposure.number, exposure.trigger)
        self._later(exposure.ended, lambda: self._send(exposure, picture))

    def _send(self, exposure: Exposure, picture: pixels.Picture) -> None:
        if not self._acquires:
            return
        memory = self._memory
        width, height, left, top = (
            memory.word(each) for each in (Register.WIDTH, Register.HEIGHT, Register.OFFSET_X, Register.OFFSET_Y)
        )
        made_as = pixels.BY_CODE[memory.word(Register.PIXEL_FORMAT)]
        seen = pixels.placed(np.asarray(picture), offset_x=left, offset_y=top, width=width, height=height)
        image = made_as.encode(seen)
        ticks = self.clock.ticks(exposure.began)
        is_chunked = bool(memory.word(Register.CHUNK_MODE))
        payload = self._with_chunks(image, exposure, ticks) if is_chunked else image
        self._block = gvsp.next_block(self._block)
        said = self.faults.said_size or (width, height)
        code = made_as.code if self.faults.said_pixel_format is None else self.faults.said_pixel_format
        leader = gvsp.Leader(self._block, ticks, code, *said, left, top, is_chunked=is_chunked)
        self.stream.add(leader, payload, memory.word(Bootstrap.STREAM_PACKET_SIZE) & 0xFFFF)
        self.sent.append(Sent(self._block, exposure, ticks))
        if not self._is_pacing:
            self._is_pacing = True
            self._pace(time.monotonic())

    def _pace(self, due: float) -> None:
        """Send what is due, and see to the rest, so that commands are answered in between."""
        delay_s = self._memory.word(Bootstrap.STREAM_PACKET_DELAY) / self.clock.ticks_a_second
        most = _PACKETS_AT_ONCE
        if delay_s:
            most = min(most, 1 + int((time.monotonic() - due) / delay_s))
        for packet in self.stream.take(most):
            if packet is not None:
                self._send_packet(packet)
        self._is_pacing = self.stream.is_sending
        if self._is_pacing:
            after = max(due + most * delay_s, time.monotonic() - _LOOK_S) if delay_s else due
            self._later(after, lambda: self._pace(after))

    def _send_packet(self, packet: bytes) -> None:
        port = self._memory.word(Bootstrap.STREAM_PORT) & 0xFFFF
        if port and not self._is_dead():
            host = socket.inet_ntoa(self._memory.read(Bootstrap.STREAM_ADDRESS, 4))
            with suppress(OSError):  # a full buffer loses a packet, as a switch does
                self._gvsp.sendto(packet, (host, port))

    def _with_chunks(self, image: bytes, exposure: Exposure, ticks: int) -> bytes:
        line = 1 if exposure.trigger.source is Source.line else 0
        said = {
            "Timestamp": ticks.to_bytes(8, "big"),
            "ExposureTime": struct.pack(">d", self._exposure_us),
            "LineStatusAll": line.to_bytes(4, "big"),
            "FrameID": exposure.number.to_bytes(8, "big"),
        }
        chosen = [(CHUNKS[name][1], data) for name, data in said.items() if values.is_enabled(self._memory, name)]
        return gvsp.with_chunks(image, CHUNKS["Image"][1], chosen)

    # Its life

    def _boot(self) -> None:
        """Set every register as it is when power comes, the clock to its offset."""
        is_first = self._memory.word(Bootstrap.VERSION) == 0
        if not is_first:
            self._user_id = (
                self._memory.read(Bootstrap.USER_ID, USER_ID_LENGTH).rstrip(b"\0").decode("utf-8", "replace")
            )
            self._due.clear()
            self.stream.clear()
            self._is_pacing = False
            self._block = 0
            self.clock.origin = time.monotonic()
        self._acquires, self._run_of_frames = False, None
        self._memory = self._control.memory = Memory(self._description)
        factory.fill(
            self._memory,
            factory.Identity(
                address=self.address,
                serial=self.serial,
                user_id=self._user_id,
                url=description.url(self._description, is_zipped=self._is_zipped),
                width=self._size[0],
                height=self._size[1],
                pixel_format=self._first_format,
                packet_size=self._packet_size,
                source_port=self._gvsp.getsockname()[1],
                ticks_a_second=self.clock.ticks_a_second,
            ),
        )
        self._refresh()
        self._control.controller = None

    def _bound(self, address: str) -> socket.socket:
        made = self._socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(address == _BROADCAST))
        made.bind((address, gvcp.PORT))
        return made

    def _socket(self) -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.settimeout(0)
        self._sockets.append(made)
        return made

    def _close(self) -> None:
        for each in self._sockets:
            each.close()
        self._sockets.clear()
