"""The filter over keys whose records are keys."""

from lineside.spool.store.key_filter import KeyFilter


def test_every_key_that_was_added_is_known() -> None:
    keys = KeyFilter()
    keys.add(5_000, ((number, f"key-{number}") for number in range(1, 5_001)))
    assert all(keys.may_have(f"key-{number}") for number in range(1, 5_001))
    assert (keys.left, keys.last) == (5_000, 5_000)


def test_it_seldom_asks_for_nothing_where_as_many_are_gone_as_the_spool_remembers() -> None:
    keys = KeyFilter()
    keys.add(100_000, ((number, f"key-{number}") for number in range(1, 100_001)))
    assert not keys.is_full
    wrong = sum(keys.may_have(f"new-{number}") for number in range(10_000))
    assert wrong < 100


def test_starting_over_forgets_all() -> None:
    keys = KeyFilter()
    keys.add(1, [(7, "key")])
    keys.start_over()
    assert not keys.may_have("key")
    assert (keys.left, keys.last) == (None, 0)


def test_it_says_when_it_is_too_full() -> None:
    keys = KeyFilter()
    keys.add(1, ((number, "same") for number in range(1 << 18)))
    assert keys.is_full
