"""A 5 megapixel GigE camera: ours against a script by hand (Aravis by PyGObject, numpy, OpenCV), the same fake camera.

Latency is from the request to the model's input in its slot of shared memory: software trigger, transfer, colours, size
and scale. Ours is the service's own way: the `genicam` camera, the arena, the writer of inputs, with the card of the
bench's model. The time from the trigger's acknowledgement to the first packet is the camera's own, and is taken off
both; with it the same frames are `whole`. Streaming is the camera by itself, 25 frames a second, somewhat more than a
gigabit link carries: the newest frame is kept.

Ours and the other are measured in rounds by turns, each with a camera newly opened; a ratio is that of the medians.
Raw pixels alone, from memory, are `make benchmark-pixels`.

It needs Debian's aravis-tools, python3-gi and gir1.2-aravis-0.8, and UDP port 3956 of 127.0.0.1.
"""

import argparse
import asyncio
import contextlib
import json
import logging
import shutil
import statistics
import subprocess
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import structlog
from report import arguments, table, write

from lineside import machine
from lineside.contract import CameraSource, Request
from lineside.service import Service
from lineside_inference.dataplane.admission import Capacity
from lineside_inference.dataplane.workers import Workers
from lineside_inference.deadline import Deadline
from lineside_inference.engine.arena import Arena
from lineside_inference.errors import CameraFailed, RequestError
from lineside_inference.models.card import Card
from lineside_inference.models.reading import read_card
from lineside_inference.models.store import Model
from lineside_inference.settings import InferenceSettings
from lineside_inference.sources.cameras import Cameras
from lineside_inference.sources.cameras.genicam.device import Device
from lineside_inference.usecases.input_writer import InputWriter

ROOT = Path(__file__).parents[1]
CARD = ROOT / "models/surface-defect/card.yaml"
FAKE, PYTHON, ADDRESS = "arv-fake-gv-camera-0.8", "/usr/bin/python3", "127.0.0.1"
WIDTH, HEIGHT, EXPOSURE_US, PACKET_SIZE = 2448, 2048, 10.0, 9000
INSTALL = "apt-get install aravis-tools python3-gi gir1.2-aravis-0.8, for a Python of the version of this one"
FORMATS = {"mono8": "Mono8", "bayer": "BayerRG8"}
PATIENCE_S = 30.0
FRAMES, ROUNDS, QUICK_ROUNDS, TRIES = 5, 32, 6, 3
STREAM_S, STREAM_ROUNDS = 4.0, 5
FEATURES = {"Width": WIDTH, "Height": HEIGHT, "ExposureTimeAbs": EXPOSURE_US}
PAUSE_S = 0.5
"""Between two rounds: the fake camera sees, between two frames, that the stream before has ended."""
RMEM_MAX = Path("/proc/sys/net/core/rmem_max")


