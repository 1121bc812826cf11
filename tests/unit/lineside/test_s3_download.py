"""What a download leaves of the store's answer: a connection that nobody reads to its end is closed at once."""

import errno
from typing import Any

import pytest

from lineside.s3_download import Changed, RemoteObject, fetch

CONTENT = bytes(1000)
WANTED = RemoteObject("models", "detector.onnx", len(CONTENT), "e1")


class Body:
    """An answer's body, of which a piece comes at a time."""

    def __init__(self) -> None:
        self.is_closed = False

    def iter_chunks(self, _size: int) -> Any:
        yield CONTENT[:100]
        yield CONTENT[100:]

    def close(self) -> None:
        self.is_closed = True


class Bucket:
    """A client whose object has so many bytes."""

    def __init__(self, size: int = len(CONTENT)) -> None:
        self.body, self.size = Body(), size

    def get_object(self, **_asked: str) -> dict[str, Any]:
        return {"Body": self.body, "ContentLength": self.size}


class FullDisk:
    def begin(self) -> int:
        return 0

    def write(self, _chunk: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_disk_that_is_full_ends_the_answer() -> None:
    bucket: Any = Bucket()
    with pytest.raises(OSError, match="No space left"):
        fetch(bucket, WANTED, FullDisk(), lambda _seconds: None)
    assert bucket.body.is_closed


def test_an_object_of_another_size_ends_the_answer() -> None:
    bucket: Any = Bucket(size=999)
    with pytest.raises(Changed):
        fetch(bucket, WANTED, FullDisk(), lambda _seconds: None)
    assert bucket.body.is_closed
