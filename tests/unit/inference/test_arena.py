import asyncio
import os
from pathlib import Path

import pytest

from lineside_inference.engine.arena import PREFIX, Arena, clean_leftovers
from tests.support.deadlines import within


def region(folder: Path) -> tuple[str, bytes]:
    (path,) = folder.iterdir()
    return path.name, path.read_bytes()


def region_name(arena: Arena) -> str:
    assert arena.key is not None
    return arena.key.lstrip("/")


@pytest.fixture
def arena(tmp_path: Path) -> Arena:
    return Arena(slot_bytes=5000, slots=2, folder=tmp_path)


async def test_slots_are_pages_that_do_not_overlap(arena: Arena, tmp_path: Path) -> None:
    first, second = await arena.acquire(within()), await arena.acquire(within())
    first.memory[:] = 1
    second.memory[:] = 2
    name, content = region(tmp_path)
    assert arena.slot_bytes == 8192
    assert content[first.offset : first.offset + 8192] == b"\1" * 8192
    assert content[second.offset : second.offset + 8192] == b"\2" * 8192
    assert arena.key == f"/{name}"


async def test_none_free_waits_until_the_deadline(arena: Arena) -> None:
    slots = [await arena.acquire(within()) for _ in range(2)]
    with pytest.raises(TimeoutError):
        await arena.acquire(within(0.01))
    waiting = asyncio.create_task(arena.acquire(within()))
    await asyncio.sleep(0)
    slots[0].release()
    assert await waiting is slots[0]
    assert arena.counts() == {"free": 0, "used": 2, "quarantined": 0}


async def test_a_slot_that_something_may_still_write_is_not_given_out(arena: Arena) -> None:
    writer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    slot = await arena.acquire(within())
    slot.keep_for(writer)
    slot.release()
    assert arena.counts() == {"free": 1, "used": 0, "quarantined": 1}
    assert await arena.acquire(within()) is not slot
    writer.set_exception(OSError("it ended badly; that is an end too"))
    assert await arena.acquire(within()) is slot


async def test_a_writer_that_ends_first_does_not_free_the_slot_twice(arena: Arena) -> None:
    writer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    slot = await arena.acquire(within())
    slot.keep_for(writer)
    writer.set_result(None)
    slot.release()
    await asyncio.sleep(0)
    assert arena.counts() == {"free": 2, "used": 0, "quarantined": 0}


def test_closing_removes_the_name(arena: Arena, tmp_path: Path) -> None:
    arena.close()
    assert list(tmp_path.iterdir()) == []
    arena.close()


def test_private_memory_has_no_name(tmp_path: Path) -> None:
    arena = Arena(slot_bytes=100, slots=1, shared=False, folder=tmp_path)
    assert arena.key is None
    assert list(tmp_path.iterdir()) == []


def test_only_leftovers_of_the_dead_are_removed(arena: Arena, tmp_path: Path) -> None:
    dead = tmp_path / f"{PREFIX}1-00000000"
    dead.write_bytes(b"left")
    foreign = tmp_path / "foreign"
    foreign.write_bytes(b"")
    assert clean_leftovers(tmp_path) == 1
    assert not dead.exists()
    assert foreign.exists()
    assert region_name(arena) in {path.name for path in tmp_path.iterdir()}


def test_a_killed_process_leaves_what_the_next_removes(tmp_path: Path) -> None:
    child = os.posix_spawn(
        "/bin/sh", ["sh", "-c", f"exec 9>{tmp_path}/{PREFIX}2-1; flock -n 9; kill -9 $$"], dict(os.environ)
    )
    os.waitpid(child, 0)
    assert clean_leftovers(tmp_path) == 1
