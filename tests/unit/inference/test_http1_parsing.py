import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineside_inference.http1.body_reader import BodyReader
from lineside_inference.http1.response_head import read_head


@pytest.mark.parametrize(
    ("lines", "headers"),
    [
        (b"\r\nA: b", [("a", "b")]),
        (b"\nA: b\n c\n\td", [("a", "b c d")]),
        (b"\r\n folded onto nothing\r\n: x\r\nno name\r\nb c: d\r\nE : f", [("e", "f")]),
        (b"\r\nA: b\x00c\x0bd\re", [("a", "b c d e")]),
        (b"\r\nContent-Length: 5", [("content-length", "5")]),
    ],
)
def test_the_headers(lines: bytes, headers: list[tuple[str, str]]) -> None:
    assert list(read_head(b"HTTP/1.1 200 OK" + lines).headers) == headers


@pytest.mark.parametrize(
    ("head", "is_chunked", "length", "can_keep"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5", False, 5, True),
        (b"HTTP/1.1 200\r\nContent-Length: 5\r\nContent-Length: 5,5", False, 5, True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: Close", False, 5, False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 5", False, 5, False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: Keep-Alive", False, 5, True),
        (b"HTTP/1.1 200 OK", False, None, False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked", True, None, True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5", True, None, False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 5", False, 5, True),
        (b"HTTP/1.1 204 None\r\nContent-Length: 5", False, 0, True),
        (b"HTTP/1.1 100 Continue\r\nTransfer-Encoding: chunked", False, 0, True),
    ],
)
def test_where_the_body_ends(head: bytes, length: int | None, *, is_chunked: bool, can_keep: bool) -> None:
    found = read_head(head)
    assert (found.is_chunked, found.length, found.can_keep) == (is_chunked, length, can_keep)


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (b"SSH-2.0-x", "begins with b'SSH-2.0-x'"),
        (b"HTTP/2 200", "begins with"),
        (b"HTTP/1.1 999 x", "begins with"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6", "'5 and 6'"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: five", "'five'"),
        (b"HTTP/1.1 200 OK\r\nContent-Length:", "''"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000, "'999"),
    ],
)
def test_what_cannot_be_mended_is_named(head: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_head(head)


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_whatever_stands_there_is_headers_or_an_error(lines: list[bytes]) -> None:
    try:
        found = read_head(b"\r\n".join([b"HTTP/1.1 200 OK", *lines]))
    except ValueError:
        return
    assert not any(ord(letter) < 32 and letter != "\t" for pair in found.headers for letter in "".join(pair))


CONTENT = b"\nABC\r\n" + bytes(range(256)) * 2


@given(
    cuts=st.lists(st.integers(1, len(CONTENT) - 1), max_size=4),
    end=st.sampled_from([b"\r\n", b"\n"]),
    behind=st.sampled_from([b"\r\n", b"\n", b""]),
    blanks=st.sampled_from([b"", b" ", b"  ;x=y"]),
    trailers=st.sampled_from([b"", b"X-Sum: 1\r\n"]),
    size=st.integers(1, 600),
)
def test_chunks_however_they_are_written_and_arrive(
    cuts: list[int], end: bytes, behind: bytes, blanks: bytes, trailers: bytes, size: int
) -> None:
    edges = sorted({0, len(CONTENT), *cuts})
    pieces = [CONTENT[a:b] for a, b in itertools.pairwise(edges)]
    sent = b"".join(b"%X" % len(piece) + blanks + end + piece + behind for piece in pieces)
    sent += b"0" + end + trailers + end
    body = BodyReader(is_chunked=True, length=None)
    found = b""
    for at in range(0, len(sent), size):
        assert not body.is_done
        found += b"".join(body.feed(sent[at : at + size]))
    assert body.is_done
    assert found == CONTENT


@pytest.mark.parametrize("sent", [b"xyz\r\n", b"-5\r\n", b"5\r\nhello\r\n\r\n\r\n", b"1" * 20 + b"\r\n", b"5 5\r\n"])
def test_what_is_no_chunk_is_named(sent: bytes) -> None:
    body = BodyReader(is_chunked=True, length=None)
    with pytest.raises(ValueError, match="the size of a chunk is"):
        body.feed(sent)


@pytest.mark.parametrize("sent", [b"x: y\r\n" * 1000, b"x" * 6000, b"\r", b"5;" + b"x" * 100])
def test_what_stands_beside_the_content_is_bounded(sent: bytes) -> None:
    body = BodyReader(is_chunked=True, length=None)
    body.feed(b"5\r\nhello\r\n" + (b"0\r\n" if b":" in sent else b""))

    def feed_for_ever() -> None:
        for _ in range(70_000):
            body.feed(sent)

    with pytest.raises(ValueError, match="beside its body"):
        feed_for_ever()
    assert len(body._line) <= 70_000
