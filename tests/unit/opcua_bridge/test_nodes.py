"""Node ids are read as OPC UA writes them, by URI only, and found on whatever server is there."""

import uuid
from typing import Any

import pytest
from asyncua import ua
from hypothesis import given
from hypothesis import strategies as st

from lineside_opcua_bridge.nodes import OPC_UA, NodeMissing, describe, parse, resolve

GUID = "09087e75-8e5e-499b-954f-f2a9603db28a"


@pytest.mark.parametrize(
    ("text", "uri", "identifier"),
    [
        ("nsu=urn:line;s=Station1.Done", "urn:line", "Station1.Done"),
        ("nsu=urn:line;s=a;b=c;i=1", "urn:line", "a;b=c;i=1"),
        ("nsu=http://x/%3B%25;i=7", "http://x/;%", 7),
        (f"nsu=urn:line;g={GUID}", "urn:line", uuid.UUID(GUID)),
        ("nsu=urn:line;b=AAEC", "urn:line", b"\x00\x01\x02"),
        ("i=2258", OPC_UA, 2258),
        ("ns=0;i=2258", OPC_UA, 2258),
    ],
)
def test_every_form_is_read(text: str, uri: str, identifier: object) -> None:
    address = parse(text)
    assert (address.uri, address.identifier, address.text) == (uri, identifier, text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("ns=2;s=Station1.Done", "write nsu=<namespace URI>;s=Station1.Done"),
        ("Station1.Done", "expected nsu="),
        ("nsu=urn:line", "expected nsu="),
        ("nsu=;s=x", "expected nsu="),
        ("nsu=urn:line;s=", "expected nsu="),
        ("nsu=urn:line;x=1", "expected nsu="),
        ("nsu=urn:line;i=-1", "from 0 to 4294967295"),
        ("nsu=urn:line;i=4294967296", "from 0 to 4294967295"),
        ("nsu=urn:line;g=1", "takes a GUID"),
        ("nsu=urn:line;b=%%", "is not a node id"),
        ("", "expected nsu="),
    ],
)
def test_what_is_wrong_is_said(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says.replace("(", r"\(")):
        parse(text)


def test_two_spellings_of_one_node_have_one_key() -> None:
    assert parse("i=2258").key == parse("ns=0;i=2258").key == parse(f"nsu={OPC_UA};i=2258").key
    assert parse("nsu=urn:line;i=1").key != parse("nsu=urn:line;s=1").key


def test_the_index_is_that_of_the_server_now() -> None:
    address = parse("nsu=urn:line;s=x")
    assert resolve(address, [OPC_UA, "urn:a", "urn:line"]) == ua.NodeId("x", 2)
    assert resolve(address, [OPC_UA, "urn:line", "urn:a"]) == ua.NodeId("x", 1)


@pytest.mark.parametrize("text", ["nsu=urn:line;i=70000", f"nsu=urn:line;g={GUID}", "nsu=urn:line;b=AAEC"])
def test_every_kind_of_identifier_resolves(text: str) -> None:
    address = parse(text)
    node = resolve(address, [OPC_UA, "urn:line"])
    assert (node.Identifier, node.NamespaceIndex) == (address.identifier, 1)
    node.check_identifier_type_compatibility()


def test_a_namespace_that_is_not_there_is_named_with_the_nearest() -> None:
    with pytest.raises(NodeMissing, match="did you mean 'urn:line:one'"):
        resolve(parse("nsu=urn:line:onne;s=x"), [OPC_UA, "urn:line:one", "urn:vendor"])


@given(
    st.one_of(
        st.integers(0, 0xFFFFFFFF),
        st.text(min_size=1),
        st.binary(min_size=1),
        st.uuids().map(lambda u: ua.Guid(int=u.int)),
    ),
    st.text(min_size=1).filter(lambda uri: uri != OPC_UA),
)
def test_a_described_node_is_found_again(identifier: Any, uri: str) -> None:
    namespaces = [OPC_UA, "urn:other", uri]
    for index in (0, namespaces.index(uri)):
        node = ua.NodeId(identifier, index)
        assert resolve(parse(describe(node, namespaces)), namespaces) == node


def test_a_node_of_opc_ua_itself_is_described_shortly() -> None:
    assert describe(ua.NodeId(2258), [OPC_UA]) == "i=2258"
    assert describe(ua.NodeId("x", 1), [OPC_UA, "urn:a;b%"]) == "nsu=urn:a%3Bb%25;s=x"


def test_a_namespace_that_the_server_does_not_list_stays_an_index() -> None:
    assert describe(ua.NodeId("x", 7), [OPC_UA]) == "ns=7;s=x"
