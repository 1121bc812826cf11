import itertools

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineside_inference.errors import CameraFailed
from lineside_inference.sources.cameras.multipart import Parts, boundary_of


def jpeg(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (24, 32, 3), np.uint8)
    return cv2.imencode(".jpg", pixels)[1].tobytes()


FRAMES = [jpeg(seed) for seed in range(4)]
OTHERS = [b"BM" + bytes(range(200)), b"\x89PNG\r\n\x1a\n" + b"x\r\n" * 30]


def stream(bodies: list[bytes], *, length: str = "right", line: bytes = b"\r\n", boundary: bytes = b"--frame") -> bytes:
    sizes = {"right": 0, "short": -20, "long": 35, "huge": 10**11}
    parts = []
    for body in bodies:
        header = [boundary, b"Content-Type: image/jpeg"]
        if length != "none":
            header.append(b"content-LENGTH: %d" % (len(body) + sizes[length]))
        parts.append(line.join([*header, b"", body]))
    return line.join([*parts, boundary + b"--" + line])


def cut(data: bytes, at: list[int]) -> list[bytes]:
    edges = [0, *sorted({position % len(data) for position in at}), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


@given(
    length=st.sampled_from(["right", "none", "short", "long", "huge"]),
    line=st.sampled_from([b"\r\n", b"\n"]),
    declared=st.sampled_from([b"frame", None]),
    at=st.lists(st.integers(0, 10_000), max_size=40),
)
def test_every_frame_comes_out_however_the_bytes_arrive_and_whatever_length_is_declared(
    length: str, line: bytes, declared: bytes | None, at: list[int]
) -> None:
    parts = Parts(declared, max_bytes=100_000)
    data = stream(FRAMES, length=length, line=line)
    assert [body for chunk in cut(data, at) for body in parts.feed(chunk)] == FRAMES


@given(length=st.sampled_from(["right", "none"]), at=st.lists(st.integers(0, 10_000), max_size=40))
def test_what_is_no_jpeg_ends_at_its_boundary(length: str, at: list[int]) -> None:
    parts = Parts(b"frame", max_bytes=100_000)
    assert [body for chunk in cut(stream(OTHERS, length=length), at) for body in parts.feed(chunk)] == OTHERS


@pytest.mark.parametrize("length", ["right", "none"])
def test_a_frame_is_given_away_before_the_next_boundary(length: str) -> None:
    parts = Parts(b"frame", max_bytes=100_000)
    data = stream(FRAMES[:1], length=length)
    assert parts.feed(data[: data.rindex(b"\r\n--frame")]) == FRAMES[:1]
    assert parts.feed(data[data.rindex(b"\r\n--frame") :]) == []


def test_a_boundary_with_more_hyphens_than_declared_is_found() -> None:
    data = stream(FRAMES, boundary=b"----frame", length="none")
    assert Parts(boundary_of("multipart/x-mixed-replace; boundary=--frame"), max_bytes=100_000).feed(data) == FRAMES


@pytest.mark.parametrize(
    ("declared", "sent", "said"),
    [
        (b"frame", b"--frame\r\n\r\n" + bytes(2000), "a frame of more than 1000 bytes"),
        (b"frame", b"--frame\r\nContent-Length: 900\r\n\r\n" + bytes(2000), "a frame of more than 1000 bytes"),
        (b"other", bytes(2000), "no boundary '--other'"),
        (None, bytes(20_000), "no boundary in"),
        (b"frame", b"--frame\r\n" + b"x: y\r\n" * 5000, "header without an end"),
    ],
)
def test_what_never_ends_is_bounded(declared: bytes | None, sent: bytes, said: str) -> None:
    parts = Parts(declared, max_bytes=1000)

    def feed_all() -> None:
        for at in range(0, len(sent), 100):
            parts.feed(sent[at : at + 100])

    with pytest.raises(CameraFailed, match=said):
        feed_all()


@given(st.binary(max_size=3000), st.lists(st.integers(0, 3000), max_size=9))
def test_noise_raises_nothing_else_and_holds_no_more_than_the_bound(noise: bytes, at: list[int]) -> None:
    parts = Parts(b"a", max_bytes=500)
    try:
        for chunk in cut(noise + b"\r\n--a\r\n\r\n", at):
            parts.feed(chunk)
    except CameraFailed:
        pass
    assert len(parts._buffer) <= 16 * 1024 + 3100


TEXT = b"frame 17 of the day\r\n"


@pytest.mark.parametrize(
    ("announced", "sent"),
    [
        ("boundary=other", b"--frame"),
        ("boundary=FRAME", b"--frame"),
        ("boundary=frame", b"--FRAME"),
        ("boundary=frame", b"frame"),
        ("boundary=--frame", b"frame"),
        ("boundary=other", b"frame"),
        ("", b"frame"),
        ("boundary='frame'", b"--frame"),
        ("boundary='frame'", b"--'frame'"),
        ('boundary="--frame"', b"----frame"),
        ("boundary=gc0p4Jq0M2Yt08jU534c0p", b"--gc0p4Jq0M2Yt08jU534c0p"),
    ],
)
@pytest.mark.parametrize("length", ["right", "none", "short"])
@pytest.mark.parametrize("text_first", [False, True])
@pytest.mark.parametrize("line_end", [b"\r\n", b""])
@pytest.mark.parametrize("size", [3, 100_000])
def test_the_boundary_is_the_one_that_the_stream_has(
    announced: str, sent: bytes, length: str, line_end: bytes, size: int, *, text_first: bool
) -> None:
    data = b"\r\n" + sent + b"\r\nContent-Type: text/plain\r\n\r\n" + TEXT if text_first else b""
    for frame in FRAMES:
        data += sent + b"\r\nContent-Type: image/jpeg\r\n"
        if length != "none":
            data += b"Content-Length: %d\r\n" % (len(frame) - (20 if length == "short" else 0))
        data += b"\r\n" + frame + line_end
    parts = Parts(boundary_of(f"multipart/x-mixed-replace; {announced}"), max_bytes=100_000)
    found = [body for at in range(0, len(data), size) for body in parts.feed(data[at : at + size])]
    found += parts.feed(sent + b"\r\nContent-Type: image/jpeg\r\n\r\n")
    assert found == ([TEXT.removesuffix(b"\r\n")] if text_first else []) + FRAMES


def test_a_preamble_is_passed_over() -> None:
    data = b"This is a stream.\r\nIn parts: of one kind.\r\n\r\n" + stream(FRAMES)
    assert Parts(b"frame", max_bytes=100_000).feed(data) == FRAMES


def test_it_says_what_it_waits_for() -> None:
    parts = Parts(b"f", max_bytes=100_000)
    assert "no boundary '--f' in 0 bytes" in parts.waits_for
    parts.feed(b"\x00\x01 no boundary")
    assert "'--f' in 14 bytes of its stream, which begins with 00 01 20" in parts.waits_for
    parts.feed(b"\r\n--f\r\n\r\n" + FRAMES[0][:100])
    assert "100 bytes of a frame" in parts.waits_for


def test_a_part_with_an_end_marker_in_every_chunk_is_looked_at_once() -> None:
    """A comment holds an end marker at the end of each chunk: the walk goes on, it does not begin again."""
    segment = b"\xff\xfe" + (8000).to_bytes(2, "big") + bytes(7996) + b"\xff\xd9"
    parts = Parts(b"f", max_bytes=16_000_000)
    assert not parts.feed(b"--f\r\n\r\n\xff\xd8")
    assert parts._walk is not None
    for count in range(1, 1500):
        assert not parts.feed(segment)
        assert len(parts._walk.segments) == count
    assert parts.feed(b"\xff\xd9") == []  # no frame in it: not whole


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/x-mixed-replace; boundary='frame'", b"frame"),
        ("multipart/x-mixed-replace; boundary=frame", b"frame"),
        ("multipart/x-mixed-replace;boundary=--frame", b"frame"),
        ('Multipart/Mixed; charset=x; Boundary = "a b"', b"a b"),
        ("multipart/x-mixed-replace", None),
        ("multipart/x-mixed-replace; boundary=", None),
    ],
)
def test_the_declared_boundary(content_type: str, boundary: bytes | None) -> None:
    assert boundary_of(content_type) == boundary


@pytest.mark.parametrize("content_type", ["text/html", "", "image/jpeg", "x-multipart/mixed"])
def test_what_is_no_stream_is_named(content_type: str) -> None:
    with pytest.raises(CameraFailed, match="not multipart"):
        boundary_of(content_type)
