"""The head of an answer goes out with the first piece of its body, where one follows; else at once."""

from types import SimpleNamespace
from typing import Any

from lineside.buffered_http import LARGE_BODY, JoinedWrites


class Transport:
    """Keeps what is written, each call by itself."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.is_closed = False

    def write(self, data: bytes | memoryview) -> None:
        self.written.append(bytes(data))

    def writelines(self, parts: Any) -> None:
        self.written.append(b"+".join(parts))

    def close(self) -> None:
        self.is_closed = True


def cycle(*, chunked: bool | None = False, method: str = "GET") -> Any:
    return SimpleNamespace(
        transport=Transport(), response_started=True, chunked_encoding=chunked, scope={"method": method}
    )


def test_a_head_waits_for_the_first_piece() -> None:
    answered = cycle()
    writes = JoinedWrites(answered)
    writes.write(b"head")
    assert answered.transport.written == []
    for piece in (b"a", b"", b"b"):
        writes.write(piece)
    assert answered.transport.written == [b"heada", b"", b"b"]


def test_a_large_piece_is_not_copied() -> None:
    answered = cycle()
    writes = JoinedWrites(answered)
    writes.write(b"head")
    writes.write(bytes(LARGE_BODY + 1))
    assert answered.transport.written == [b"head+" + bytes(LARGE_BODY + 1)]


def test_a_head_that_no_body_follows_goes_at_once() -> None:
    for answered in (cycle(chunked=True), cycle(method="HEAD")):
        JoinedWrites(answered).write(b"head")
        assert answered.transport.written == [b"head"]


def test_what_comes_before_the_head_goes_at_once_and_an_end_leaves_nothing_behind() -> None:
    answered = cycle()
    answered.response_started = False
    writes = JoinedWrites(answered)
    writes.write(b"100 Continue")
    answered.response_started = True
    writes.write(b"head")
    writes.close()
    assert answered.transport.written == [b"100 Continue", b"head"]
    assert answered.transport.is_closed
