from hypothesis import given
from hypothesis import strategies as st

from lineside.spool.store.entry import StoredBlob, blobs_from_text, blobs_to_text, checksum

ROW = (7, "key", "model", "fleet/model/2026/11/22/02", "always", "inference", 3, 1_800_000_000_000, "", b"{}")
BLOBS = st.builds(
    StoredBlob, st.text(), st.text(), st.text(), st.integers(0, 2**62), st.binary(min_size=32, max_size=32)
)


@given(st.lists(BLOBS, max_size=4))
def test_blobs_come_back_as_they_were(blobs: list[StoredBlob]) -> None:
    assert blobs_from_text(blobs_to_text(tuple(blobs))) == tuple(blobs)


@given(st.integers(0, 9))
def test_every_column_is_in_the_checksum(column: int) -> None:
    value = ROW[column]
    other = value + 1 if isinstance(value, int) else (value + b"x" if isinstance(value, bytes) else f"{value}x")
    changed = (*ROW[:column], other, *ROW[column + 1 :])
    assert checksum(changed) != checksum(ROW)


def test_a_byte_that_moves_to_the_next_column_is_seen():
    moved = (ROW[0], "ke", "ymodel", *ROW[3:])
    assert checksum(moved) != checksum(ROW)
