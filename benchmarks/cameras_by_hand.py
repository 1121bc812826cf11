"""The script that `cameras.py` measures against: a GigE camera by Aravis, PyGObject, numpy and OpenCV, in one loop.

Run by the distribution's own Python, which has PyGObject. It takes one JSON line for each round on its standard input
and answers with one. No event loop, no limits, no deadline, no reconnect: what an engineer writes in an hour, written
well: one copy out of the library's buffer, as few pixels as possible where each costs, OpenCV with all cores.
"""

import json
import mmap
import os
import sys
import time

import cv2
import gi
import numpy as np

gi.require_version("Aravis", "0.8")
from gi.repository import Aravis, GLib  # noqa: E402 - its version is chosen first

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)
BUFFERS = 4
PATIENCE_US = 5_000_000
SENSOR_WIDTH, PACKET_SIZE = 0x11C, 0x0D04  # registers: of Aravis' fake camera, and of every GigE Vision camera


def opened(given: dict, *, is_triggered: bool) -> tuple:
    camera = Aravis.Camera.new(given["address"])
    camera.set_string("TriggerSelector", "FrameStart")
    camera.set_string("TriggerSource", "Software")
    camera.set_string("TriggerMode", "On" if is_triggered else "Off")
    camera.set_string("PixelFormat", given["pixel_format"])
    camera.set_integer("Width", given["width"])
    camera.set_integer("Height", given["height"])
    camera.set_float("ExposureTimeAbs", given["exposure_us"])
    payload = camera.get_payload()
    stream = camera.create_stream(None, None)
    stream.set_property("socket-buffer-size", 2 * payload)
    for _ in range(BUFFERS):
        stream.push_buffer(Aravis.Buffer.new_allocate(payload))
    camera.start_acquisition()
    return camera, stream


def to_slot(buffer: object, given: dict, slot: np.ndarray) -> None:
    pixels = np.frombuffer(buffer.get_data(), np.uint8).reshape(given["height"], given["width"])
    size = slot.shape[2], slot.shape[1]
    if given["pixel_format"] == "Mono8":
        pixels = cv2.cvtColor(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), cv2.COLOR_GRAY2RGB)
    else:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BayerRGGB2RGB)
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    slot[...] = ((pixels.astype(np.float32) / 255 - MEAN) / STD).transpose(2, 0, 1)


def latency(given: dict, slot: np.ndarray) -> dict:
    """Return seconds of each frame: from the request to the slot, the camera's own, and of the processor."""
    camera, stream = opened(given, is_triggered=True)
    taken, missing = [], 0
    for number in range(given["frames"] + 1):
        asked, cpu = time.monotonic(), time.process_time()
        camera.software_trigger()
        acknowledged = time.time()
        buffer = stream.timeout_pop_buffer(PATIENCE_US)
        while buffer is not None and buffer.get_status() != Aravis.BufferStatus.SUCCESS:  # packets are missing: again
            missing += 1
            stream.push_buffer(buffer)
            camera.software_trigger()
            acknowledged = time.time()
            buffer = stream.timeout_pop_buffer(PATIENCE_US)
        if buffer is None:
            raise TimeoutError("no frame came")
        began = buffer.get_system_timestamp() / 1e9
        to_slot(buffer, given, slot)
        stream.push_buffer(buffer)
        if number:  # the first one warms up
            taken.append((time.monotonic() - asked, max(0.0, began - acknowledged), time.process_time() - cpu))
    camera.stop_acquisition()
    return {"taken": taken, "mean": float(slot.mean()), "missing": missing}


def stream(given: dict) -> dict:
    """Let the camera send by itself and keep the newest frame, for so many seconds."""
    camera, frames = opened(given, is_triggered=False)
    frames.push_buffer(frames.timeout_pop_buffer(PATIENCE_US))
    whole = lost = 0
    newest = b""
    began, cpu = time.monotonic(), time.process_time()
    while time.monotonic() < began + given["seconds"]:
        buffer = frames.timeout_pop_buffer(100_000)
        if buffer is None:
            continue
        if buffer.get_status() == Aravis.BufferStatus.SUCCESS:
            newest = buffer.get_data()
            whole += 1
        else:
            lost += 1
        frames.push_buffer(buffer)
    seconds, spent = time.monotonic() - began, time.process_time() - cpu
    underruns = frames.get_info_uint64_by_name("n_underruns")
    camera.stop_acquisition()
    return {"frames": whole, "missing": lost + underruns, "seconds": seconds, "cpu_s": spent, "bytes": len(newest)}


def widen(given: dict) -> dict:
    """Give Aravis' fake camera a wider sensor and jumbo frames, as long as its process lives."""
    device = Aravis.Camera.new(given["address"]).get_device()
    device.write_register(SENSOR_WIDTH, given["width"])
    device.write_register(PACKET_SIZE, given["packet_size"])
    return {}


def main() -> None:
    descriptor = os.memfd_create("slot")
    os.ftruncate(descriptor, 3 * int(sys.argv[1]) ** 2 * 4)
    slot = np.frombuffer(mmap.mmap(descriptor, 0), np.float32).reshape(3, int(sys.argv[1]), int(sys.argv[1]))
    for line in sys.stdin:
        given = json.loads(line)
        rounds = {"latency": lambda of: latency(of, slot), "stream": stream, "widen": widen}
        try:
            answer = rounds[given["round"]](given)
        except (GLib.Error, TimeoutError) as error:  # the camera was lost
            answer = {"failed": str(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
