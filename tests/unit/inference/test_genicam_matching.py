"""Frames and parts by time: nobody gets another part's picture, whatever is late, lost or off."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineside_inference.sources.cameras.genicam.clock import DeviceClock, Instant, Latch
from lineside_inference.sources.cameras.genicam.matching import Answer, Exposure, Matcher, Rule
from tests.support.variables import LONG

RULE = Rule(delay_s=0.010, within_s=0.010, apart_s=0.030, keep_s=5.0, most_kept=1000)
NOW = 1000.0


def seen(at: float, frame: str | None, error_s: float = 0.0005) -> Exposure[str]:
    return Exposure(at, error_s, frame)


def gave(answers: list[Answer[str]]) -> dict[Any, str | None]:
    return {answer.part: answer.exposure.frame if answer.exposure else answer.cause for answer in answers}


@pytest.fixture
def matcher() -> Matcher[str]:
    return Matcher(RULE)


def test_a_frame_that_comes_first_waits_for_its_part(matcher: Matcher[str]) -> None:
    assert gave(matcher.expose(seen(5.010, "a"), NOW)) == {}
    assert gave(matcher.ask("A", 5.002, NOW)) == {"A": "a"}
    assert matcher.counts["matched"] == 1


def test_a_part_that_comes_first_waits_for_its_frame(matcher: Matcher[str]) -> None:
    assert gave(matcher.ask("A", 5.0, NOW)) == {}
    assert gave(matcher.expose(seen(4.9, "before"), NOW)) == {}
    (answer,) = matcher.expose(seen(5.013, "a"), NOW)
    assert gave([answer]) == {"A": "a"}
    assert answer.off_s == pytest.approx(0.003)


def test_two_parts_30_ms_apart_get_their_own_though_the_later_comes_first(matcher: Matcher[str]) -> None:
    matcher.expose(seen(5.010, "a"), NOW)
    matcher.expose(seen(5.040, "b"), NOW)
    assert gave(matcher.ask("B", 5.030, NOW)) == {"B": "b"}
    assert gave(matcher.ask("A", 5.000, NOW)) == {"A": "a"}


def test_a_lost_frame_costs_its_own_part_only_and_at_once(matcher: Matcher[str]) -> None:
    matcher.ask("A", 5.000, NOW)
    matcher.ask("B", 5.030, NOW)
    assert gave(matcher.expose(seen(5.040, "b"), NOW)) == {"A": "lost", "B": "b"}
    assert matcher.counts["without_frame"] == 1
    assert gave(by_arrival_order(["A", "B"], ["b"])) == {"A": "b"}, "what the order alone would have given"


def by_arrival_order(parts: list[str], frames: list[str]) -> list[Answer[str]]:
    return [Answer(part, seen(0.0, frame)) for part, frame in zip(parts, frames, strict=False)]


def test_a_frame_that_is_not_whole_is_its_parts_own_all_the_same(matcher: Matcher[str]) -> None:
    matcher.ask("A", 5.0, NOW)
    assert gave(matcher.expose(seen(5.01, None), NOW)) == {"A": "incomplete"}
    assert matcher.counts["incomplete"] == 1


def test_a_frame_that_fits_two_parts_is_given_to_none(matcher: Matcher[str]) -> None:
    matcher.ask("A", 5.000, NOW)
    matcher.ask("B", 5.015, NOW)
    assert gave(matcher.expose(seen(5.017, "?"), NOW)) == {"A": "ambiguous", "B": "ambiguous"}
    assert matcher.counts["ambiguous"] == 2


def test_two_frames_that_fit_one_part_are_given_to_none(matcher: Matcher[str]) -> None:
    matcher.expose(seen(5.007, "a"), NOW)
    matcher.expose(seen(5.013, "a again"), NOW)
    assert gave(matcher.ask("A", 5.0, NOW)) == {"A": "ambiguous"}


def test_a_frame_beside_another_that_the_line_promised_not_to_be_there_is_given_to_nobody(
    matcher: Matcher[str],
) -> None:
    matcher.expose(seen(4.985, "bounce"), NOW)
    matcher.expose(seen(5.010, "a"), NOW)
    assert gave(matcher.ask("A", 5.0, NOW)) == {"A": "ambiguous"}


def test_who_asks_for_a_frame_that_was_given_gets_none(matcher: Matcher[str]) -> None:
    matcher.ask("A", 5.000, NOW)
    assert gave(matcher.expose(seen(5.015, "?"), NOW)) == {"A": "?"}
    assert gave(matcher.ask("B", 5.012, NOW)) == {"B": "ambiguous"}


def test_a_frame_whose_instant_is_known_too_badly_is_given_to_nobody(matcher: Matcher[str]) -> None:
    matcher.ask("A", 5.0, NOW)
    assert gave(matcher.expose(seen(5.01, "a", error_s=0.006), NOW)) == {"A": "inexact"}


def test_an_inexact_frame_that_fits_two_parts_is_the_clocks_fault_and_not_the_lines(matcher: Matcher[str]) -> None:
    matcher.ask("A", 5.000, NOW)
    matcher.ask("B", 5.030, NOW)
    assert gave(matcher.expose(seen(5.025, "a or b", error_s=0.012), NOW)) == {"A": "inexact", "B": "inexact"}
    assert (matcher.counts["inexact"], matcher.counts["ambiguous"]) == (2, 0)


def test_an_inexact_frame_of_the_next_part_leaves_one_whose_own_was_lost_inexact(matcher: Matcher[str]) -> None:
    matcher.ask("A", 5.000, NOW)
    assert gave(matcher.expose(seen(5.025, "b", error_s=0.012), NOW)) == {"A": "inexact"}
    assert gave(matcher.ask("B", 5.030, NOW)) == {"B": "inexact"}


def test_an_inexact_frame_beside_a_part_that_has_its_own_is_no_sign_of_a_bouncing_line(matcher: Matcher[str]) -> None:
    matcher.ask("A", 5.000, NOW)
    assert gave(matcher.expose(seen(5.010, "a"), NOW)) == {"A": "a"}
    assert gave(matcher.expose(seen(5.028, "b", error_s=0.012), NOW)) == {}
    assert gave(matcher.ask("B", 5.030, NOW)) == {"B": "inexact"}
    assert matcher.counts["ambiguous"] == 0


@pytest.mark.parametrize("is_asked_first", [True, False])
def test_a_part_that_an_inexact_frame_fits_gets_no_other_either(matcher: Matcher[str], is_asked_first: bool) -> None:
    answers = matcher.ask("B", 5.000, NOW) if is_asked_first else []
    answers += matcher.expose(seen(4.990, "a", error_s=0.012), NOW)
    answers += matcher.expose(seen(5.019, "b"), NOW)
    answers += [] if is_asked_first else matcher.ask("B", 5.000, NOW)
    assert gave(answers) == {"B": "inexact"}
    assert matcher.counts["ambiguous"] == 0


def test_a_frame_that_comes_after_its_part_gave_up_is_no_other_parts(matcher: Matcher[str]) -> None:
    matcher.ask("A", 5.0, NOW)
    matcher.give_up("A")
    matcher.expose(seen(5.01, "a"), NOW)
    assert (matcher.counts["late"], matcher.counts["without_frame"]) == (1, 1)


def test_a_frame_without_a_part_is_let_go_and_counted(matcher: Matcher[str]) -> None:
    matcher.expose(seen(5.01, "a"), NOW)
    matcher.tidy(NOW + RULE.keep_s)
    assert matcher.counts["without_request"] == 0
    matcher.tidy(NOW + RULE.keep_s + 0.1)
    assert matcher.counts["without_request"] == 1
    assert gave(matcher.ask("A", 5.0, NOW + RULE.keep_s + 0.2)) == {"A": "forgotten"}


def test_so_many_frames_wait_at_most() -> None:
    matcher = Matcher[str](Rule(0.0, 0.010, 0.030, 5.0, most_kept=2))
    for number in range(4):
        matcher.expose(seen(number, str(number)), NOW)
    assert matcher.counts["without_request"] == 2
    assert gave(matcher.ask("A", 1.0, NOW)) == {"A": "forgotten"}
    assert gave(matcher.ask("B", 2.0, NOW)) == {"B": "2"}


def test_after_a_reboot_the_frames_before_it_are_nobodys(matcher: Matcher[str]) -> None:
    matcher.expose(seen(5.01, "a"), NOW)
    matcher.forget()
    assert gave(matcher.ask("A", 5.0, NOW)) == {}
    assert gave(matcher.expose(seen(6.0, "b"), NOW)) == {"A": "lost"}


@dataclass(order=True)
class Event:
    at: float
    what: str
    number: int = field(compare=False)


@dataclass(frozen=True)
class Part:
    exposed: float
    asked_at: float
    trigger: float
    frame_is_lost: bool
    request_is_lost: bool


@dataclass
class Course:
    """What came of a line's parts: its answers, the instants the frames were known by, and the counts."""

    got: dict[int, int | str | None] = field(default_factory=dict)
    instants: dict[int, Instant] = field(default_factory=dict)
    matcher: Matcher[int] = field(default_factory=lambda: Matcher(RULE))

    def inexact_that_fit(self, part: Part) -> set[int]:
        """Return which frames may be this part's as far as is known, and are known too badly to be anybody's."""
        return {
            number
            for number, instant in self.instants.items()
            if 2 * (RULE.within_s + instant.error_s) >= RULE.apart_s
            and abs(instant.clock - part.trigger - RULE.delay_s) <= RULE.within_s + instant.error_s
        }


