"""Snapshot, MJPEG and url sources against real servers on the loopback, well-behaved and not."""

import asyncio
import contextlib
import re
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import trustme

from lineside.connections import State
from lineside_inference.errors import (
    CameraFailed,
    CameraStale,
    CameraTimeout,
    UrlFailed,
    UrlNotAllowed,
    UrlTimeout,
)
from lineside_inference.settings import UrlSettings
from lineside_inference.sources.cameras.camera import Camera
from lineside_inference.sources.urls import Urls
from tests.support.cameras import watched
from tests.support.deadlines import within
from tests.support.waiting import HANG_S, until

MAX_BYTES = 200_000
FRAME = cv2.imencode(".jpg", np.random.default_rng(3).integers(0, 255, (48, 64, 3), np.uint8))[1].tobytes()
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n"
MULTIPART = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=f\r\n\r\n"

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter, bytes], Awaitable[None]]


class Peer:
    """A real server that answers each request as it is told."""

    def __init__(self, answer: Answer, tls: ssl.SSLContext | None = None) -> None:
        self.answer = answer
        self.asked: list[bytes] = []
        self.connections = 0
        self.port = 0
        self._tls = tls
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._server.close()
        for task in set(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        gone = (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError, asyncio.CancelledError)
        with contextlib.suppress(*gone):
            while True:
                request = await reader.readuntil(b"\r\n\r\n")
                self.asked.append(request)
                await self.answer(reader, writer, request)
                await writer.drain()
        self._tasks.discard(task)
        writer.transport.abort()


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Awaitable[Peer]]]:
    peers: list[Peer] = []

    async def start(answer: Answer, **options: Any) -> Peer:
        peer = Peer(answer, **options)
        await peer.start()
        peers.append(peer)
        return peer

    yield start
    for peer in peers:
        await peer.stop()


@pytest.fixture
async def watch() -> AsyncIterator[Callable[..., Camera]]:
    """Make and start one camera; ended with the test."""
    async with watched(max_bytes=MAX_BYTES, max_pixels=1_000_000, timeout_ms=30_000) as make:
        yield make


async def grab(camera: Camera, seconds: float = 5) -> bytes:
    return (await camera.grab(time.monotonic(), within(seconds))).data


def sends(data: bytes, *, close: bool = False) -> Answer:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _request: bytes) -> None:
        writer.write(data)
        if close:
            await writer.drain()
            writer.write_eof()
            await reader.read()
            raise ConnectionResetError

    return answer


def whole(body: bytes) -> bytes:
    return HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body


# Snapshot


@pytest.mark.parametrize(
    ("data", "close"),
    [
        (whole(FRAME), False),
        (HEAD + b"\r\n" + FRAME, True),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(FRAME) + FRAME + b"\r\n0\r\n\r\n", False),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + whole(FRAME), False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(FRAME) + FRAME, True),
    ],
)
async def test_a_snapshot_comes_in_every_way_that_http_has(serve: Any, watch: Any, data: bytes, close: bool) -> None:
    peer = await serve(sends(data, close=close))
    camera = watch(url=peer.url)
    for _ in range(3):
        assert await grab(camera) == FRAME
    assert camera.connection.state is State.ONLINE


