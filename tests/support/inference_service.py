"""The inference service as its own process, and a camera as an HTTP server."""

import base64
import os
import signal
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import yaml

from lineside_bench.processes.process import clean_environment
from tests.support import warm_start
from tests.support.paths import ROOT
from tests.support.ports import free_port
from tests.support.waiting import HANG_S, block_until

UNHURRIED = {"model_repository": str(ROOT / "models"), "default_deadline_ms": 60_000}
"""What a test does not say: no deadline that a busy machine would break."""


class Inference:
    """A running service and a client for it."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.port = free_port()
        shared = {name: settings[name] for name in ("thing", "spool", "edge_manager") if name in settings}
        settings = {name: value for name, value in settings.items() if name not in shared}
        http = {"port": self.port} | settings.get("http", {})
        settings = UNHURRIED | settings | {"http": http}
        settings["cameras"] = {
            name: {"timeout_ms": 30_000} | camera for name, camera in settings.get("cameras", {}).items()
        }
        config = folder / f"inference-{self.port}.yaml"
        config.write_text(yaml.safe_dump(shared | {"inference": settings}), encoding="utf-8")
        self.log = folder / f"inference-{self.port}.log"
        environment = clean_environment()
        with self.log.open("wb") as log:
            self.process = warm_start.start("lineside_inference", config, stderr=log, env=environment)
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=HANG_S, trust_env=False)

    def wait_for(self, path: str, status: int = 200) -> None:
        """Wait until the service answers a path with a status; fails with the end of its log."""

        def answers() -> bool:
            try:
                return self.http.get(path).status_code == status
            except httpx.TransportError:
                assert self.process.poll() is None, self.log.read_text()
                return False

        block_until(answers, lambda: f"{path} answers {status}:\n{self.log.read_text()[-3000:]}", within=HANG_S)

    def infer(self, **fields: Any) -> Any:
        """Ask /v1/infer and return the Result."""
        body = {"schema": "lineside/request/1", "id": os.urandom(8).hex(), "model": "surface-defect"} | fields
        answer = self.http.post("/v1/infer", json=body)
        assert answer.status_code == 200, answer.text
        result = answer.json()
        assert result["request_id"] == body["id"]
        return result

    def predict(self, data: bytes, **headers: str) -> Any:
        """Ask predict of surface-defect with an image and return the Result."""
        answer = self.http.post(
            "/v1/models/surface-defect/predict",
            content=data,
            headers={"content-type": "application/octet-stream"} | {k.replace("_", "-"): v for k, v in headers.items()},
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    def metric(self, name: str) -> float:
        """Return a sample of /metrics by its name and labels."""
        for line in self.http.get("/metrics").text.splitlines():
            if line.startswith(f"{name} "):
                return float(line.rpartition(" ")[2])
        return 0.0

    def resident_kib(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")))

    def stop(self) -> None:
        self.http.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(HANG_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(HANG_S)


def inline(data: bytes, content_type: str = "image/jpeg") -> dict[str, str]:
    """Return the source of a request that carries its image."""
    return {"kind": "inline", "content_type": content_type, "data": base64.b64encode(data).decode()}


class Camera:
    """A real HTTP server that behaves as `mode` says."""

    def __init__(self, frame: bytes) -> None:
        self.frame = frame
        self.asked = 0
        self.release = threading.Event()
        camera = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                camera.asked += 1
                getattr(camera, self.path.strip("/").replace("-", "_"))(self)

            def log_message(self, *_args: object) -> None:
                """Be quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, name="camera", daemon=True).start()

    def good(self, handler: BaseHTTPRequestHandler) -> None:
        self._send(handler, self.frame)

    def truncated(self, handler: BaseHTTPRequestHandler) -> None:
        self._send(handler, self.frame[:5000])

    def closed(self, handler: BaseHTTPRequestHandler) -> None:
        """A tenth of the scan is lost, and the end marker put behind the rest."""
        self._send(handler, self.frame[: len(self.frame) * 9 // 10].rstrip(b"\xff") + b"\xff\xd9")

    def closed_stream(self, handler: BaseHTTPRequestHandler) -> None:
        """The same frame all the time, as MJPEG."""
        frame = self.frame[: len(self.frame) * 9 // 10].rstrip(b"\xff") + b"\xff\xd9"
        handler.send_response(200)
        handler.send_header("Content-Type", "multipart/x-mixed-replace; boundary=f")
        handler.end_headers()
        try:
            while not self.release.wait(0.02):
                handler.wfile.write(b"--f\r\nContent-Length: %d\r\n\r\n" % len(frame) + frame + b"\r\n")
        except OSError:
            handler.close_connection = True

    def shallow(self, handler: BaseHTTPRequestHandler) -> None:
        """A gray PNG of 8 bits a value."""
        self._send(handler, cv2.imencode(".png", self._gray())[1].tobytes(), kind="image/png")

    def deep(self, handler: BaseHTTPRequestHandler) -> None:
        """The same picture in 16 bits a value of which 12 are significant, and it does not say so."""
        values = self._gray().astype(np.uint16) << 4
        self._send(handler, cv2.imencode(".png", values)[1].tobytes(), kind="image/png")

    def _gray(self) -> np.ndarray:
        return cv2.imdecode(np.frombuffer(self.frame, np.uint8), cv2.IMREAD_GRAYSCALE)

    def page(self, handler: BaseHTTPRequestHandler) -> None:
        self._send(handler, b"<html>log in</html>", kind="text/html")

    def error(self, handler: BaseHTTPRequestHandler) -> None:
        self._send(handler, b"broken", status=500)

    def silent(self, handler: BaseHTTPRequestHandler) -> None:
        self.release.wait(HANG_S)
        handler.close_connection = True

    def trickle(self, handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(self.frame)))
        handler.end_headers()
        for byte in self.frame[:500]:
            handler.wfile.write(bytes([byte]))
            if self.release.wait(0.02):
                break
        handler.close_connection = True

    def cut(self, handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(self.frame)))
        handler.end_headers()
        handler.wfile.write(self.frame[:1000])
        handler.close_connection = True

    def endless(self, handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
        try:
            while not self.release.is_set():
                handler.wfile.write(chunk)
        except OSError:
            handler.close_connection = True

    def closing(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer every second request, close the kept connection instead of answering the others."""
        if self.asked % 2 == 0:
            handler.close_connection = True
        else:
            self._send(handler, self.frame)

    def packed(self, handler: BaseHTTPRequestHandler) -> None:
        self._send(handler, self.frame, encoding="gzip")

    def close(self) -> None:
        self.release.set()
        self.server.shutdown()
        self.server.server_close()

    @staticmethod
    def _send(
        handler: BaseHTTPRequestHandler,
        body: bytes,
        *,
        status: int = 200,
        kind: str = "image/jpeg",
        encoding: str | None = None,
    ) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(body)))
        if encoding is not None:
            handler.send_header("Content-Encoding", encoding)
        handler.end_headers()
        handler.wfile.write(body)
