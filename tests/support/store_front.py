"""A server before the simulated S3: it gives scripted answers, compares checksums as a real store does, and counts."""

import base64
import hashlib
import http.client
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.waiting import HANG_S


@dataclass
class Answer:
    """One answer in place of the store's; `elements` stand in it beside the code, `body` in place of it all.

    Headers with another Content-Length than the body's cut it off.
    """

    status: int
    code: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    elements: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None

    def content(self) -> bytes:
        if self.body is not None:
            return self.body
        inner = {"Code": self.code, "Message": f"told to say {self.code}", **self.elements}
        text = "".join(f"<{name}>{value}</{name}>" for name, value in inner.items())
        return f'<?xml version="1.0" encoding="UTF-8"?><Error>{text}</Error>'.encode()


@dataclass
class Asked:
    """A request as it came."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    size: int


class Front(ThreadingHTTPServer):
    """An HTTP server before the store at `port`. `answer` is asked for each request; None lets it pass."""

    daemon_threads = True

    def __init__(self, port: int, *, certificate: Path | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.store_port = port
        self.answer: Callable[[Asked], Answer | None] = lambda _asked: None
        self.damage: Callable[[Asked, bytes], bytes] = lambda _asked, body: body
        self.asked: list[Asked] = []
        self.stored: list[str] = []
        """Paths of what the store took, in order."""
        self.port = self.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
            self.url = f"https://localhost:{self.port}"
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, *_about: object) -> None:
        """Say nothing of clients that hang up."""

    def count(self, method: str) -> int:
        return sum(asked.method == method for asked in self.asked)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Front

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        asked = self._asked(len(body))
        self.server.asked.append(asked)
        if "Expect" not in self.headers and (scripted := self.server.answer(asked)) is not None:
            self._say(scripted.status, scripted.headers, scripted.content())
            return
        body = self.server.damage(asked, body)
        if _is_whole(asked.headers, body):
            self._pass_on(body)
        else:
            self._say(400, {}, Answer(400, "BadDigest").content())

    do_GET = do_POST = do_DELETE = do_HEAD = do_PUT  # noqa: N815 - names of http.server

    def handle_expect_100(self) -> bool:
        """Refuse before the body comes, as a store does."""
        asked = self._asked(0)
        scripted = self.server.answer(asked)
        if scripted is None:
            return super().handle_expect_100()
        self.server.asked.append(asked)
        self.close_connection = True
        self._say(scripted.status, scripted.headers, scripted.content())
        return False

    def log_message(self, *_words: object) -> None:
        """Say nothing of each request."""

    def _pass_on(self, body: bytes) -> None:
        link = http.client.HTTPConnection("127.0.0.1", self.server.store_port, timeout=HANG_S)
        try:
            passed = {name: value for name, value in self.headers.items() if name not in {"Expect", "Connection"}}
            link.request(self.command, self.path, body, passed)
            answer = link.getresponse()
            dropped = {"Connection", "Server"} | (set() if self.command == "HEAD" else {"Content-Length"})
            kept = {n: v for n, v in answer.getheaders() if n not in dropped}
            if self.command == "PUT" and answer.status == HTTPStatus.OK:
                self.server.stored.append(urlsplit(self.path).path)
            self._say(answer.status, kept, answer.read())
        finally:
            link.close()

    def _asked(self, size: int) -> Asked:
        address = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        return Asked(self.command, address.path, address.query, headers, size)

    def _say(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response_only(status)
        said = {"Content-Length": str(len(body)), **headers}
        self.close_connection |= said["Content-Length"] != str(len(body))
        for name, value in said.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _is_whole(headers: dict[str, str], body: bytes) -> bool:
    """Return whether a body is what its checksums say, all of them."""
    sha256 = hashlib.sha256(body)
    made = {
        "content-md5": base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode(),
        "x-amz-checksum-sha256": base64.b64encode(sha256.digest()).decode(),
        "x-amz-content-sha256": sha256.hexdigest(),
    }
    return all(headers.get(name, value) == value for name, value in made.items())