class ByHand:
    """The other script, as long as the benchmark runs."""

    def __init__(self, size: int) -> None:
        script = Path(__file__).with_name("cameras_by_hand.py")
        self._process = subprocess.Popen(
            [PYTHON, str(script), str(size)],
            env={"PYTHONPATH": str(Path(cv2.__file__).parents[1]), "PATH": "/usr/bin:/bin"},  # the same OpenCV
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, what: str, **given: object) -> dict:
        process = self._process
        geometry = {"address": ADDRESS, "width": WIDTH, "height": HEIGHT, "exposure_us": EXPOSURE_US}
        process.stdin.write(json.dumps({"round": what, **geometry, **given}) + "\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        if not answer:
            raise SystemExit(f"the script by hand ended with {process.wait()}, see above; it needs: {INSTALL}")
        told = json.loads(answer)
        if "failed" in told:
            raise CameraFailed(told["failed"])
        return told

    async def latency(self, pixel_format: str) -> dict:
        return await asyncio.to_thread(self.ask, "latency", pixel_format=pixel_format, frames=FRAMES)

    async def stream(self, pixel_format: str) -> dict:
        return await asyncio.to_thread(self.ask, "stream", pixel_format=pixel_format, seconds=STREAM_S)

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(PATIENCE_S)


class Fired:
    """When the last software trigger of ours was acknowledged, of time.monotonic()."""

    def __init__(self) -> None:
        self.at = 0.0
        fire = Device.fire

        def noted(device: Device) -> None:
            fire(device)
            self.at = time.monotonic()

        Device.fire = noted


@contextlib.asynccontextmanager
async def our_camera(settings: InferenceSettings) -> AsyncIterator[Cameras]:
    """Give the cameras of the settings, connected, and given back at the end."""
    limits = settings.limits
    cameras = Cameras(settings.cameras, Service("cameras"), max_bytes=limits.body_bytes, max_pixels=limits.pixels)
    (camera,) = cameras
    supervisor = asyncio.create_task(camera.supervise())
    until = time.monotonic() + PATIENCE_S
    while not camera.connection.is_online:
        if time.monotonic() > until:
            raise SystemExit(f"our camera is away: {camera.connection.detail}")
        await asyncio.sleep(0.01)
    try:
        yield cameras
    finally:
        camera.close()
        await asyncio.to_thread(camera.join, time.monotonic() + PATIENCE_S)
        supervisor.cancel()
        await asyncio.wait((supervisor,))


def our_settings(pixel_format: str, **fields: object) -> InferenceSettings:
    features = FEATURES | {"PixelFormat": pixel_format}
    camera = {"kind": "genicam", "device": ADDRESS, "timeout_ms": 5000, "features": features, **fields}
    return InferenceSettings.model_validate({"cameras": {"c": camera}})


async def our_latency(pixel_format: str, model: Model, arena: Arena, fired: Fired) -> dict:
    """Return seconds of each frame: as the other script does: to the slot, the camera's own, of the processor."""
    settings = our_settings(pixel_format, acquisition="software", warmup_frames=1)
    workers, images = Workers(machine.cores()), Capacity(2**30, kept=0)
    writer = InputWriter(settings, workers, images)
    taken, mean = [], 0.0
    async with our_camera(settings) as cameras:
        for _ in range(FRAMES):
            asked, cpu = time.monotonic(), time.process_time()
            deadline = Deadline(asked + PATIENCE_S)
            request = Request.new(model=model.card.name, source=CameraSource(camera="c"))
            slot = await arena.acquire(deadline)
            try:
                frame = await cameras.grab("c", asked, deadline)
                out = slot.memory.view(np.float32).reshape(model.card.input.shape)
                await writer.write(request, frame, model, slot, out, deadline, line=True)
                taken.append((time.monotonic() - asked, max(0.0, frame.clock - fired.at), time.process_time() - cpu))
                mean = float(out.mean())
            finally:
                slot.release()
        missing = sum(camera.transport["incomplete"] for camera in cameras)
    workers.close()
    return {"taken": taken, "mean": mean, "missing": missing}


async def our_stream(pixel_format: str) -> dict:
    async with our_camera(our_settings(pixel_format, acquisition="free", most_fps=1000)) as cameras:
        (camera,) = cameras
        await cameras.grab("c", time.monotonic(), Deadline(time.monotonic() + PATIENCE_S))
        kept, lost = camera.frames["kept"], camera.transport["incomplete"]
        began, cpu = time.monotonic(), time.process_time()
        await asyncio.sleep(STREAM_S)
        seconds, spent = time.monotonic() - began, time.process_time() - cpu
        frames = camera.frames["kept"] - kept
        return {
            "frames": frames,
            "missing": camera.transport["incomplete"] - lost,
            "seconds": seconds,
            "cpu_s": spent,
        }


@contextlib.contextmanager
def fake_camera() -> Iterator[None]:
    """Run Aravis' fake camera; it answers as soon as the other script finds it."""
    if shutil.which(FAKE) is None:
        raise SystemExit(f"{FAKE} is not installed: {INSTALL}")
    with subprocess.Popen([FAKE, "-i", ADDRESS, "-s", "BENCH"]) as process:
        try:
            time.sleep(1)
            if process.poll() is not None:
                raise SystemExit(f"{FAKE} ended: is UDP port 3956 of {ADDRESS} in use?")
            yield
        finally:
            process.terminate()


async def whole(measure: Callable[[], Awaitable[dict]]) -> dict:
    """Return a round's figures; one in which the camera was lost, as on a machine too busy for its heartbeat, again."""
    for left in reversed(range(TRIES)):
        await asyncio.sleep(PAUSE_S)
        try:
            return await measure()
        except RequestError as error:
            if not left:
                raise SystemExit(f"the camera was lost in {TRIES} rounds one after another: {error}") from None
            print(f"a round is repeated: {error}")
    raise AssertionError


def compared(name: str, ours: dict, theirs: dict) -> None:
    """Stop where the two make different inputs: the fake camera's picture moves, its mean does not."""
    if abs(ours["mean"] - theirs["mean"]) > 0.05:
        raise SystemExit(f"{name}: the mean of our input is {ours['mean']:.3f}, of theirs {theirs['mean']:.3f}")


def latencies(rounds: list[dict]) -> dict[str, float]:
    """Return milliseconds a frame: without the camera's own time, with it, of it, of the processor; and the lost."""
    whole, own, cpu = (np.array([frame[at] for each in rounds for frame in each["taken"]]) * 1000 for at in range(3))
    return {
        **{f"p{share}": float(np.percentile(whole - own, share)) for share in (0, 10, 50)},
        "whole": float(np.median(whole)),
        "camera": float(np.median(own)),
        "CPU": float(np.median(cpu)),
        "missing": sum(each["missing"] for each in rounds),
    }


def streams(rounds: list[dict]) -> dict[str, float]:
    frames, seconds = sum(each["frames"] for each in rounds), sum(each["seconds"] for each in rounds)
    cpu = [each["cpu_s"] / max(1, each["frames"]) * 1000 for each in rounds]
    return {
        "frames/s": frames / seconds,
        "missing": sum(each["missing"] for each in rounds),
        "CPU ms": statistics.median(cpu),
    }


async def measured(given: argparse.Namespace) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    rounds, stream_rounds = (QUICK_ROUNDS, 1) if given.quick else (ROUNDS, STREAM_ROUNDS)
    card: Card = read_card(CARD, CARD.parent)
    model, fired = Model.of(card), Fired()
    size = card.input.shape[-1]
    arena = Arena(slot_bytes=int(np.prod(card.input.shape)) * 4, slots=2)
    figures: dict[str, object] = {}
    ratios: dict[str, float] = {}
    with fake_camera(), contextlib.closing(ByHand(size)) as by_hand, contextlib.closing(arena):
        by_hand.ask("widen", packet_size=PACKET_SIZE)
        for name, pixel_format in FORMATS.items():
            ours, theirs = [], []
            for _ in range(rounds):
                ours.append(await whole(partial(our_latency, pixel_format, model, arena, fired)))
                theirs.append(await whole(partial(by_hand.latency, pixel_format)))
                compared(name, ours[-1], theirs[-1])
            rows = {"ours": latencies(ours), "by hand": latencies(theirs)}
            table(rows, unit=f"{name} (ms)")
            print()
            figures[f"{name}_latency_ms"] = rows
            ratios[f"{name}_latency"] = rows["by hand"]["p50"] / rows["ours"]["p50"]
            ratios[f"{name}_latency_p10"] = rows["by hand"]["p10"] / rows["ours"]["p10"]
            ratios[f"{name}_cpu"] = rows["by hand"]["CPU"] / rows["ours"]["CPU"]
            ratios[f"{name}_whole"] = rows["by hand"]["whole"] / rows["ours"]["whole"]
        for name, pixel_format in FORMATS.items():
            found = defaultdict(list)
            for _ in range(stream_rounds):
                found["ours"].append(await whole(partial(our_stream, pixel_format)))
                found["by hand"].append(await whole(partial(by_hand.stream, pixel_format)))
            rows = {who: streams(each) for who, each in found.items()}
            table(rows, unit=f"{name} stream")
            print()
            figures[f"{name}_stream"] = rows
            ratios[f"{name}_stream_cpu"] = rows["by hand"]["CPU ms"] / rows["ours"]["CPU ms"]
    write(given.json, figures=figures, ratios=ratios)


def main() -> None:
    given = arguments(__doc__.splitlines()[0])
    if int(RMEM_MAX.read_text(encoding="ascii")) < WIDTH * HEIGHT:
        print(f"net.core.rmem_max is below a frame ({WIDTH * HEIGHT} bytes): as a usual user, frames may be lost\n")
    asyncio.run(measured(given))


if __name__ == "__main__":
    main()
