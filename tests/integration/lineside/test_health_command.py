"""`health` against servers that answer every way one can: what it says, and its exit status."""

import json
import socket
import threading
from collections.abc import Iterator

import pytest

from lineside import health


class Answering:
    """A TCP server that gives each connection the same bytes, and keeps what was asked."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.requests: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self.requests.append(connection.recv(65536))
                connection.sendall(self.answer)

    def close(self) -> None:
        if self._thread.is_alive():
            self._listener.shutdown(socket.SHUT_RDWR)
            self._thread.join()
            self._listener.close()


@pytest.fixture
def answering() -> Iterator[Answering]:
    server = Answering(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
    yield server
    server.close()


def http(status: int, body: object) -> bytes:
    return f"HTTP/1.1 {status} x\r\n\r\n{json.dumps(body)}".encode()


def test_ready_and_alive_are_asked_for_and_exit_0(answering: Answering, capsys: pytest.CaptureFixture[str]) -> None:
    assert health.main([], port=answering.port) == 0
    assert health.main(["--live"], port=answering.port) == 0
    assert [request.split()[1] for request in answering.requests] == [b"/readyz", b"/livez"]
    assert capsys.readouterr().out == "ready\nalive\n"


def test_the_host_header_is_one_that_the_service_takes(answering: Answering) -> None:
    health.main([], port=answering.port)
    assert f"\r\nHost: 127.0.0.1:{answering.port}\r\n".encode() in answering.requests[0]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (
            http(
                503,
                {
                    "state": "started",
                    "connections": [
                        {"name": "bus", "state": "ONLINE", "detail": "", "required": True},
                        {"name": "triton", "state": "BACKOFF", "detail": "refused\nby it", "required": True},
                        {"name": "s3", "state": "BACKOFF", "detail": "no route", "required": False},
                    ],
                },
            ),
            "503: started; triton BACKOFF: refused by it",
        ),
        (http(500, {"alive": False, "reason": "task x ended"}), "500: task x ended"),
        (http(503, {"state": "draining", "connections": []}), "503: draining"),
        (http(503, [1]), "503: says no reason"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n<html>", "502: says no reason"),
        (b"", "what answers is not a service of Lineside"),
        (b"SSH-2.0-OpenSSH\r\n", "what answers is not a service of Lineside"),
        (b"HTTP/1.1\r\n\r\n", "what answers is not a service of Lineside"),
    ],
)
def test_what_is_wrong_is_said_on_one_line(
    answering: Answering, capsys: pytest.CaptureFixture[str], answer: bytes, reason: str
) -> None:
    answering.answer = answer
    assert health.main([], port=answering.port) == 1
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert said.endswith(f"/readyz: {reason}\n")


def test_nobody_listens(answering: Answering, capsys: pytest.CaptureFixture[str]) -> None:
    answering.close()
    assert health.main([], port=answering.port) == 1
    assert f"127.0.0.1:{answering.port}/readyz: Connection refused" in capsys.readouterr().out


def test_a_service_that_says_nothing_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(health, "ANSWER_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert health.main([], port=silent.getsockname()[1]) == 1
    assert "no answer within 0.05 s" in capsys.readouterr().out