def between(least: float, most: float) -> st.SearchStrategy[float]:
    """Give any number of these, and often the two ends, at which a bound that is too tight shows."""
    return st.sampled_from([least, most]) | st.floats(least, most)


@st.composite
def lines(draw: st.DrawFn, *, least_apart_s: float = RULE.apart_s) -> list[Part]:
    """Give parts as a line makes them that keeps the settings' promise, or one that comes closer."""
    parts, at = [], NOW
    for _ in range(draw(st.integers(1, 25))):
        at += least_apart_s + draw(between(1e-6, 0.2))
        parts.append(
            Part(
                exposed=at,
                trigger=at - RULE.delay_s - draw(between(-1, 1)) * (RULE.within_s - 1e-6),
                asked_at=at + draw(between(0.0, 0.5)),
                frame_is_lost=draw(st.integers(0, 4)) == 0,
                request_is_lost=draw(st.integers(0, 4)) == 0,
            )
        )
    return parts


def run(parts: list[Part], ppm: float, latencies: Iterator[float], trips: Iterator[float]) -> Course:
    """Feed the parts, their frames stamped by a clock that drifts."""
    clock, course = DeviceClock(1_000_000_000), Course()
    events: list[Event] = []
    arrived = 0.0
    for number, part in enumerate(parts):
        arrived = max(arrived + 1e-6, part.exposed + next(latencies))  # a camera sends in order
        if not part.frame_is_lost:
            heapq.heappush(events, Event(arrived, "frame", number))
        if not part.request_is_lost:
            heapq.heappush(events, Event(part.asked_at, "request", number))
    for step in range(int((parts[-1].exposed - NOW) / 0.5) + 4):
        heapq.heappush(events, Event(NOW - 1 + 0.5 * step, "latch", 0))

    def device_ns(at: float) -> int:
        return round((at - NOW + 77) * (1 + ppm * 1e-6) * 1e9)

    while events:
        event = heapq.heappop(events)
        answers: list[Answer[int]] = []
        if event.what == "latch":
            clock.add(Latch(device_ns(event.at), event.at - next(trips), event.at + next(trips)))
        elif event.what == "request":
            answers = course.matcher.ask(event.number, parts[event.number].trigger, event.at)
        else:
            instant = clock.at(device_ns(parts[event.number].exposed))
            assert instant is not None
            assert abs(instant.clock - parts[event.number].exposed) <= instant.error_s + 1e-8, "the bound holds"
            course.instants[event.number] = instant
            answers = course.matcher.expose(Exposure(instant.clock, instant.error_s, event.number), event.at)
        for answer in answers:
            assert isinstance(answer.part, int)
            assert answer.part not in course.got, "each is answered once"
            course.got[answer.part] = answer.exposure.frame if answer.exposure else answer.cause
    return course


