"""The filter over keys whose records are gone."""

from lineside.spool.store.key_filter import Gone


def test_every_key_that_was_added_is_known() -> None:
    gone = Gone()
    gone.add(5_000, ((number, f"key-{number}") for number in range(1, 5_001)))
    assert all(gone.may_have(f"key-{number}") for number in range(1, 5_001))
    assert (gone.left, gone.last) == (5_000, 5_000)


def test_it_seldom_asks_for_nothing_where_as_many_are_gone_as_the_spool_remembers() -> None:
    gone = Gone()
    gone.add(100_000, ((number, f"key-{number}") for number in range(1, 100_001)))
    assert not gone.is_full
    wrong = sum(gone.may_have(f"new-{number}") for number in range(10_000))
    assert wrong < 100


def test_starting_over_forgets_all() -> None:
    gone = Gone()
    gone.add(1, [(7, "key")])
    gone.start_over()
    assert not gone.may_have("key")
    assert (gone.left, gone.last) == (None, 0)


def test_it_says_when_it_is_too_full() -> None:
    gone = Gone()
    gone.add(1, ((number, "same") for number in range(1 << 18)))
    assert gone.is_full
