"""A setting names a tag by node id, browse path or alias; in a path `&` takes the next sign as it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineside_opcua_bridge.nodes import Address
from lineside_opcua_bridge.settings.triggers import EdgeTrigger, EventTrigger
from lineside_opcua_bridge.settings.write_back import HeartbeatSettings
from lineside_opcua_bridge.tags import Alias, Element, Path, escape, index_of, is_pattern, parse, pattern, plain


def names(text: str) -> tuple[str, ...]:
    path = parse(text)
    assert isinstance(path, Path)
    return path.names


def test_the_beginning_tells_what_it_is() -> None:
    assert isinstance(parse("nsu=urn:line;s=/Objects/x"), Address)
    assert isinstance(parse("/Objects/x"), Path)
    assert parse("alias=/plant/press") == Alias("/plant/press", "alias=/plant/press")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/Objects/Press/Part", ("Objects", "Press", "Part")),
        ("/Objects/A&/B", ("Objects", "A&/B")),
        ("/Objects/A&&/B", ("Objects", "A&&", "B")),
        ("/Objects/&A", ("Objects", "A")),
        ("/Objects/**/Part", ("Objects", "**", "Part")),
    ],
)
def test_a_path_is_cut_at_what_no_sign_takes_as_it_is(text: str, expected: tuple[str, ...]) -> None:
    assert names(text) == expected


@pytest.mark.parametrize(
    ("name", "is_one"),
    [("Part", False), ("Part*", True), ("Part&*", False), ("A&&*", True), ("DB&[1]", False), ("DB[12]", True)],
)
def test_a_sign_that_is_taken_as_it_is_makes_no_pattern(name: str, is_one: bool) -> None:
    assert is_pattern(name) is is_one
    assert names(f"/Objects/{name}")[1] == name


@pytest.mark.parametrize(
    ("name", "matching", "others"),
    [
        ("Station*", ["Station", "Station12"], ["station1", "OldStation1"]),
        ("T?", ["T1"], ["T", "T12"]),
        ("T[12]", ["T1", "T2"], ["T3", "T[12]"]),
        ("T&[1]*", ["T[1]", "T[1].x"], ["T1", "T12"]),
        ("A&**", ["A*", "A*b"], ["A", "Ab"]),
        ("A.*", ["A.b"], ["Ab"]),
    ],
)
def test_a_pattern_matches_whole_names(name: str, matching: list[str], others: list[str]) -> None:
    assert [each for each in [*matching, *others] if pattern(name).match(each)] == matching


@given(st.text(min_size=1))
def test_every_browse_name_can_be_written(name: str) -> None:
    written = escape(name)
    assert names(f"/Objects/{written}") == ("Objects", written)
    assert not is_pattern(written)
    assert plain(written) == name
    assert pattern(written).match(name)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("/Press/Part", "does not begin with /Objects/"),
        ("/", "does not begin with /Objects/"),
        ("/Objects//Part", "empty name"),
        ("/Objects/", "empty name"),
        ("Press.Part", "is not a tag"),
        ("alias=", "names no property"),
        ("ns=2;s=Part", "write nsu="),
    ],
)
def test_what_is_wrong_is_said_of_a_tag(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse(text)


@pytest.mark.parametrize(
    ("text", "index", "of"),
    [
        ("index=3;nsu=urn:line;s=Flags", 3, "nsu=urn:line;s=Flags"),
        ("index=0;nsu=urn:line;s=MAIN.Flags[3]", 0, "nsu=urn:line;s=MAIN.Flags[3]"),
        ("index=12;/Objects/Press/Flags", 12, "/Objects/Press/Flags"),
    ],
)
def test_an_index_before_a_node_names_one_element_of_it(text: str, index: int, of: str) -> None:
    element = parse(text)
    assert isinstance(element, Element)
    assert (element.index, element.of.text, element.text) == (index, of, text)
    assert index_of(text) == index
    assert EdgeTrigger(kind="edge", node=text).node == text


def test_an_identifier_that_ends_in_brackets_is_a_node_of_its_own() -> None:
    assert parse("nsu=urn:line;s=MAIN.Flags[3]").key == ("urn:line", "'MAIN.Flags[3]'")
    assert index_of("nsu=urn:line;s=MAIN.Flags[3]") is None
    assert index_of("nsu=urn:line;s=index=3;x") is None


def test_two_elements_of_an_array_are_two_tags_and_two_spellings_of_one_are_one() -> None:
    first, second, again, whole = (
        parse(text).key for text in ("index=1;nsu=u;s=A", "index=2;nsu=u;s=A", "index=01;nsu=u;s=A", "nsu=u;s=A")
    )
    assert len({first, second, whole}) == 3
    assert first == again


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("index=;nsu=u;s=A", "one whole number from 0"),
        ("index=-1;nsu=u;s=A", "one whole number from 0"),
        ("index=1:3;nsu=u;s=A", "one whole number from 0"),
        ("index=1,2;nsu=u;s=A", "an array of one dimension"),
        ("index=2147483647;nsu=u;s=A", "to 2147483646"),
        ("index=3", "expected index=<n>;<node id or browse path>"),
        ("index=3;alias=/a", "a node id or a browse path of the PLC"),
        ("index=3;index=1;nsu=u;s=A", "a node id or a browse path of the PLC"),
        ("index=3;Flags", "is not a tag"),
    ],
)
def test_what_names_no_element_is_refused_with_what_is_allowed(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse(text)


def test_an_element_notifies_of_no_event_and_shows_no_heartbeat() -> None:
    for make in (
        lambda text: EventTrigger(kind="event", node=text),
        lambda text: HeartbeatSettings(node=text),
    ):
        make("nsu=u;s=A")
        with pytest.raises(ValueError, match="a node as a whole is needed"):
            make("index=1;nsu=u;s=A")
