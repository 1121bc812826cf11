"""One opened camera: control of it, its features, its stream and the frames of it. Everything here blocks."""

import ctypes as c
import re
import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import astuple, dataclass, field

import numpy as np
from numpy.typing import NDArray

from lineside_inference.errors import CameraFailed
from lineside_inference.imaging.pixel_formats.layout import Layout
from lineside_inference.sources import Frame
from lineside_inference.sources.cameras.genicam.advice import Channel
from lineside_inference.sources.cameras.genicam.chunks import ChunkReader
from lineside_inference.sources.cameras.genicam.discovery import open_camera
from lineside_inference.sources.cameras.genicam.features import (
    Access,
    Bounds,
    Feature,
    Kind,
    Value,
    check_taken,
    ordered,
    problem,
    resets,
    unknown,
)
from lineside_inference.sources.cameras.genicam.library import load, text
from lineside_inference.sources.cameras.genicam.pixels import to_image, to_raw

_WHOLE = 0  # ARV_BUFFER_STATUS_SUCCESS
_IMAGES = {0x0001, 0x4001}  # ARV_BUFFER_PAYLOAD_TYPE_IMAGE, and with chunks behind it
_CONTROLLER_ADDRESS = 0x0A14
"""Register of GigE Vision: the address of the application that has control; 0 where the camera does not tell."""
_STREAM_PORT, _STREAM_PACKET_SIZE, _STREAM_PACKET_DELAY, _STREAM_ADDRESS = 0x0D00, 0x0D04, 0x0D08, 0x0D18
_TICKS_HIGH, _TICKS_LOW = 0x093C, 0x0940
_CURRENT_ADDRESS = 0x0024
"""Bootstrap registers of GigE Vision, which every such camera has whatever its features are called."""
BUFFERS = 4
_FRAMES_BUFFERED = 2
"""Frames that the socket's receive buffer is asked to hold; the kernel gives at most net.core.rmem_max."""
_MOST_INT = (1 << 31) - 1
_OVERHEAD = 64 * 1024
_BYTES_A_PIXEL = 8
_ACCESSES: dict[int, Access] = {0: "read-only", 1: "write-only"}  # of ARV_GC_ACCESS_MODE; the others: read and write
_KINDS: tuple[Kind, ...] = ("enumeration", "command", "boolean", "integer", "float", "string")


_NODE = re.compile(
    r"<(Integer|IntReg|MaskedIntReg|IntConverter|Float|FloatReg|Converter|Boolean|Enumeration|StringReg|String)\s"
    r"[^>]*\bName=\"(\w{1,100})\"[^>]*>(.*?)</\1>",
    re.DOTALL,
)


@dataclass(frozen=True)
class Counts:
    """What the stream has counted since it was opened.

    Aravis counts every packet from the first gap of a frame on as missing, so that their number is a most.
    """

    incomplete: int = 0
    missing_packets: int = 0
    resent_packets: int = 0
    received_packets: int = 0
    bytes: int = 0
    underruns: int = 0
    """Packets (on USB frames) for which no buffer was free: frames before were not made into images in time."""

    def since(self, before: "Counts") -> "Counts":
        """Return what was counted after another time."""
        return Counts(*(now - then for now, then in zip(astuple(self), astuple(before), strict=True)))


@dataclass(frozen=True)
class Taken:
    """A frame as it was taken; its `pixels` are gray or BGR, and None where it is not whole.

    Where there is a layout the pixels are the bytes in `data`, as they came.

    `clock` is the instant of time.monotonic() at which it began to arrive; `device_ns` what the camera's clock showed
    as it stamped it; `chunks` what the camera said of it, as far as it was asked for.
    """

    pixels: NDArray[np.uint8] | None
    clock: float
    device_ns: int
    chunks: Mapping[str, Value] = field(default_factory=dict)
    data: bytes = b""
    layout: Layout | None = None

    def frame(self, clock: float) -> Frame:
        """Return it as a frame of an instant of time.monotonic()."""
        if self.layout is not None:
            return Frame(self.data, layout=self.layout, clock=clock, metadata=self.chunks)
        return Frame(pixels=self.pixels, clock=clock, metadata=self.chunks)

    def exposure_s(self) -> float | None:
        """Return the frame's own exposure time in seconds, None where the camera does not send it along."""
        for name in ("ExposureTime", "ExposureTimeAbs"):
            microseconds = self.chunks.get(name)
            if isinstance(microseconds, int | float):
                return max(0.0, microseconds / 1e6)
        return None


