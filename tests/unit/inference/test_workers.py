import os
import threading
from collections.abc import Iterator

import pytest

from lineside_inference.dataplane.workers import SMALL, Workers


@pytest.fixture
def workers() -> Iterator[Workers]:
    workers = Workers(1)
    yield workers
    workers.close()


def where() -> tuple[str, int]:
    return threading.current_thread().name, os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


async def test_little_is_done_at_once_and_much_in_others_threads_which_step_back(workers: Workers) -> None:
    here, own = where()
    assert await workers.read(SMALL, where) == await workers.aside(SMALL, where) == (here, own)
    for work, threads in ((workers.read, "reading"), (workers.aside, "others")):
        name, priority = await work(SMALL + 1, where)
        assert name.startswith(threads)
        assert priority == min(19, own + 10)


def test_the_line_has_threads_of_its_own_at_full_priority(workers: Workers) -> None:
    name, priority = workers.of(line=True).submit(where).result()
    assert name.startswith("prepare")
    assert priority == where()[1]
    assert workers.of(line=False) is workers.others
