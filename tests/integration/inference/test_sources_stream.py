"""Streams through OpenCV and folders, with their threads, and every kind of source through the whole service."""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import cv2
import numpy as np
import pytest

from lineside.connections import State
from lineside_inference.errors import CameraFailed
from lineside_inference.sources.cameras.camera import Camera
from tests.support.cameras import watched
from tests.support.deadlines import within
from tests.support.waiting import HANG_S, until


def write_video(path: Path, *, frames: int = 10, fps: float = 50, size: tuple[int, int] = (64, 48)) -> None:
    """Write a film whose frame n is grey 20 * n."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, size)
    for number in range(frames):
        writer.write(np.full((size[1], size[0], 3), 20 * number, np.uint8))
    writer.release()


@pytest.fixture
async def watch() -> AsyncIterator[Callable[..., Camera]]:
    """Make and start one camera; ended with the test."""
    async with watched(max_bytes=1_000_000, max_pixels=100_000) as make:
        yield make


async def test_a_film_runs_in_a_loop_and_each_grab_is_newer_than_its_trigger(watch: Any, tmp_path: Path) -> None:
    write_video(tmp_path / "film.avi")
    camera = watch(kind="stream", path=tmp_path / "film.avi")
    seen = []
    for _ in range(25):  # more than its ten frames
        trigger = time.monotonic()
        frame = await camera.grab(trigger, within(HANG_S))
        assert frame.clock >= trigger
        assert frame.pixels is not None
        assert frame.pixels.shape == (48, 64, 3)
        seen.append(round(float(frame.pixels.mean()) / 20))
    assert len(set(seen)) > 5
    assert camera.connection.state is State.ONLINE


async def test_only_so_many_frames_a_second_are_kept(watch: Any, tmp_path: Path) -> None:
    write_video(tmp_path / "film.avi", fps=100)
    camera = watch(kind="stream", path=tmp_path / "film.avi", most_fps=10)
    await until(lambda: camera.frames["skipped"] >= 20)
    assert camera.frames["kept"] < camera.frames["skipped"] / 3


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda _path: None, "cannot be opened"),
        (lambda path: path.write_bytes(b"<html>no film</html>"), "cannot be opened"),
        (lambda path: write_video(path, size=(640, 480)), "640 x 480 pixels"),
    ],
)
async def test_a_film_that_does_not_do_is_named(
    watch: Any, tmp_path: Path, make: Callable[[Path], None], said: str
) -> None:
    make(tmp_path / "film.avi")
    camera = watch(kind="stream", path=tmp_path / "film.avi")
    await until(lambda: said in camera.connection.detail)
    with pytest.raises(CameraFailed, match=said):
        await camera.grab(time.monotonic(), within(0.3))


async def test_a_film_that_comes_later_is_found(watch: Any, tmp_path: Path) -> None:
    camera = watch(kind="stream", path=tmp_path / "film.avi")
    await until(lambda: camera.connection.state is State.BACKOFF)
    write_video(tmp_path / "new.avi")
    (tmp_path / "new.avi").rename(tmp_path / "film.avi")
    await until(lambda: camera.connection.is_online)
    assert (await camera.grab(time.monotonic(), within(HANG_S))).pixels is not None


async def test_a_stream_that_takes_the_connection_and_says_nothing_blocks_nobody(watch: Any, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret/@:\n")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"rtsp://127.0.0.1:{listener.getsockname()[1]}/live?token=hidden"
        camera = watch(kind="stream", url=url, username="op", password_file=tmp_path / "password", timeout_ms=100)
        slow = 0.0
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            before = time.monotonic()
            await asyncio.sleep(0.005)
            slow = max(slow, time.monotonic() - before)
        with pytest.raises(CameraFailed):
            await camera.grab(time.monotonic(), within(0.05))
        assert slow < 1.0
        await until(lambda: camera.connection.state is State.BACKOFF)
        assert not any(word in str(camera.connection.as_dict()) for word in ("secret", "hidden"))


def test_a_process_with_a_hanging_stream_ends_at_once() -> None:
    """The reader's thread is in OpenCV when the process ends."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        script = f"""
import asyncio
from lineside.service import Service
from lineside_inference.settings import CameraSettings
from lineside_inference.sources.cameras import Cameras
async def main():
    service = Service("inference")
    settings = CameraSettings(kind="stream", url="rtsp://127.0.0.1:{listener.getsockname()[1]}/", timeout_ms=60000)
    cameras = Cameras({{"c": settings}}, service, max_bytes=1, max_pixels=1)
    cameras.start()
    await asyncio.sleep(0.2)
    cameras.close()
