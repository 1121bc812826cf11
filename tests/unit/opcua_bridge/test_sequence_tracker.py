"""Messages come out in the order of their numbers, whatever order they arrive in, and what is missing is known."""

from hypothesis import given
from hypothesis import strategies as st

from lineside_opcua_bridge.link.publishing import Message
from lineside_opcua_bridge.link.sequence_tracker import SequenceTracker, after, distance

LAST = 0xFFFFFFFF


def message(number: int) -> Message:
    return Message(number)


def alive(number: int) -> Message:
    return Message(number, is_keepalive=True)


def numbers(messages: list[Message]) -> list[int]:
    return [each.number for each in messages]


def test_one_follows_the_last_number() -> None:
    assert after(LAST) == 1
    assert distance(LAST, 1) == 1
    assert after(LAST - 1, 3) == 2


@given(st.permutations(range(8)), st.sampled_from([1, 100, LAST - 3]))
def test_messages_that_overtake_one_another_come_out_in_order(order: list[int], first: int) -> None:
    line = SequenceTracker()
    line.expected = line._announced = first
    out = [each for place in order for each in numbers(line.take(message(after(first, place))))]
    assert out == [after(first, place) for place in range(8)]
    assert line.missing() == []


def test_what_did_not_come_is_missing_until_it_does() -> None:
    line = SequenceTracker()
    assert numbers(line.take(message(1))) == [1]
    assert line.take(message(4)) == []
    assert line.missing() == [2, 3]
    assert line.take(message(3)) == []
    assert line.missing() == [2]
    assert numbers(line.take(message(2))) == [2, 3, 4]
    assert line.missing() == []


def test_the_first_message_may_be_missing() -> None:
    line = SequenceTracker()
    assert line.take(message(2)) == []
    assert line.missing() == [1]


def test_a_sign_of_life_carries_the_next_number_and_tells_of_what_is_missing() -> None:
    line = SequenceTracker()
    line.take(message(1))
    assert line.take(alive(2)) == []
    assert line.missing() == []
    line.take(alive(4))
    assert line.missing() == [2, 3]
    assert line.give_up() == (2, [])
    assert numbers(line.take(message(4))) == [4]


def test_a_message_that_comes_twice_counts_once() -> None:
    line = SequenceTracker()
    assert numbers(line.take(message(1))) == [1]
    assert line.take(message(1)) == []
    assert line.take(alive(1)) == []
    assert line.missing() == []
    assert line.expected == 2


def test_giving_up_counts_what_is_missing_and_goes_on_behind_it() -> None:
    line = SequenceTracker()
    for number in (3, 4, 7):
        line.take(message(number))
    lost, ready = line.give_up()
    assert (lost, numbers(ready)) == (2, [3, 4])
    assert line.missing() == [5, 6]
    lost, ready = line.give_up()
    assert (lost, numbers(ready)) == (2, [7])
    assert line.give_up() == (0, [])


def test_a_wild_jump_is_given_up_without_walking_it() -> None:
    line = SequenceTracker(limit=16)
    line.take(message(1_000_000))
    assert line.is_full
    assert len(line.missing()) == 16
    lost, ready = line.give_up()
    assert (lost, numbers(ready)) == (999_999, [1_000_000])
    line.take(alive(2_000_000))
    assert line.give_up() == (999_999, [])


@given(st.lists(st.integers(1, 300), max_size=30))
def test_every_number_is_handed_on_or_counted_once_and_in_order(arrived: list[int]) -> None:
    line = SequenceTracker(limit=4)
    out: list[int] = []
    lost = 0
    for number in arrived:
        out += numbers(line.take(message(number)))
        while line.missing():
            more, ready = line.give_up()
            lost += more
            out += numbers(ready)
    assert out == sorted(set(out))
    assert len(out) + lost == distance(1, line.expected)