MANY = settings(max_examples=4000 if LONG else 150, derandomize=not LONG, database=None)
chances = st.integers(0, 2**32).map(Random)
slowest_trips = st.sampled_from([0.0002, 0.003, 0.006, 0.02])


@MANY
@given(parts=lines(), ppm=between(-100, 100), chance=chances, slowest=slowest_trips)
def test_no_part_gets_anothers_frame_and_each_whose_frame_came_gets_it(
    parts: list[Part], ppm: float, chance: Random, slowest: float
) -> None:
    latencies = iter(lambda: chance.uniform(0.001, 0.4), None)
    trips = iter(lambda: chance.uniform(0.00005, slowest), None)
    course = run(parts, ppm, latencies, trips)
    for number, part in enumerate(parts):
        got = course.got.get(number)
        if part.request_is_lost:
            assert number not in course.got
        elif number in (inexact := course.inexact_that_fit(part)):
            assert got == "inexact"
        elif part.frame_is_lost:
            assert got in ({None, "lost", "inexact"} if inexact else {None, "lost"})
        else:
            assert got in ({number, "inexact"} if inexact else {number})
    counts, answers = course.matcher.counts, list(course.got.values())
    assert counts["ambiguous"] == counts["late"] == counts["incomplete"] == 0
    assert counts["matched"] == sum(isinstance(got, int) for got in answers)
    assert counts["without_frame"] == answers.count("lost")
    assert counts["without_request"] <= sum(part.request_is_lost for part in parts)
    assert counts["inexact"] >= answers.count("inexact"), "frames count too that fit only who has an answer"
    assert counts["inexact"] == 0 or any(course.inexact_that_fit(part) for part in parts)


@MANY
@given(parts=lines(least_apart_s=0.002), ppm=between(-100, 100), chance=chances, slowest=slowest_trips)
def test_where_parts_come_closer_than_promised_none_of_those_asked_about_gets_anothers_frame(
    parts: list[Part], ppm: float, chance: Random, slowest: float
) -> None:
    all_asked_first = [
        Part(part.exposed, NOW - 0.5, part.trigger, part.frame_is_lost, request_is_lost=False) for part in parts
    ]
    latencies = iter(lambda: chance.uniform(0.001, 0.4), None)
    trips = iter(lambda: chance.uniform(0.00005, slowest), None)
    course = run(all_asked_first, ppm, latencies, trips)
    for number in range(len(parts)):
        assert course.got.get(number) in {None, "lost", "ambiguous", "inexact", number}
