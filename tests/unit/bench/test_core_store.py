"""What a core keeps on disk."""

import pytest

from lineside_bench.errors import BenchError
from lineside_bench.greengrass.core.store import Kept, Store

KEPT = Kept({"app": ({"ComponentName": "app"}, {"topic": "a"})}, "second", is_under_way=True, interpolates=True)


def test_what_is_kept_is_there_the_next_time(tmp_path):
    store = Store(tmp_path / "core")
    assert store.open() == Kept()
    store.save(KEPT)
    store.close()
    again = Store(tmp_path / "core")
    assert again.open() == KEPT
    again.close()


def test_a_folder_has_one_core(tmp_path):
    store = Store(tmp_path)
    store.open()
    with pytest.raises(BenchError, match="used by another core"):
        Store(tmp_path).open()
    store.close()
    again = Store(tmp_path)
    again.open()
    again.close()


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b'{"format": 9}', b'{"format": 1, "components": 3}'])
def test_a_spoilt_file_is_named_and_the_folder_is_given_back(tmp_path, content):
    (tmp_path / "state.json").write_bytes(content)
    for _attempt in range(2):
        with pytest.raises(BenchError, match=r"state\.json is not the state of a core"):
            Store(tmp_path).open()


def test_a_folder_that_is_none_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(BenchError, match="cannot be used"):
        Store(tmp_path / "file").open()
