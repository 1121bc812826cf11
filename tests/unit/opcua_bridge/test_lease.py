"""Whose the station is, by the looks at its mark: two bridges and one text, step by step."""

import pytest

from lineside_opcua_bridge.station.lease import MAX_UNCHANGED, Lease, Mark, Move


class Node:
    """The mark in the PLC."""

    def __init__(self, text: str = "") -> None:
        self.text = text

    def step(self, lease: Lease) -> Move:
        """One read of the mark, and the write that follows from it."""
        move = lease.see(self.text)
        if move is not Move.WAIT:
            self.text = lease.next()
        return move


def test_alone_it_claims_and_keeps() -> None:
    node, one = Node(), Lease("a@one:8082", "r1")
    assert [node.step(one) for _ in range(4)] == [Move.CLAIM, Move.KEEP, Move.KEEP, Move.KEEP]
    assert Mark.of(node.text) == Mark("a@one:8082", "r1", 4)


def test_a_second_one_waits_while_the_mark_changes_however_long() -> None:
    node, one, two = Node(), Lease("a@one:8082", "r1"), Lease("a@two:8082", "r2")
    node.step(one)
    for _ in range(5 * MAX_UNCHANGED):
        assert node.step(one) is Move.KEEP
        assert node.step(two) is Move.WAIT
    assert two.is_contested
    assert two.holder == "a@one:8082"
    assert not one.is_contested


def test_a_second_one_takes_over_from_an_owner_that_ended_and_the_owner_that_comes_back_waits() -> None:
    node, one, two = Node(), Lease("a@one:8082", "r1"), Lease("a@two:8082", "r2")
    node.step(one)
    node.step(one)
    looks = [node.step(two) for _ in range(MAX_UNCHANGED + 1)]
    assert looks == [Move.WAIT] * MAX_UNCHANGED + [Move.CLAIM]
    assert not two.is_contested, "nobody was seen alive"
    assert node.step(two) is Move.KEEP
    assert node.step(one) is Move.WAIT
    assert one.is_contested
    assert node.step(two) is Move.KEEP


def test_of_two_that_claim_at_once_one_stays() -> None:
    node, one, two = Node(), Lease("a@one:8082", "r1"), Lease("a@two:8082", "r2")
    assert (one.see(""), two.see("")) == (Move.CLAIM, Move.CLAIM)
    node.text = one.next()
    node.text = two.next()
    assert node.step(one) is Move.WAIT
    assert node.step(two) is Move.KEEP
    assert [node.step(one), node.step(two), node.step(one)] == [Move.WAIT, Move.KEEP, Move.WAIT]


def test_the_same_bridge_started_again_goes_on_at_once_and_a_copy_of_it_does_not_for_long() -> None:
    node = Node("a@one:8082 r0 41")
    one = Lease("a@one:8082", "r1")
    assert [node.step(one), node.step(one)] == [Move.CLAIM, Move.KEEP]
    copy = Lease("a@one:8082", "r2")  # on a machine of the same name
    assert [node.step(copy), node.step(copy)] == [Move.CLAIM, Move.KEEP]
    assert [node.step(one), node.step(copy), node.step(one)] == [Move.WAIT, Move.KEEP, Move.WAIT]
    assert one.is_contested


def test_a_plc_that_was_restarted_is_claimed_again() -> None:
    node, one = Node(), Lease("a@one:8082", "r1")
    node.step(one)
    node.step(one)
    node.text = ""
    assert [node.step(one), node.step(one)] == [Move.CLAIM, Move.KEEP]


@pytest.mark.parametrize("text", ["out of service", "x", "a b c", " ", "a@one:8082 r1 ²"])
def test_what_is_no_mark_of_ours_is_waited_for_like_an_owner_that_may_have_ended(text: str) -> None:
    node, one = Node(text), Lease("a@one:8082", "r1")
    assert [node.step(one) for _ in range(MAX_UNCHANGED + 1)] == [Move.WAIT] * MAX_UNCHANGED + [Move.CLAIM]
    assert one.holder in text
