"""Which address a camera may be given, and which one is proposed."""

from ipaddress import IPv4Address, IPv4Interface

import pytest

from lineside_inference.sources.cameras.genicam.addressing import Card, Heard, proposal, wrong
from lineside_inference.sources.cameras.genicam.gvcp import Seen

CARDS = [Card("eth0", IPv4Interface("192.0.2.5/24")), Card("eth1", IPv4Interface("198.51.100.5/28"))]


def heard(address: str, card: Card = CARDS[0]) -> Heard:
    return Heard(Seen("00:30:53:12:34:56", IPv4Address(address), IPv4Address("255.255.255.0")), card)


@pytest.mark.parametrize(
    ("address", "gateway", "said"),
    [
        ("192.0.2.20/24", None, ""),
        ("192.0.2.20/24", "192.0.2.1", ""),
        ("198.51.100.6/28", None, ""),
        ("192.0.2.20", None, "must have a prefix of 1 to 30"),
        ("192.0.2.0/24", None, "is the address of nobody"),
        ("192.0.2.255/24", None, "is the address of nobody"),
        ("224.0.0.5/24", None, "is the address of nobody"),
        ("192.0.2.5/24", None, "is this machine's own address (eth0)"),
        ("203.0.113.5/24", None, "no network card of this machine reaches 203.0.113.5: eth0 192.0.2.5/24, eth1"),
        ("192.0.2.20/24", "203.0.113.1", "the gateway 203.0.113.1 is not in"),
        ("192.0.2.20/24", "192.0.2.20", "or is the camera itself"),
    ],
)
def test_an_address_that_is_none_for_a_camera_is_said(address: str, gateway: str | None, said: str) -> None:
    problem = wrong(IPv4Interface(address), None if gateway is None else IPv4Address(gateway), CARDS)
    assert said in problem
    assert bool(problem) == bool(said)


def test_a_camera_is_reached_where_its_address_is_in_the_cards_network() -> None:
    assert heard("192.0.2.9").is_reached
    assert not heard("169.254.3.4").is_reached


def test_what_is_proposed_is_in_the_cards_network_and_nobodys() -> None:
    taken = {IPv4Address("192.0.2.100"), IPv4Address("192.0.2.101")}
    assert proposal(heard("169.254.3.4"), taken) == IPv4Interface("192.0.2.102/24")
    small = Card("eth1", IPv4Interface("198.51.100.1/30"))
    assert proposal(heard("169.254.3.4", small), set()) == IPv4Interface("198.51.100.2/30")
    assert proposal(heard("169.254.3.4", small), {IPv4Address("198.51.100.2")}) is None
