from hypothesis import given
from hypothesis import strategies as st

from lineside.spool.store.capacity import Capacity

MIB = 1024 * 1024


def capacity(
    used: int = 0, max_bytes: int = 100 * MIB, free: int = 1000 * MIB, reserve: int = 64 * MIB, reusable: int = 0
) -> Capacity:
    return Capacity(used, max_bytes, free, reserve, reusable)


def test_there_is_room_up_to_the_bound_and_not_one_byte_more():
    assert capacity(used=90 * MIB).lacks(10 * MIB, 10 * MIB) <= 0
    assert capacity(used=90 * MIB).lacks(10 * MIB + 1, 1) == 1


def test_the_disks_reserve_is_not_ours():
    assert capacity(free=65 * MIB).lacks(MIB, MIB) <= 0
    assert capacity(free=65 * MIB).lacks(MIB + 7, MIB + 7) == 7
    assert capacity(free=0).lacks(MIB, MIB) == MIB, "what others wrote of the reserve is not owed by us"


def test_blobs_that_are_written_already_need_no_disk():
    assert capacity(free=65 * MIB).lacks(2 * MIB, 1000) <= 0


def test_free_pages_of_the_file_count_as_disk():
    assert capacity(free=10 * MIB, reusable=2 * MIB).lacks(2 * MIB, 2 * MIB) <= 0


def test_what_can_never_fit_drops_nothing():
    assert capacity(used=MIB).to_free(101 * MIB, 101 * MIB) == (0, 0)


def test_dropping_frees_some_more_than_is_needed():
    assert capacity(used=100 * MIB).to_free(MIB, MIB) == (MIB, 2 * MIB)
    assert capacity(max_bytes=10_000 * MIB, used=10_000 * MIB).to_free(MIB, MIB) == (MIB, 17 * MIB)


def test_where_it_fits_nothing_is_dropped():
    assert capacity().to_free(MIB, MIB) == (0, 0)


def test_the_figures_of_both_bounds_are_said():
    assert capacity(used=100 * MIB).describe(20 * MIB) == "100 MiB of 100 MiB evidence wait, 20 MiB more do not fit"
    said = capacity(free=MIB).describe(2000)
    assert said == "the disk has 1024 KiB left, of which 64 MiB are kept free; 2000 B more do not fit"


@given(
    sizes=st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 3000)), max_size=40),
    free=st.integers(0, 30_000),
    reusable=st.integers(0, 10_000),
)
def test_no_sequence_of_records_passes_a_bound(sizes: list[tuple[int, int]], free: int, reusable: int) -> None:
    now = Capacity(0, 20_000, free, 5_000, reusable)
    written = kept = 0
    for body, blobs in sizes:
        if now.lacks(body + blobs, body) <= 0:
            now = now.after(body + blobs, body)
            kept += body + blobs
            written += body
    assert now.used == kept <= 20_000
    assert written <= max(0, free - 5_000) + reusable
    assert now.reusable >= 0
