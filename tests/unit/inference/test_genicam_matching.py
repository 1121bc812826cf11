"""Frames and parts by time: nobody gets another part's picture, whatever is late, lost or off."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineside_inference.sources.cameras.genicam.clock import DeviceClock, Latch
from lineside_inference.sources.cameras.genicam.matching import Answer, Exposure, Matcher, Rule

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


@st.composite
def lines(draw: st.DrawFn, *, least_apart_s: float = RULE.apart_s) -> list[Part]:
    """Give parts as a line makes them that keeps the settings' promise, or one that comes closer."""
    parts, at = [], NOW
    for _ in range(draw(st.integers(1, 25))):
        at += least_apart_s + draw(st.one_of(st.just(1e-6), st.floats(1e-6, 0.2)))
        off = draw(st.floats(-1, 1)) * (RULE.within_s - 1e-6)
        parts.append(
            Part(
                exposed=at,
                trigger=at - RULE.delay_s - off,
                asked_at=at + draw(st.floats(0.0, 0.5)),
                frame_is_lost=draw(st.integers(0, 4)) == 0,
                request_is_lost=draw(st.integers(0, 4)) == 0,
            )
        )
    return parts


def run(
    parts: list[Part], ppm: float, latencies: Iterator[float], trips: Iterator[float]
) -> tuple[dict[Any, Any], dict[int, bool], Matcher[int]]:
    """Feed the parts, their frames stamped by a clock that drifts; give what each got, and whether it should have."""
    clock, matcher = DeviceClock(1_000_000_000), Matcher[int](RULE)
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

    got: dict[Any, Any] = {}
    is_exact = {}
    while events:
        event = heapq.heappop(events)
        answers: list[Answer[int]] = []
        if event.what == "latch":
            clock.add(Latch(device_ns(event.at), event.at - next(trips), event.at + next(trips)))
        elif event.what == "request":
            answers = matcher.ask(event.number, parts[event.number].trigger, event.at)
        else:
            instant = clock.at(device_ns(parts[event.number].exposed))
            assert instant is not None
            is_exact[event.number] = 2 * (RULE.within_s + instant.error_s) < RULE.apart_s
            answers = matcher.expose(Exposure(instant.clock, instant.error_s, event.number), event.at)
        for answer in answers:
            assert answer.part not in got, "each is answered once"
            got[answer.part] = answer.exposure.frame if answer.exposure else answer.cause
    return got, is_exact, matcher


forever = st.randoms(use_true_random=False)


@given(parts=lines(), ppm=st.floats(-100, 100), chance=forever, slowest=st.sampled_from([0.0002, 0.003, 0.02]))
def test_no_part_gets_anothers_frame_and_each_whose_frame_came_gets_it(
    parts: list[Part], ppm: float, chance: Any, slowest: float
) -> None:
    latencies = iter(lambda: chance.uniform(0.001, 0.4), None)
    trips = iter(lambda: chance.uniform(0.00005, slowest), None)
    got, is_exact, matcher = run(parts, ppm, latencies, trips)
    for number, part in enumerate(parts):
        if part.request_is_lost:
            assert number not in got
        elif part.frame_is_lost:
            assert got.get(number) in {None, "lost"}
        elif not is_exact[number]:
            assert got[number] == "inexact"
        else:
            assert got[number] == number
    asked = sum(not part.request_is_lost for part in parts)
    assert matcher.counts["ambiguous"] == 0
    assert sum(matcher.counts.values()) == len(got)
    assert len(got) <= asked


@given(parts=lines(least_apart_s=0.002), ppm=st.floats(-100, 100), chance=forever)
def test_where_parts_come_closer_than_promised_none_of_those_asked_about_gets_anothers_frame(
    parts: list[Part], ppm: float, chance: Any
) -> None:
    all_asked_first = [
        Part(part.exposed, NOW - 0.5, part.trigger, part.frame_is_lost, request_is_lost=False) for part in parts
    ]
    got, _, _ = run(all_asked_first, ppm, iter(lambda: chance.uniform(0.001, 0.4), None), iter(lambda: 0.0001, None))
    for number in range(len(parts)):
        assert got.get(number) in {None, "lost", "ambiguous", "inexact", number}
