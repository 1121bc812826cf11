"""Shared memory by its id: read within its bounds, never written, and let go."""

from collections.abc import Iterator

import pytest
import structlog
import sysv_ipc

from lineside_inference.agent.segments import attached
from lineside_inference.errors import SharedMemoryInvalid, SharedMemoryRefused


@pytest.fixture
def segment() -> Iterator[sysv_ipc.SharedMemory]:
    made = sysv_ipc.SharedMemory(None, flags=sysv_ipc.IPC_CREX, mode=0o600, size=100)
    made.write(bytes(range(100)))
    made.mode = 0o400
    yield made
    made.detach()
    made.remove()


def read(segment_id: int, offset: int, size: int, *, strict: bool = True) -> bytes:
    with attached(segment_id, offset, size, strict=strict) as part:
        return bytes(part)


def test_a_part_is_read_and_the_segment_let_go(segment: sysv_ipc.SharedMemory) -> None:
    assert read(segment.id, 10, 5) == bytes(range(10, 15))
    assert read(segment.id, 0, 100) == bytes(range(100))
    assert segment.number_attached == 1


@pytest.mark.parametrize(
    ("offset", "size"), [(0, 101), (100, 1), (99, 2), (2**64 - 1, 2), (2**63, 2**63), (1, 2**64 - 1)]
)
def test_nothing_outside_is_read(segment: sysv_ipc.SharedMemory, offset: int, size: int) -> None:
    with pytest.raises(SharedMemoryInvalid, match="and it has 100"):
        read(segment.id, offset, size)
    assert segment.number_attached == 1


@pytest.mark.parametrize("mode", [0o600, 0o420, 0o402, 0o500])
def test_what_may_be_written_is_refused_when_strict_and_told_else(segment: sysv_ipc.SharedMemory, mode: int) -> None:
    segment.mode = mode
    with pytest.raises(SharedMemoryRefused, match=f"mode {mode:04o}"):
        read(segment.id, 0, 4)
    with structlog.testing.capture_logs() as logs:
        assert read(segment.id, 0, 4, strict=False) == bytes(range(4))
    assert logs[0]["segment"] == segment.id
    assert segment.number_attached == 1


@pytest.mark.parametrize("segment_id", [2**31 - 1, 2**31, 2**64 - 1])
def test_an_id_that_is_none_is_named(segment_id: int) -> None:
    with pytest.raises(SharedMemoryInvalid, match=str(segment_id)):
        read(segment_id, 0, 1)


def test_one_that_is_removed_is_named_with_the_containers_remedy() -> None:
    made = sysv_ipc.SharedMemory(None, flags=sysv_ipc.IPC_CREX, mode=0o400, size=100)
    made.detach()
    made.remove()
    with pytest.raises(SharedMemoryInvalid, match="ipc: host"):
        read(made.id, 0, 1)
