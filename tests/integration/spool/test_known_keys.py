"""Keys whose records another process delivered, while this one goes on putting."""

from collections.abc import Callable

from lineside.spool import Receipt, Spool
from tests.support.spooling import drain, entry, fill, seal_all


def test_keys_that_another_delivers_bit_by_bit_are_known(open_spool: Callable[..., Spool]):
    putting, delivering = open_spool(), open_spool()
    delivering.register(["s3"])
    keys: list[str] = []
    for start in (0, 30, 60):
        keys += fill(putting, 30, start=start)
        seal_all(delivering)
        assert len(drain(delivering, "s3")) == 30
        assert {putting.put(entry(key)) for key in keys} == {Receipt(0, is_new=False)}
    assert putting.put(entry("new")).is_new


def test_keys_that_were_delivered_before_a_start_are_known(open_spool: Callable[..., Spool]):
    first = open_spool()
    first.register(["s3"])
    keys = fill(first, 20)
    seal_all(first)
    drain(first, "s3")
    first.close()
    assert {open_spool().put(entry(key)) for key in keys} == {Receipt(0, is_new=False)}