@pytest.mark.parametrize(
    ("data", "close", "said"),
    [
        (HEAD + b"Content-Length: 9999\r\n\r\n" + FRAME[:500], True, "closed the connection after 500 bytes"),
        (HEAD + b"Content-Length: 99999999\r\n\r\n", False, "more than 200000 bytes"),
        (HEAD + b"\r\n" + bytes(300_000), True, "more than 200000 bytes"),
        (b"SSH-2.0-OpenSSH\r\n", False, "no HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 20_000, False, "header is larger"),
        (b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", False, "answered 302 Found"),
        (b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", False, "Give username and password_file"),
        (HEAD + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", False, "answered 0 bytes"),
        (HEAD + b"Content-Length: 4\r\nContent-Length: 9\r\n\r\n" + FRAME, False, "Content-Length is '4 and 9'"),
        (HEAD + b"Content-Length: -1\r\n\r\n" + FRAME, False, "Content-Length is '-1'"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", False, "no HTTP"),
        (whole(b"<html>"), False, "no JPEG, PNG, BMP"),
        (b"", True, "closed the connection before its answer"),
    ],
)
async def test_a_snapshot_that_lies_is_named(serve: Any, watch: Any, data: bytes, close: bool, said: str) -> None:
    camera = watch(url=(await serve(sends(data, close=close))).url)
    with pytest.raises(CameraFailed, match=said):
        await grab(camera)
    assert "the last frame failed" in camera.connection.detail or not camera.connection.is_online


CHUNKED = b"%x\r\n" % len(FRAME) + FRAME + b"\r\n0\r\n\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(FRAME)


@pytest.mark.parametrize(
    "data",
    [
        whole(FRAME).replace(b"\r\n", b"\n", 3),
        HEAD.replace(b"\r\n", b"\n") + b"Transfer-Encoding: chunked\n\n" + b"%x\n" % len(FRAME) + FRAME + b"\n0\n\n",
        HEAD + b": nobody\r\n" + LENGTH + b"\r\n" + FRAME,
        HEAD + b"a line without a name\r\n" + LENGTH + b"\r\n" + FRAME,
        HEAD + b"Two words: x\r\nX-\xe9: y\r\n" + LENGTH + b"\r\n" + FRAME,
        HEAD + b"Content-Length: 17\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKED,
        HEAD + b"Transfer-Encoding: Chunked\r\n" + LENGTH + LENGTH + b"\r\n" + CHUNKED,
        HEAD + LENGTH + LENGTH + b"\r\n" + FRAME,
        HEAD + b"content-length: %d, %d\r\n\r\n" % (len(FRAME), len(FRAME)) + FRAME,
        HEAD + b"Content-Length : %d\r\n\r\n" % len(FRAME) + FRAME,
        HEAD + b"X-Note: one\r\n two\r\n\tthree\r\n" + LENGTH + b"\r\n" + FRAME,
        HEAD + b"Content-Length:\r\n %d\r\n\r\n" % len(FRAME) + FRAME,
        HEAD + b"Transfer-Encoding: identity\r\n" + LENGTH + b"\r\n" + FRAME,
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKED.replace(b"\r\n", b"  \r\n", 1),
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKED.replace(b"0\r\n\r\n", b"0\r\nX-Sum: 1\r\n\r\n"),
        b"\r\n" + whole(FRAME),
        whole(FRAME).replace(b"200 OK", b"200"),
        whole(FRAME).replace(b"HTTP/1.1 200 OK", b"HTTP/1.0  200  OK"),
        b"HTTP/1.1 100 Continue\n\n" + whole(FRAME),
    ],
)
async def test_a_snapshot_comes_from_a_camera_that_breaks_the_standard(serve: Any, watch: Any, data: bytes) -> None:
    async def in_pieces(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _request: bytes) -> None:
        for at in range(0, len(data), 50):
            writer.write(data[at : at + 50])
            await writer.drain()

    for answer in (sends(data), in_pieces):
        camera = watch(url=(await serve(answer)).url)
        for _ in range(2):
            assert await grab(camera) == FRAME
        assert camera.connection.state is State.ONLINE


@pytest.mark.parametrize(
    "endless",
    [
        CHUNKED[:-2] + b"x: y\r\n" * 200_000,
        b"5;" + b"x" * 1_000_000,
        CHUNKED[:-2] + b"a" * 1_000_000,
    ],
    ids=["trailers", "an extension", "a trailer"],
)
async def test_what_stands_beside_the_body_is_bounded_and_not_kept(serve: Any, watch: Any, endless: bytes) -> None:
    peer = await serve(sends(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + endless))
    with pytest.raises(CameraFailed, match=r"beside its body|no HTTP"):
        await grab(watch(url=peer.url))


async def test_a_silent_snapshot_is_given_up_in_time_and_its_connection_not_used_again(serve: Any, watch: Any) -> None:
    peer = await serve(sends(b""))
    camera = watch(url=peer.url)
    with pytest.raises(CameraTimeout, match="within 50 ms"):
        await grab(camera, 0.05)
    peer.answer = sends(whole(FRAME))
    assert await grab(camera) == FRAME


async def test_a_snapshot_camera_that_comes_back_is_online_without_being_asked(serve: Any, watch: Any) -> None:
    peer = await serve(sends(whole(FRAME)))
    camera = watch(url=peer.url)
    await until(lambda: camera.connection.is_online)
    assert peer.asked == []  # it was connected to, and no picture taken
    assert await grab(camera) == FRAME
    await peer.stop()
    with pytest.raises(CameraFailed, match="cannot be reached"):
        await grab(camera)
    await until(lambda: camera.connection.state is State.BACKOFF)
    await peer.start()
    await until(lambda: camera.connection.is_online)
    assert await grab(camera) == FRAME


async def test_the_warm_up_of_a_snapshot_camera_asks_for_pictures_at_the_start(serve: Any, watch: Any) -> None:
    peer = await serve(sends(whole(FRAME)))
    camera = watch(url=peer.url, warmup_frames=3)
    await until(lambda: camera.connection.is_online)
    assert len(peer.asked) == camera.frames["discarded"] == 3


@pytest.mark.parametrize("kind", ["snapshot", "mjpeg"])
@pytest.mark.parametrize("challenge", ["Basic realm=x", 'Digest realm="x", nonce="n", qop="auth", algorithm=SHA-256'])
async def test_the_password_is_given_when_asked_for(
    serve: Any, watch: Any, tmp_path: Path, kind: str, challenge: str
) -> None:
    (tmp_path / "password").write_text("secret\n")

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> None:
        if b"\r\nAuthorization: " + challenge.partition(" ")[0].encode() not in request:
            writer.write(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\nWWW-Authenticate: %s\r\n\r\n" % challenge.encode())
        elif kind == "snapshot":
            writer.write(whole(FRAME))
        else:
            writer.write(MULTIPART + b"--f\r\n\r\n" + FRAME + b"\r\n--f\r\n")

    peer = await serve(answer)
    camera = watch(
        kind=kind,
        url=f"{peer.url}/?key=hidden",
        username="op",
        password_file=tmp_path / "password",
        **({} if kind == "snapshot" else {"allow_older_ms": 60_000}),
    )
    assert await grab(camera) == FRAME
    assert b"Authorization" not in peer.asked[0]
    assert b"hidden" in peer.asked[0]
    assert not any(word in str(camera.connection.as_dict()) for word in ("secret", "hidden"))


# MJPEG


class Stream:
    """Sends numbered frames, each when it is told to, or all the time."""

    def __init__(self, head: bytes = MULTIPART) -> None:
        self.head = head
        self.sent = 0
        self.due = asyncio.Semaphore(0)

    async def __call__(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _request: bytes) -> None:
        writer.write(self.head)
        while True:
            await writer.drain()
            await self.due.acquire()
            self.sent += 1
            body = FRAME[:-2] + b"\xff\xfe\x00\x04%02d" % (self.sent % 100) + FRAME[-2:]
            writer.write(b"--f\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(body) + body + b"\r\n")


def number(data: bytes) -> int:
    return int(data[-4:-2])


async def test_the_newest_frame_of_a_stream_is_taken_and_an_older_one_never(serve: Any, watch: Any) -> None:
    stream = Stream()
    camera = watch(kind="mjpeg", url=(await serve(stream)).url)
    for _ in range(5):
        stream.due.release()
    await until(lambda: camera.frames["kept"] + camera.frames["skipped"] == 5)
    with pytest.raises(CameraStale, match="older than the trigger"):
        await grab(camera, 0.05)
    waiting = asyncio.ensure_future(camera.grab(time.monotonic(), within(HANG_S)))
    stream.due.release()
    frame = await waiting
    assert number(frame.data) == 6
    assert 0 <= frame.age_ms() < 1000


async def test_a_stream_whose_server_restarts_is_back_by_itself(serve: Any, watch: Any) -> None:
    stream = Stream()
    peer = await serve(stream)
    camera = watch(kind="mjpeg", url=peer.url, warmup_frames=1)
    stream.due.release()
    stream.due.release()
    await until(lambda: camera.connection.is_online)
    await peer.stop()
    await until(lambda: camera.connection.state is State.BACKOFF)
    with pytest.raises(CameraFailed, match="away"):
        await grab(camera, 0.05)
    await peer.start()
    stream.due.release()
    stream.due.release()
    await until(lambda: camera.frames["kept"] == 2)
    assert camera.connection.is_online
    assert camera.frames["discarded"] == 2


@pytest.mark.parametrize(
    ("data", "close", "said"),
    [
        (whole(b"<html>log in</html>").replace(b"image/jpeg", b"text/html"), False, "'text/html', not multipart"),
        (whole(b"").replace(b"200 OK", b"404 Gone"), False, "answered 404 Gone"),
        (MULTIPART + bytes(300_000), False, "no boundary '--f'"),
        (MULTIPART + b"--f\r\n\r\n" + bytes(300_000), False, "a frame of more than 200000 bytes"),
        (MULTIPART + b"--f\r\n\r\n<html></html>\r\n--f\r\n\r\n", False, "parts that are no JPEG"),
        (MULTIPART + b"--f\r\n\r\n" + FRAME, True, "its stream ended"),
        (MULTIPART.replace(b"; boundary=f", b"") + bytes(300_000), False, "no boundary in"),
        (b"nonsense", False, "no HTTP"),
    ],
)
async def test_a_stream_that_lies_is_named_and_tried_again(
    serve: Any, watch: Any, data: bytes, close: bool, said: str
) -> None:
    peer = await serve(sends(data, close=close))
    camera = watch(kind="mjpeg", url=peer.url, timeout_ms=2000)
    await until(lambda: said in camera.connection.detail and camera.connection.state is State.BACKOFF)
    good = Stream()
    peer.answer = good
    for _ in range(3):
        good.due.release()
    await until(lambda: camera.connection.is_online)


@pytest.mark.parametrize(
    ("announced", "sent"),
    [("other", b"--f"), ("F", b"--f"), ("f", b"f"), ("'f'", b"--f"), ('"--f"', b"----f"), ("other", b"frame")],
)
async def test_a_stream_with_another_boundary_than_announced_is_seen(
    serve: Any, watch: Any, announced: str, sent: bytes
) -> None:
    head = MULTIPART.replace(b"boundary=f", b"boundary=" + announced.encode())
    text = sent + b"\r\nContent-Type: text/plain\r\n\r\nhello\r\n"
    part = sent + b"\r\nContent-Type: image/jpeg\r\n\r\n" + FRAME
    camera = watch(kind="mjpeg", url=(await serve(sends(head + text + part * 3 + text + part))).url, most_fps=1000)
    assert (await camera.grab(0.0, within(5))).data == FRAME
    assert camera.connection.is_online


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"no boundary at all", "no boundary '--f' in 18 bytes of its stream, which begins with 6e 6f"),
        (b"--f\r\nContent-Type: image/jpeg\r\n\r\n" + FRAME[:300], "300 bytes of a frame came"),
        (b"--f\r\n\r\nhello\r\n--f\r\n\r\n", "parts that are no JPEG"),
        (b"", "no boundary '--f' in 0 bytes|has not answered"),
    ],
)
async def test_a_stream_without_a_frame_says_why(
    serve: Any, watch: Any, monkeypatch: pytest.MonkeyPatch, data: bytes, said: str
) -> None:
    monkeypatch.setattr("lineside_inference.sources.cameras.live.LEAST_SILENCE_S", 0.3)
    camera = watch(kind="mjpeg", url=(await serve(sends(MULTIPART + data))).url, timeout_ms=300)
    await until(lambda: re.search(said, camera.connection.detail))


async def test_a_stream_that_falls_silent_is_opened_again(
    serve: Any, watch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lineside_inference.sources.cameras.live.LEAST_SILENCE_S", 0.05)
    stream = Stream()
    peer = await serve(stream)
    camera = watch(kind="mjpeg", url=peer.url, timeout_ms=500)  # to connect within, on any machine
    stream.due.release()
    await until(lambda: camera.connection.is_online)
    await until(lambda: peer.connections >= 2)
    assert camera.connection.attempts >= 0
    stream.due.release()
    stream.due.release()
    await until(lambda: camera.frames["kept"] >= 2)


async def test_a_damaged_frame_of_a_stream_is_passed_over(serve: Any, watch: Any) -> None:
    cut = FRAME[:200] + FRAME[-2:]
    damaged = b"--f\r\nContent-Length: %d\r\n\r\n" % len(cut) + cut + b"\r\n"
    good = b"--f\r\nContent-Length: %d\r\n\r\n" % len(FRAME) + FRAME + b"\r\n"
    camera = watch(kind="mjpeg", url=(await serve(sends(MULTIPART + damaged + good + damaged))).url, most_fps=1000)
    await until(lambda: camera.frames["refused"] >= 1)
    assert (await camera.grab(0.0, within(HANG_S))).data == FRAME


async def test_a_flood_does_not_take_the_event_loop(serve: Any, watch: Any) -> None:
    part = b"--f\r\nContent-Length: %d\r\n\r\n" % len(FRAME) + FRAME + b"\r\n"

    async def flood(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _request: bytes) -> None:
        writer.write(MULTIPART)
        while True:
            writer.write(part * 50)
            await writer.drain()

    camera = watch(kind="mjpeg", url=(await serve(flood)).url, most_fps=20)
    await until(lambda: camera.frames["kept"] >= 5)
    assert camera.frames["skipped"] > camera.frames["kept"]
    start = time.monotonic()
    frame = await camera.grab(start, within(HANG_S))
    assert frame.clock >= start


async def test_a_network_stream_through_opencv_gives_its_password_and_comes_back(
    serve: Any, watch: Any, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text("se/cr@t:\n")
    stream = Stream()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> None:
        if b"\r\nAuthorization: Basic b3A6c2UvY3JAdDo=\r\n" in request:
            await stream(reader, writer, request)
        writer.write(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\nWWW-Authenticate: Basic realm=x\r\n\r\n")

    peer = await serve(answer)
    settings = {"username": "op", "password_file": tmp_path / "password"}
    camera = watch(kind="stream", url=f"{peer.url}/live", **settings)

    async def feed() -> None:
        while True:
            stream.due.release()
            await asyncio.sleep(0.01)

    feeding = asyncio.ensure_future(feed())
    try:
        for _ in range(2):
            trigger = time.monotonic()
            frame = await camera.grab(trigger, within(HANG_S))
            assert frame.pixels is not None
            assert frame.pixels.shape == (48, 64, 3)
            assert frame.clock >= trigger
            await peer.stop()
            await until(lambda: camera.connection.state is not State.ONLINE)
            await peer.start()
            await until(lambda: camera.connection.is_online)
    finally:
        feeding.cancel()


# url


def urls(*hosts: Any, answers: dict[str, list[str]] | None = None, **settings: Any) -> Urls:
    async def resolve(host: str, _port: int) -> list[str]:
        try:
            return (answers or {})[host]
        except KeyError:
            raise OSError(-2, "Name or service not known") from None

    document = {"hosts": hosts, "timeout_ms": 30_000} | settings
    return Urls(UrlSettings.model_validate(document), max_bytes=MAX_BYTES, resolve=resolve)


def entry(peer: Peer, host: str = "images.plant") -> dict[str, Any]:
    return {"host": host, "ports": [peer.port], "private": True}


HERE = {"images.plant": ["127.0.0.1"]}


async def test_an_allowed_url_is_fetched_with_its_own_name(serve: Any) -> None:
    peer = await serve(sends(whole(FRAME)))
    source = urls(entry(peer), answers=HERE)
    for _ in range(2):
        frame = await source.fetch(f"http://images.plant:{peer.port}/a?b=1", within(HANG_S))
        assert frame.data == FRAME
    assert peer.asked[0].startswith(b"GET /a?b=1 HTTP/1.1\r\nHost: images.plant:%d\r\n" % peer.port)
    assert peer.connections == 1
    source.close()


async def test_a_name_that_leads_to_a_private_address_is_never_connected_to(serve: Any) -> None:
    peer = await serve(sends(whole(FRAME)))
    source = urls({"host": "images.plant", "ports": [peer.port]}, answers=HERE)
    with pytest.raises(UrlNotAllowed, match=r"leads to 127\.0\.0\.1"):
        await source.fetch(f"http://images.plant:{peer.port}/", within(HANG_S))
    assert peer.connections == 0


async def test_a_name_is_looked_up_once_and_what_was_checked_is_connected_to(serve: Any) -> None:
    """A server of names that answers something else the second time gains nothing."""
    peer = await serve(sends(whole(FRAME)))
    asked = 0

    async def rebinding(_host: str, _port: int) -> list[str]:
        nonlocal asked
        asked += 1
        return ["203.0.113.1" if asked == 1 else "127.0.0.1"]

    settings = UrlSettings.model_validate(
        {"hosts": [{"host": "images.plant", "ports": [peer.port]}], "timeout_ms": 200}
    )
    source = Urls(settings, max_bytes=MAX_BYTES, resolve=rebinding)
    with pytest.raises(UrlNotAllowed):  # a documentation address: nobody's, and no public one
        await source.fetch(f"http://images.plant:{peer.port}/", within(HANG_S))
    with pytest.raises(UrlNotAllowed, match=r"127\.0\.0\.1"):
        await source.fetch(f"http://images.plant:{peer.port}/", within(HANG_S))
    assert (asked, peer.connections) == (2, 0)


async def test_tls_is_checked_against_the_name_not_the_address(serve: Any, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    seen: list[str | None] = []
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("images.plant").configure_cert(tls)
    tls.sni_callback = lambda _socket, name, _context: seen.append(name)  # type: ignore[assignment,misc]
    peer = await serve(sends(whole(FRAME)), tls=tls)
    answers = HERE | {"other.plant": ["127.0.0.1"]}
    source = urls(entry(peer), entry(peer, "other.plant"), answers=answers, ca_file=tmp_path / "ca.pem")
    assert (await source.fetch(f"https://images.plant:{peer.port}/", within(HANG_S))).data == FRAME
    assert seen == ["images.plant"]
    with pytest.raises(UrlFailed, match="certificate verify failed"):
        await source.fetch(f"https://other.plant:{peer.port}/", within(HANG_S))
    source.close()
    with pytest.raises(UrlFailed, match="certificate verify failed"):
        await urls(entry(peer), answers=HERE).fetch(f"https://images.plant:{peer.port}/", within(HANG_S))


@pytest.mark.parametrize(
    ("data", "close", "said"),
    [
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n", False, "not followed"),
        (HEAD + b"Content-Length: 99999999\r\n\r\n", False, "more than 200000 bytes"),
        (HEAD + b"\r\n" + bytes(300_000), True, "more than 200000 bytes"),
        (whole(b"<html>"), False, "no JPEG, PNG, BMP"),
        (HEAD + b"Content-Encoding: gzip\r\nContent-Length: 0\r\n\r\n", False, "encoding 'gzip'"),
        (HEAD + b"Content-Length: 9999\r\n\r\n" + FRAME[:500], True, "closed the connection"),
    ],
)
async def test_a_url_that_lies_is_named(serve: Any, data: bytes, close: bool, said: str) -> None:
    peer = await serve(sends(data, close=close))
    source = urls(entry(peer), answers=HERE)
    with pytest.raises(UrlFailed, match=said):
        await source.fetch(f"http://images.plant:{peer.port}/", within(HANG_S))
    source.close()


async def test_a_url_that_is_slow_or_gone_or_unknown_is_named(serve: Any) -> None:
    peer = await serve(sends(HEAD))
    source = urls(entry(peer), entry(peer, "nobody.plant"), answers=HERE)
    with pytest.raises(UrlTimeout, match="within 50 ms"):
        await source.fetch(f"http://images.plant:{peer.port}/", within(0.05))
    with pytest.raises(UrlFailed, match="its name is not known"):
        await source.fetch(f"http://nobody.plant:{peer.port}/", within(HANG_S))
    await peer.stop()
    with pytest.raises(UrlFailed, match="cannot be reached"):
        await source.fetch(f"http://images.plant:{peer.port}/", within(HANG_S))
    source.close()
    await peer.start()


async def test_the_real_resolver_knows_the_loopback() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        settings = UrlSettings.model_validate({"hosts": [f"localhost:{port}"]})
        with pytest.raises(UrlNotAllowed, match="no public address"):
            await Urls(settings, max_bytes=MAX_BYTES).fetch(f"http://localhost:{port}/", within(HANG_S))