asyncio.run(main())
"""
        ended = subprocess.run([sys.executable, "-c", script], timeout=HANG_S, check=False, capture_output=True)
    assert ended.returncode == 0, ended.stderr.decode()


async def test_a_file_written_after_the_trigger_is_what_is_judged(watch: Any, tmp_path: Path, part_jpeg: bytes) -> None:
    camera = watch(kind="directory", path=tmp_path, poll_ms=5)
    (tmp_path / "before.jpg").write_bytes(part_jpeg)
    long_ago = time.time() - 1
    os.utime(tmp_path / "before.jpg", (long_ago, long_ago))
    await until(lambda: camera.connection.is_online)
    grabbing = asyncio.ensure_future(camera.grab(time.monotonic(), within(HANG_S)))
    with (tmp_path / "after.jpg").open("wb", buffering=0) as stream:
        for at in range(0, len(part_jpeg), 4000):
            stream.write(part_jpeg[at : at + 4000])
            await asyncio.sleep(0.001)
    assert (await grabbing).data == part_jpeg


# The whole service


class Mjpeg:
    """A real MJPEG server of its own thread."""

    def __init__(self, frame: bytes) -> None:
        self.frame = frame
        self.stop = Event()
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                if self.path == "/still.jpg":
                    self.end_headers()
                    self.wfile.write(camera.frame)
                    return
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                part = b"--frame\r\nContent-Length: %d\r\n\r\n" % len(camera.frame)
                while not camera.stop.wait(0.02):
                    try:
                        self.wfile.write(part + camera.frame + b"\r\n")
                    except OSError:
                        return

            def log_message(self, *_args: object) -> None:
                """Be quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_port
        Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.stop.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def mjpeg(part_jpeg: bytes) -> Iterator[Mjpeg]:
    camera = Mjpeg(part_jpeg)
    yield camera
    camera.close()


def test_every_kind_of_source_is_judged_alike(
    start_inference: Any, triton_server: Any, mjpeg: Mjpeg, tmp_path: Path, part_jpeg: bytes
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "still.jpg").write_bytes(part_jpeg)
    pixels = cv2.imdecode(np.frombuffer(part_jpeg, np.uint8), cv2.IMREAD_COLOR)
    writer = cv2.VideoWriter(str(tmp_path / "film.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 50, (640, 480))
    for _ in range(10):
        writer.write(pixels)
    writer.release()
    _there, shown = cv2.VideoCapture(str(tmp_path / "film.avi")).read()
    lossless = cv2.imencode(".png", shown)[1].tobytes()
    service = start_inference(
        triton={"url": triton_server.grpc},
        cameras={
            "snapshot": {"url": f"http://127.0.0.1:{mjpeg.port}/still.jpg"},
            "mjpeg": {"kind": "mjpeg", "url": f"http://127.0.0.1:{mjpeg.port}/"},
            "stream": {"kind": "stream", "path": str(tmp_path / "film.avi")},
            "directory": {"kind": "directory", "path": str(folder), "poll_ms": 10, "allow_older_ms": 60_000},
            "gone": {"kind": "mjpeg", "url": "http://127.0.0.1:9/"},
        },
        urls={"hosts": [{"host": "127.0.0.1", "ports": [mjpeg.port], "private": True}]},
        file_roots=[str(folder)],
    )
    (folder / "new.jpg").write_bytes(part_jpeg)
    expected, expected_of_film = (service.predict(data) for data in (part_jpeg, lossless))
    assert expected["status"] == "ok"
    assert expected["frame_age_ms"] is None
    for name in ("snapshot", "mjpeg", "stream", "directory"):
        result = service.infer(source={"kind": "camera", "camera": name}, deadline_ms=60_000)
        assert result["status"] == "ok", result["reason"]
        assert 0 <= result["frame_age_ms"] < 60_000
        # A film is compressed once more, each frame a little differently, and decoded in full.
        image = service.http.get(f"/v1/parts/{result['id']}/image")
        assert (image.status_code, image.headers["content-type"]) == (200, "image/jpeg")
        like, margin = (expected_of_film, 0.05) if name == "stream" else (expected, 0.0)
        for label, score in like["scores"].items():
            assert result["scores"][label] == pytest.approx(score, abs=margin), name
    url = service.infer(source={"kind": "url", "url": f"http://127.0.0.1:{mjpeg.port}/still.jpg"})
    assert (url["status"], url["scores"]) == ("ok", expected["scores"])
    refused = service.infer(source={"kind": "url", "url": "http://169.254.169.254/latest"})
    assert (refused["status"], refused["code"]) == ("rejected", "url-not-allowed")
    away = service.infer(source={"kind": "camera", "camera": "gone"}, deadline_ms=200)
    assert (away["status"], away["code"]) == ("failed", "camera-failed")
    ready = service.http.get("/readyz").json()
    states = {link["name"]: (link["state"], link["required"]) for link in ready["connections"]}
    assert ready["ready"]
    assert states["camera/mjpeg"] == ("ONLINE", False)
    assert states["camera/gone"][0] in {"BACKOFF", "CONNECTING"}
    assert service.metric('lineside_inference_camera_frames_total{camera="mjpeg",outcome="kept"}') > 0
    assert service.metric('lineside_inference_camera_frame_age_seconds{camera="stream"}') < 5
    assert "Traceback" not in service.log.read_text()
    service.stop()
    assert service.process.returncode == 0


def test_a_frame_from_before_the_trigger_is_refused(
    start_inference: Any, triton_server: Any, tmp_path: Path, part_jpeg: bytes
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    service = start_inference(
        triton={"url": triton_server.grpc}, cameras={"c": {"kind": "directory", "path": str(folder), "poll_ms": 10}}
    )
    (folder / "part.jpg").write_bytes(part_jpeg)
    source = {"kind": "camera", "camera": "c"}
    before = datetime.now(UTC) - timedelta(seconds=2)
    result = service.infer(source=source, time={"received": before.isoformat()}, deadline_ms=60_000)
    assert result["status"] == "ok", result["reason"]
    time.sleep(0.05)  # the picture is now older than the grain of a file's time
    result = service.infer(source=source, deadline_ms=200)
    assert (result["status"], result["code"]) == ("failed", "camera-stale")
    assert "older than the trigger" in result["reason"]