class Device:
    """A camera under our control, or only looked at; `close` gives it back.

    `keeps_raw` leaves frames as they came where they can be made into pixels later: most of them nobody asks for.
    """

    def __init__(
        self,
        name: str,
        *,
        max_pixels: int,
        significant_bits: int | None = None,
        controls: bool = True,
        keeps_raw: bool = False,
    ) -> None:
        self._aravis = load()
        self._max_pixels = max_pixels
        self._significant_bits = significant_bits
        self._keeps_raw = keeps_raw
        self._stream: int | None = None
        self._runs = False
        self._size: tuple[int, int] | None = None
        self._incomplete = 0
        self._counters: set[bytes] = set()
        self._chunks: ChunkReader | None = None
        self._camera = open_camera(name)
        self._device = int(self._aravis.call("arv_camera_get_device", self._camera))
        self.is_gige = bool(self._aravis.call("arv_camera_is_gv_device", self._camera))
        if controls and not self.has_control():
            owner = self.owner()
            self.close()
            raise CameraFailed(
                f"access denied: {owner} has control of it",
                remedy="Stop the other program; where it died, the camera frees itself after its heartbeat's timeout",
            )

    def has_control(self) -> bool:
        """Return whether the camera still obeys us, by the last heartbeat; always true on USB."""
        return not self.is_gige or bool(self._aravis.call("arv_gv_device_is_controller", self._device))

    def apply(self, features: Mapping[str, Value]) -> None:
        """Write features in their order and read each back; raises CameraFailed with the camera's own bounds."""
        self.reset(resets(features))
        for name, value in ordered(features):
            self.write(name, value)
        for name, value in features.items():  # again: one may have changed another
            node = self._node(name)
            if self._access(node) != "write-only":
                check_taken(name, value, self._read(node), self._bounds(node))

    def reset(self, names: Iterable[str]) -> None:
        """Put integers to their least, where the camera has them and lets them be written."""
        for name in names:
            node = self._aravis.call("arv_device_get_feature", self._device, name.encode())
            if node and not self._aravis.call("arv_gc_feature_node_is_locked", node):
                self._aravis.call("arv_gc_integer_set_value", node, int(self._bounds(node).least))

    def write(self, name: str, value: Value) -> None:
        """Write one feature and read it back."""
        node = self._node(name)
        if not self._aravis.call("arv_gc_feature_node_is_available", node):
            raise CameraFailed(f"feature {name} is not available as the camera is set now")
        if self._access(node) == "read-only":  # neither the library nor every camera refuses to write it
            raise CameraFailed(f"feature {name} is read-only")
        bounds = self._bounds(node)
        if wrong := problem(name, value, bounds):
            raise CameraFailed(f"feature {wrong}", remedy="Name a value that this camera takes")
        try:
            self._write(node, value, bounds.kind)
        except CameraFailed as error:
            raise CameraFailed(f"feature {name} cannot be set to {value!r}: {error.what}") from None
        if self._access(node) != "write-only":
            check_taken(name, value, self._read(node), bounds)

    def read(self, name: str) -> Value | None:
        """Return a feature's value, None where the camera has none of this name or does not show it now."""
        node = self._aravis.call("arv_device_get_feature", self._device, name.encode())
        try:
            return self._read(node) if node else None
        except CameraFailed:
            return None

    def exposure_s(self) -> float:
        """Return the exposure time as it is now, in seconds; 0 where the camera does not tell."""
        for name in ("ExposureTime", "ExposureTimeAbs"):
            microseconds = self.read(name)
            if isinstance(microseconds, int | float):
                return max(0.0, microseconds / 1e6)
        return 0.0

    def describe(self, names: Iterable[str]) -> dict[str, tuple[Value, str]]:
        """Return value and bounds of those features that the camera has and shows."""
        described: dict[str, tuple[Value, str]] = {}
        for name in names:
            node = self._aravis.call("arv_device_get_feature", self._device, name.encode())
            with suppress(CameraFailed):
                if node:
                    described[name] = (self._read(node), str(self._bounds(node)))
        return described

    def names(self) -> list[str]:
        """Return the names of its features in the order of its description, without their groups."""
        nodes = (
            (name, self._aravis.call("arv_device_get_feature", self._device, name.encode())) for name in self._names()
        )
        return [name for name, node in nodes if node and not self._aravis.is_a(node, "category")]

    def selectors(self) -> dict[str, tuple[str, ...]]:
        """Return the selectors of each feature that has some, as the camera describes it."""
        found: dict[str, tuple[str, ...]] = {}
        for name in self._names():
            node = self._aravis.call("arv_device_get_feature", self._device, name.encode())
            for selected in self._aravis.selected(node) if node else ():
                found[selected] = (*found.get(selected, ()), name)
        return found

    def streamable(self) -> frozenset[str]:
        """Return the names of the features that the camera's description says to keep in files; none: it says none."""
        nodes = _NODE.findall(self._xml())
        return frozenset(name for _kind, name, body in nodes if re.search(r"<Streamable>\s*Yes\s*</Streamable>", body))

    def look(self, name: str) -> Feature:
        """Return a feature as it is now; raises CameraFailed where the camera has none of this name."""
        node = self._node(name)
        kind, access = self._kind(node), self._access(node)
        value: Value | None = None
        bounds = Bounds(kind)
        if access != "not available now":
            with suppress(CameraFailed):
                bounds = self._bounds(node)
            if access != "write-only" and kind != "command":
                with suppress(CameraFailed):
                    value = self._read(node)
        return Feature(value, bounds, access)

    def choices(self, name: str) -> tuple[str, ...]:
        """Return what an enumeration may be now; nothing where the camera has none of this name."""
        node = self._aravis.call("arv_device_get_feature", self._device, name.encode())
        return self._bounds(node).choices if node else ()

    def start(self, buffers: int = BUFFERS) -> None:
        """Make the stream and let the camera send, or wait for triggers; raises CameraFailed.

        A frame that comes while none of the buffers is free is lost.
        """
        width, height = (self.read(name) for name in ("Width", "Height"))
        if isinstance(width, int) and isinstance(height, int) and width * height > self._max_pixels:
            raise CameraFailed(
                f"it sends {width} x {height} pixels",
                remedy=f"At most {self._max_pixels} are allowed (inference.limits.pixels)",
            )
        self._size = (width, height) if isinstance(width, int) and isinstance(height, int) else None
        payload = int(self._aravis.call("arv_camera_get_payload", self._camera))
        most = self._max_pixels * _BYTES_A_PIXEL + _OVERHEAD
        if not 0 < payload <= most:
            raise CameraFailed(f"it announces frames of {payload} bytes; 1 to {most} are allowed")
        self._stream = self._aravis.call("arv_camera_create_stream", self._camera, None, None)
        if not self._stream:
            raise CameraFailed("its stream cannot be opened")
        if self.is_gige:  # else the library leaves the kernel's default, and a burst of a frame's packets overflows it
            size = min(_FRAMES_BUFFERED * payload, _MOST_INT)
            self._aravis.call("g_object_set", self._stream, b"socket-buffer-size", size, None)
        self._counters = self._aravis.counters(self._stream)
        for _ in range(buffers):
            buffer = self._aravis.call("arv_buffer_new_allocate", payload)
            self._aravis.call("arv_stream_push_buffer", self._stream, buffer)
        self._aravis.call("arv_camera_start_acquisition", self._camera)
        self._runs = True

    def send_chunks(self, names: Collection[str]) -> None:
        """Let the camera send these along with each frame; raises CameraFailed where it cannot, with what it can."""
        if not names:
            return
        if self.read("ChunkModeActive") is None:
            raise CameraFailed("it sends no chunks along with its frames", remedy="Leave `chunks` out of the settings")
        self.write("ChunkModeActive", value=True)
        known = self.choices("ChunkSelector")
        for name in names:
            if name not in known:
                raise CameraFailed(f"it has no chunk {name}; it has {', '.join(known)}", remedy="Name one that it has")
            self.write("ChunkSelector", name)
            if self.read("ChunkEnable") is not True:  # some are always there, and cannot be written
                self.write("ChunkEnable", value=True)
        self._chunks = ChunkReader(self._aravis, self._camera, {name: self._kind_of_chunk(name) for name in names})

    def fire(self) -> None:
        """Give the software trigger."""
        self.execute("TriggerSoftware")

    def execute(self, command: str) -> None:
        """Execute a command of its features."""
        self._aravis.call("arv_device_execute_command", self._device, command.encode())

    def take(self, wait_s: float) -> Taken | None:
        """Return the next whole frame; None where none came in time, or one that is not whole, which is counted."""
        taken = self.take_any(wait_s)
        return taken if taken is not None and taken.pixels is not None else None

    def take_any(self, wait_s: float) -> Taken | None:
        """Return the next frame, whole or not, which is counted; None where none came in time."""
        buffer = self._aravis.call("arv_stream_timeout_pop_buffer", self._stream, round(wait_s * 1e6))
        if not buffer:
            return None
        try:
            if self._aravis.call("arv_buffer_get_status", buffer) != _WHOLE:
                self._incomplete += 1
                return Taken(None, time.monotonic(), self._stamp(buffer))
            return self._taken(buffer)
        finally:
            self._aravis.call("arv_stream_push_buffer", self._stream, buffer)

    def counts(self) -> Counts:
        """Return what the stream has counted."""
        if self._stream is None:
            return Counts()
        counters = ("missing_packets", "resent_packets", "received_packets", "transferred_bytes", "underruns")
        return Counts(self._incomplete, *(self._counted(f"n_{each}".encode()) for each in counters))

    def channel(self) -> Channel | None:
        """Return how the stream is sent, once it was started; None on USB and where the camera does not tell."""
        if not self.is_gige:
            return None
        try:
            high, low = self.read_register(_TICKS_HIGH), self.read_register(_TICKS_LOW)
            return Channel(
                host=_address(self.read_register(_STREAM_ADDRESS)),
                port=self.read_register(_STREAM_PORT) & 0xFFFF,
                packet_size=self.read_register(_STREAM_PACKET_SIZE) & 0xFFFF,
                packet_delay=self.read_register(_STREAM_PACKET_DELAY),
                ticks_a_second=(high << 32) + low,
                payload=int(self._aravis.call("arv_camera_get_payload", self._camera)),
            )
        except CameraFailed:
            return None

    def address(self) -> str | None:
        """Return its IP address; None on USB and where it does not tell."""
        try:
            return _address(self.read_register(_CURRENT_ADDRESS)) if self.is_gige else None
        except CameraFailed:
            return None

    def close(self) -> None:
        """Stop the camera and give up control; what fails is not said, the camera may be away."""
        if self._runs and self.has_control():  # else each try would wait for an answer that does not come
            with suppress(CameraFailed):
                self._aravis.call("arv_camera_stop_acquisition", self._camera)
        self._runs = False
        if self._chunks is not None:
            self._chunks.close()
            self._chunks = None
        if self._stream is not None:
            self._aravis.call("g_object_unref", self._stream)
            self._stream = None
        if self._camera:
            self._aravis.call("g_object_unref", self._camera)
            self._camera = 0

    def _taken(self, buffer: int) -> Taken:
        kind = self._aravis.call("arv_buffer_get_payload_type", buffer)
        if kind not in _IMAGES:
            raise CameraFailed(f"it sends payload type 0x{kind & 0xFFFF:04x}, which is no plain image")
        width, height = (int(self._aravis.call(f"arv_buffer_get_image_{side}", buffer)) for side in ("width", "height"))
        if self._size is not None and self._size != (width, height):  # a smaller one would be a part of the part
            said = f"{self._size[0]} x {self._size[1]}"
            raise CameraFailed(f"it sent a frame of {width} x {height} pixels, where its features say {said}")
        padding, below = c.c_int(), c.c_int()
        self._aravis.call("arv_buffer_get_image_padding", buffer, c.byref(padding), c.byref(below))
        size = c.c_size_t()
        address = self._aravis.call("arv_buffer_get_data", buffer, c.byref(size))
        data = np.ctypeslib.as_array((c.c_uint8 * size.value).from_address(address))
        pixel_format = int(self._aravis.call("arv_buffer_get_image_pixel_format", buffer))
        began = self._aravis.call("arv_buffer_get_system_timestamp", buffer) / 1e9
        age = max(0.0, time.time() - began) if began else 0.0  # a wall clock put back makes it no younger than now
        clock, sent = time.monotonic() - age, (data, pixel_format, width, height)
        stamp, chunks = self._stamp(buffer), {} if self._chunks is None else self._chunks.read(buffer)
        row_padding = max(0, padding.value)
        raw = to_raw(*sent, row_padding=row_padding, max_pixels=self._max_pixels) if self._keeps_raw else None
        if raw is not None:
            return Taken(np.frombuffer(raw[0], np.uint8), clock, stamp, chunks, *raw)
        pixels = to_image(
            *sent,
            row_padding=row_padding,
            max_pixels=self._max_pixels,
            significant_bits=self._significant_bits,
        )
        return Taken(pixels, clock, stamp, chunks)

    def _stamp(self, buffer: int) -> int:
        return int(self._aravis.call("arv_buffer_get_timestamp", buffer))

    def _counted(self, counter: bytes) -> int:
        if counter not in self._counters:
            return 0
        return int(self._aravis.call("arv_stream_get_info_uint64_by_name", self._stream, counter))

    def owner(self) -> str:
        """Return who has control where it is not we, as far as the camera tells."""
        try:
            address = self.read_register(_CONTROLLER_ADDRESS)
        except CameraFailed:
            address = 0
        return f"a program at {_address(address)}" if address else "another program"

    def read_register(self, address: int) -> int:
        """Return a bootstrap register of GigE Vision; raises CameraFailed."""
        register = c.c_uint32()
        self._aravis.call("arv_device_read_register", self._device, address, c.byref(register))
        return register.value

    def write_register(self, address: int, value: int) -> None:
        """Write a bootstrap register of GigE Vision; raises CameraFailed."""
        self._aravis.call("arv_device_write_register", self._device, address, value)

    def _kind_of_chunk(self, name: str) -> Kind:
        return self._kind(self._node(f"Chunk{name}"))

    def _node(self, name: str) -> int:
        node = self._aravis.call("arv_device_get_feature", self._device, name.encode())
        if not node:
            raise unknown(name, self._names())
        return int(node)

    def _names(self) -> list[str]:
        return list(dict.fromkeys(re.findall(r"<pFeature>\s*(\w{1,100})\s*</pFeature>", self._xml())))

    def _xml(self) -> str:
        size = c.c_size_t()
        address = self._aravis.call("arv_device_get_genicam_xml", self._device, c.byref(size))
        return c.string_at(address, size.value).decode("utf-8", "replace") if address else ""

    def _access(self, node: int) -> Access:
        try:
            if not self._aravis.call("arv_gc_feature_node_is_available", node):
                return "not available now"
            access = _ACCESSES.get(
                self._aravis.call("arv_gc_feature_node_get_actual_access_mode", node), "read and write"
            )
            is_locked = self._aravis.call("arv_gc_feature_node_is_locked", node)
        except CameraFailed:
            return "not available now"
        return "read-only now" if is_locked and access != "read-only" else access

    def _kind(self, node: int) -> Kind:
        for kind in _KINDS:
            if self._aravis.is_a(node, kind):
                return kind
        return "string"

    def _bounds(self, node: int) -> Bounds:
        kind = self._kind(node)
        if kind in {"integer", "float"}:
            least, most = (self._aravis.call(f"arv_gc_{kind}_get_{end}", node) for end in ("min", "max"))
            step = self._aravis.call("arv_gc_integer_get_inc", node) if kind == "integer" else 1
            return Bounds(kind, least, most, step=max(1, step))
        if kind != "enumeration":
            return Bounds(kind)
        count = c.c_uint()
        words = self._aravis.call("arv_gc_enumeration_dup_available_string_values", node, c.byref(count))
        if not words:
            return Bounds(kind)
        array = c.cast(words, c.POINTER(c.c_char_p))
        choices = tuple(text(array[number]) for number in range(count.value))
        self._aravis.call("g_free", words)
        return Bounds(kind, choices=choices)

    def _read(self, node: int) -> Value:
        kind = self._kind(node)
        if kind in {"integer", "float", "boolean"}:
            value = self._aravis.call(f"arv_gc_{kind}_get_value", node)
            return bool(value) if kind == "boolean" else value
        return text(self._aravis.call("arv_gc_feature_node_get_value_as_string", node))

    def _write(self, node: int, value: Value, kind: Kind) -> None:
        if kind in {"integer", "float", "boolean"}:
            self._aravis.call(f"arv_gc_{kind}_set_value", node, value)
        else:
            self._aravis.call("arv_gc_feature_node_set_value_from_string", node, str(value).encode())


def _address(register: int) -> str:
    return ".".join(str(part) for part in register.to_bytes(4, "big"))
