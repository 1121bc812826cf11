"""What `lineside opcua` prints of values: every kind that a server may have, as text and as JSON that JSON is."""

import json
import math
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
import typer
from asyncua import ua

from lineside_opcua_bridge.cli import run_command, watch_nodes
from lineside_opcua_bridge.cli.tables import show, show_json, table
from lineside_opcua_bridge.cli.variables import Variable, as_text, jsonable, moment, status_name
from lineside_opcua_bridge.finding.find import FoundNode
from lineside_opcua_bridge.nodes import OPC_UA
from lineside_opcua_bridge.settings import OpcuaBridgeSettings

NAMESPACES = [OPC_UA, "urn:line"]
NOON = datetime(2026, 1, 2, 12, 0, 0, 123456, tzinfo=UTC)
EU = {"NamespaceUri": "urn:u", "UnitId": 5, "DisplayName": "mm", "Description": None}
UNKNOWN = ua.ExtensionObject(ua.NodeId(7, 1), ua.ByteString(b"\x00\x01"))


class Connected:
    namespaces = NAMESPACES


@pytest.mark.parametrize(
    ("value", "said", "text"),
    [
        (True, True, "true"),
        (7, 7, "7"),
        (0.5, 0.5, "0.5"),
        (math.nan, "nan", "nan"),
        (-math.inf, "-inf", "-inf"),
        (None, None, "null"),
        ("a\nb", "a\nb", "a b"),
        (b"\x00\x01", "AAE=", "AAE="),
        (NOON, "2026-01-02T12:00:00.123Z", "2026-01-02T12:00:00.123Z"),
        ([1, [2, 3]], [1, [2, 3]], "[1, [2, 3]]"),
        ([True, None], [True, None], "[true, null]"),
        (ua.Variant(ua.EUInformation("urn:u", 5, ua.LocalizedText("mm"))), EU, json.dumps(EU)),
        ([ua.StatusCode(ua.UInt32(0x80340000))], ["BadNodeIdUnknown"], "[BadNodeIdUnknown]"),
        (UNKNOWN, {"type_id": "nsu=urn:line;i=7", "body": "AAE="}, '{"type_id": "nsu=urn:line;i=7", "body": "AAE="}'),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000001"),
        (ua.NodeId("x", 1), "nsu=urn:line;s=x", "nsu=urn:line;s=x"),
        (ua.LocalizedText("Teil"), "Teil", "Teil"),
        (ua.QualifiedName("Part", 1), "Part", "Part"),
    ],
)
def test_values_are_said_as_they_are(value: Any, said: Any, text: str) -> None:
    assert jsonable(value, NAMESPACES) == said
    assert json.loads(json.dumps(jsonable(value, NAMESPACES), allow_nan=False)) == said
    assert as_text(value, NAMESPACES) == text


def test_a_long_value_is_cut_in_a_table_only() -> None:
    numbers = list(range(1000))
    assert as_text(numbers, NAMESPACES).endswith("...")
    assert jsonable(numbers, NAMESPACES) == numbers


def test_a_time_that_nobody_set_is_absent() -> None:
    assert moment(None) is None
    assert moment(datetime(1601, 1, 1, tzinfo=UTC)) is None


@pytest.mark.parametrize(
    ("shape", "shown"), [(None, "Double"), ((10,), "Double[10]"), ((0,), "Double[]"), ((2, 0), "Double[2,]")]
)
def test_an_array_shows_its_shape(shape: tuple[int, ...] | None, shown: str) -> None:
    assert Variable("Variable", "Double", shape).type == shown


def test_a_status_is_named_whatever_its_lower_half_says() -> None:
    assert [status_name(code) for code in (0, 0x480, 0x80340000, 0x80340480)] == ["Good", "Good"] + [
        "BadNodeIdUnknown"
    ] * 2


@pytest.mark.parametrize(("code", "dropped"), [(0, False), (0x480, True), (0x80, False), (0x400, False)])
def test_a_watched_value_says_that_others_were_dropped(
    capsys: pytest.CaptureFixture[str], code: int, dropped: bool
) -> None:
    found, change = FoundNode(ua.NodeId("x", 1), "nsu=urn:line;s=x"), (0, 1.5, code, NOON, None)
    watch_nodes._print(Connected(), found, change, as_json=True)
    watch_nodes._print(Connected(), found, change, as_json=False)
    as_json, line = capsys.readouterr().out.splitlines()
    said = json.loads(as_json)
    assert (said["overflow"], said["value"], said["server"]) == (dropped, 1.5, None)
    assert line.startswith("2026-01-02T12:00:00.123Z  Good      nsu=urn:line;s=x  1.5")
    assert ("dropped" in line) is dropped


HOSTILE = "Drill\x1b]0;owned\x07\x9b2J\u202ecod\u2066.\x7f\r\n\U000e0001"
SHOWN = r"Drill\x1b]0;owned\x07\x9b2J\u202ecod\u2066.\x7f\r"


def test_nothing_of_a_plc_is_obeyed_by_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    show(table(["PATH"], [[HOSTILE.replace("\n", "")]]))
    watch_nodes._print(
        Connected(), FoundNode(ua.NodeId("x", 1), HOSTILE.replace("\n", "")), (0, HOSTILE, 0, NOON, None), as_json=False
    )
    show_json({"name": HOSTILE})
    out = capsys.readouterr().out
    assert all(each.isprintable() or each == "\n" for each in out)
    lines = out.splitlines()
    assert lines[1].startswith(SHOWN)
    assert SHOWN in lines[2]
    assert json.loads("\n".join(lines[3:])) == {"name": HOSTILE}


@pytest.mark.parametrize("text", ["Prüfstation 3 µm", "検査", "°C", "a  b", "😀"])
def test_the_names_of_all_languages_are_shown_as_they_are(capsys: pytest.CaptureFixture[str], text: str) -> None:
    show(table(["PATH"], [[text]]))
    show_json(text)
    assert capsys.readouterr().out == f'PATH\n{text}\n"{text}"\n'


def test_a_table_cuts_nothing() -> None:
    assert table(["A", "LONGER"], [["x" * 200, "y"], ["z", ""]]).splitlines() == [
        "A" + " " * 199 + "  LONGER",
        "x" * 200 + "  y",
        "z",
    ]


def test_a_command_shows_whole_arrays_and_says_so_of_an_element(capsys: pytest.CaptureFixture[str]) -> None:
    async def work(_session: object) -> None:
        raise AssertionError("nothing is connected to")

    server = run_command.PlcServer(OpcuaBridgeSettings(), "thing")
    with pytest.raises(typer.Exit) as ended:
        run_command.run(server, ["nsu=urn:line;s=A", "index=3;nsu=urn:line;s=B"], work)
    assert ended.value.exit_code == 2
    assert "name the array, 'nsu=urn:line;s=B'" in capsys.readouterr().err
