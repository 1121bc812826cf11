"""What is logged, of what level, and how often."""

import io
import json
import logging
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
import structlog

from lineside import telemetry
from lineside.connections import Connection
from lineside.telemetry import Repeats


class Log:
    """What was written so far, line by line."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().split("\n") if line]

    def end(self) -> None:
        for handler in logging.getLogger().handlers:
            handler.close()


@pytest.fixture
def log() -> Iterator[Log]:
    made = Log()
    telemetry.configure("test", stream=made.stream)
    yield made
    made.end()


def test_a_flood_of_one_line_leaves_the_others_to_be_read_and_is_summed_up(log: Log) -> None:
    noisy, other = structlog.get_logger("lineside.noisy"), structlog.get_logger("lineside.other")
    for number in range(5000):
        noisy.warning("message refused", code="not-json", refused_request_id=number)
        if number % 1000 == 0:
            other.warning("a part got no verdict from us", part_id=f"P-{number}")
    noisy.warning("message refused", code="message-too-large")
    for number in range(5000):
        logging.getLogger("library").error("%s went wrong", number)
    log.end()
    shown = [(line["event"], line.get("code")) for line in log.lines]
    assert shown.count(("message refused", "not-json")) == 20
    assert shown.count(("message refused", "message-too-large")) == 1
    assert shown.count(("a part got no verdict from us", None)) == 5
    sums = {line["line"]: line["more"] for line in log.lines if line["event"] == "the same line came again"}
    assert sums == {"message refused": 4980, "%s went wrong": 4980}
    assert len(log.lines) < 60


def test_a_line_names_when_how_grave_who_and_about_which_request() -> None:
    made = Log()
    telemetry.configure("topic-bridge", component="com.lineside.TopicBridge", stream=made.stream)
    with telemetry.about_request("0199", station="s1", part_id="P-1"):
        structlog.get_logger("lineside.topic_bridge").warning("it was slow")
    logging.getLogger("library").warning("so was I")
    made.end()
    ours, theirs = made.lines
    about = {name: ours[name] for name in ("level", "service", "component", "request_id", "station", "part_id")}
    assert about == {
        "level": "warning",
        "service": "topic-bridge",
        "component": "com.lineside.TopicBridge",
        "request_id": "0199",
        "station": "s1",
        "part_id": "P-1",
    }
    assert datetime.fromisoformat(ours["timestamp"]).tzinfo is not None
    assert (theirs["component"], theirs["level"]) == ("com.lineside.TopicBridge", "warning")


def test_the_line_of_each_parts_verdict_is_always_shown(log: Log) -> None:
    said = structlog.get_logger("lineside.station")
    for number in range(2000):
        said.info("verdict", part_id=f"P-{number}", verdict="pass")
    assert [line["part_id"] for line in log.lines] == [f"P-{number}" for number in range(2000)]


def test_a_kind_of_line_is_shown_again_when_its_window_is_over() -> None:
    repeats = Repeats(window_s=60, max_kinds=2)
    assert [repeats.shows("a", 2, at) for at in (0.0, 1.0, 2.0, 3.0)] == [True, True, False, False]
    assert repeats.holds_back
    assert repeats.ended(59.0) == []
    assert repeats.ended(60.0) == [("a", 2)]
    assert not repeats.holds_back
    assert repeats.shows("a", 2, 60.0)
    assert repeats.ended(200.0) == []


def test_too_many_kinds_are_forgotten_oldest_first_and_summed_up() -> None:
    repeats = Repeats(window_s=60, max_kinds=2)
    for kind in ("a", "a", "b", "c"):
        repeats.shows(kind, 1, 0.0)
    assert repeats.ended(1.0) == [("a", 1)]


def test_losing_a_peer_is_a_warning_and_having_it_back_is_none(log: Log) -> None:
    link = Connection("opcua", "opc.tcp://plc")
    link.connecting()
    link.online()
    link.backoff("cut")
    link.connecting()
    link.backoff("cut")
    link.online()
    assert [(line["state"], line["level"]) for line in log.lines] == [
        ("ONLINE", "info"),
        ("BACKOFF", "warning"),
        ("CONNECTING", "info"),
        ("ONLINE", "info"),
    ]


def test_letters_of_every_language_stand_as_they_are_and_nothing_acts_on_a_terminal(log: Log) -> None:
    structlog.get_logger("lineside.x").info("Prüfung über Größe", part="检-\x1b[2J\x9b2J\u2028")
    [line] = log.stream.getvalue().splitlines()
    assert "Prüfung über Größe" in line
    assert "检" in line
    assert line.isprintable()
    assert json.loads(line)["part"] == "检-\x1b[2J\x9b2J\u2028"


def test_json_is_utf_8_whatever_the_locale() -> None:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii", errors="backslashreplace")
    telemetry.configure("test", stream=out)
    structlog.get_logger("lineside.y").warning("Störung", wert="\udcff")
    out.flush()
    assert json.loads(raw.getvalue())["event"] == "Störung"


def test_uvicorn_says_its_message_once_and_without_colours(log: Log) -> None:
    coloured = "Started server process [\x1b[36m%d\x1b[0m]"
    logging.getLogger("uvicorn.error").info("Started server process [%d]", 7, extra={"color_message": coloured})
    [line] = log.lines
    assert line["event"] == "Started server process [7]"
    assert "color_message" not in line


def test_a_logger_in_use_takes_another_level_at_once(log: Log) -> None:
    ours, bound = structlog.get_logger("lineside.ours"), structlog.get_logger("lineside.ours").bind(kept=1)
    library = logging.getLogger("library")

    def say(word: str) -> None:
        for logger in (ours, bound, library):
            logger.debug(word)
            logger.warning(word.upper())

    say("one")
    telemetry.set_level("debug")
    say("two")
    telemetry.set_level("error")
    say("three")
    telemetry.set_level("info")
    say("four")
    shown = [line["event"] for line in log.lines]
    assert shown == ["ONE"] * 3 + ["two", "TWO"] * 3 + ["FOUR"] * 3
