"""Which requests go out while more parts come than can be judged: order, fairness, early refusals, recovery."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from lineside_opcua_bridge.station.overload import Dispatcher, First, Waiting, plan

DEADLINE_S = 0.4


class Line:
    """A dispatcher by a clock of its own, before a service that answers one request in `takes_s`, in order."""

    def __init__(self, takes_s: float, *, first: First = "oldest") -> None:
        self.now = 100.0
        self.takes_s = takes_s
        self.dispatcher = Dispatcher(first, lambda: self.now)
        self.judged: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.missed: Counter[str] = Counter()
        self.most_on_bus = 0
        self._bus: list[tuple[str, str, float]] = []
        self._busy_until = 0.0
        self._deadlines: dict[str, tuple[str, float]] = {}
        self._number = 0

    def part(self, station: str) -> None:
        self._number += 1
        name = f"r{self._number}"
        answer_by = self.now + DEADLINE_S
        self._deadlines[name] = station, answer_by
        self.dispatcher.ask(
            Waiting(name, station, self.now, answer_by),
            lambda: self._bus.append((name, station, answer_by)),
            lambda: self._refuse(name, station),
        )
        self.most_on_bus = max(self.most_on_bus, self.dispatcher.on_bus)

    def _refuse(self, name: str, station: str) -> None:
        self.refused[station] += 1
        del self._deadlines[name]

    def run(self, seconds: float, step: float = 0.005) -> None:
        """Let time pass: the service answers, and the time of parts is up."""
        end = self.now + seconds
        while self.now < end:
            self.now += step
            while self._bus and self._busy_until + self.takes_s <= self.now:
                name, station, answer_by = self._bus.pop(0)
                if name not in self._deadlines:  # it is told as expired, without work
                    self.dispatcher.heard()
                    continue
                self._busy_until = max(self._busy_until + self.takes_s, self.now)
                self.dispatcher.heard()
                self.dispatcher.answered(name, in_time=True)
                self.judged[station] += 1
                del self._deadlines[name]
            for name, (station, answer_by) in list(self._deadlines.items()):
                if self.now >= answer_by:
                    del self._deadlines[name]
                    self.missed[station] += 1
                    self.dispatcher.answered(name, in_time=False)

    def feed(self, seconds: float, every_s: float, stations: int) -> None:
        for number in range(int(seconds / every_s)):
            self.part(f"s{number % stations}")
            self.run(every_s)


def test_nothing_is_held_back_below_capacity() -> None:
    line = Line(0.02)
    line.feed(10, 0.03, 8)
    assert not line.refused
    assert not line.missed
    assert line.dispatcher.limit is None


def test_parts_of_all_stations_at_once_are_all_asked_about() -> None:
    line = Line(0.02)
    for number in range(16):
        line.part(f"s{number}")
    assert line.dispatcher.on_bus == 16


def test_at_twice_the_capacity_most_of_it_is_used_and_the_rest_is_refused_early() -> None:
    line = Line(0.02)
    line.feed(3, 0.01, 16)
    for counts in (line.judged, line.refused, line.missed):
        counts.clear()
    line.feed(10, 0.01, 16)
    judged, refused, missed = (sum(each.values()) for each in (line.judged, line.refused, line.missed))
    assert judged >= 0.8 * 10 / 0.02
    assert refused > 5 * missed


def test_it_recovers_within_two_seconds() -> None:
    line = Line(0.02)
    line.feed(5, 0.005, 16)
    assert line.dispatcher.limit is not None
    line.feed(2, 0.1, 16)
    for counts in (line.judged, line.refused, line.missed):
        counts.clear()
    line.feed(3, 0.03, 16)
    assert line.dispatcher.limit is None
    assert not line.refused
    assert not line.missed


def test_a_slow_service_that_works_at_many_at_once_is_not_held_down() -> None:
    """What takes nearly the deadline, for any number at once, is asked as many again after one miss."""
    now = [100.0]
    dispatcher = Dispatcher("oldest", lambda: now[0])
    sent: list[str] = []
    refused: list[str] = []
    for turn in range(200):
        sent.clear()
        for number in range(8):
            name = f"{turn}-{number}"
            waiting = Waiting(name, f"s{number}", now[0], now[0] + DEADLINE_S)
            dispatcher.ask(waiting, lambda name=name: sent.append(name), lambda name=name: refused.append(name))
        now[0] += 0.3
        for name in sent:
            dispatcher.heard()
            dispatcher.answered(name, in_time=turn != 10)
        for number in range(8):
            dispatcher.ended(f"{turn}-{number}")
        if turn == 150:
            refused.clear()
    assert not refused


def test_while_no_result_comes_nothing_is_held_back() -> None:
    line = Line(1000.0)
    line.feed(5, 0.05, 4)
    assert line.dispatcher.limit is None
    assert not line.refused


def test_a_request_that_ends_while_it_waits_is_neither_sent_nor_refused() -> None:
    line = Line(0.05)
    line.feed(3, 0.01, 8)
    while not line.dispatcher.held:
        line.part("s9")
    held = next(name for name in line._deadlines if line.dispatcher.is_held(name))
    line.dispatcher.ended(held)
    assert not line.dispatcher.is_held(held)
    assert held not in [name for name, _station, _by in line._bus]


def test_of_stations_with_unequal_rates_each_gets_its_share() -> None:
    line = Line(0.02)
    for _ in range(1500):
        for station in ("busy", "busy", "busy", "calm"):
            line.part(station)
        line.run(0.02, 0.01)
    assert line.judged["calm"] > 0.4 * line.judged["busy"]


def names(waiting: list[Waiting], **more: object) -> tuple[tuple[str, ...], tuple[str, ...]]:
    made = plan(
        waiting,
        **{"places": 1, "interval_s": 0.1, "answer_s": 0.0, "served": {}, "first": "oldest", "now": 0.0} | more,  # type: ignore[arg-type]
    )
    return made.send, made.refuse


OLD, NEW = Waiting("old", "a", 0.0, 9.0), Waiting("new", "b", 1.0, 9.0)


def test_the_oldest_or_the_newest_is_first_by_the_setting() -> None:
    assert names([NEW, OLD]) == (("old",), ())
    assert names([OLD, NEW], first="newest") == (("new",), ())


def test_a_station_with_fewer_verdicts_is_before_an_older_part() -> None:
    assert names([OLD, NEW], served={"a": 3, "b": 2}) == (("new",), ())


def test_what_would_come_too_late_is_refused_and_takes_nobodys_turn() -> None:
    late = Waiting("late", "a", 0.0, 0.05)
    assert names([late, OLD, NEW], places=0) == ((), ("late",))
    tight = Waiting("tight", "b", 1.0, 0.15)
    assert names([late, tight], places=0) == ((), ("late",))


WAITING = st.lists(
    st.builds(
        Waiting,
        st.integers(0, 10**9).map(str),
        st.sampled_from("abcd"),
        st.floats(0, 10),
        st.floats(0, 20),
    ),
    unique_by=lambda each: each.request_id,
    max_size=30,
)


@given(WAITING, st.integers(0, 10), st.floats(0, 1), st.floats(0, 1), st.sampled_from(["oldest", "newest"]))
def test_each_request_has_one_fate_and_no_more_are_sent_than_there_are_places(
    waiting: list[Waiting], places: int, interval_s: float, answer_s: float, first: First
) -> None:
    made = plan(waiting, places=places, interval_s=interval_s, answer_s=answer_s, served={}, first=first, now=5.0)
    fates = [*made.send, *made.refuse]
    assert len(fates) == len(set(fates))
    assert set(fates) <= {each.request_id for each in waiting}
    assert len(made.send) == min(places, len(waiting))
    by_name = {each.request_id: each for each in waiting}
    assert all(by_name[name].answer_by < 5.0 + (len(waiting) + 1) * interval_s + answer_s for name in made.refuse)


@given(WAITING, st.integers(0, 10), st.sampled_from(["oldest", "newest"]))
def test_no_station_is_sent_two_more_than_one_that_still_waits(
    waiting: list[Waiting], places: int, first: First
) -> None:
    made = plan(waiting, places=places, interval_s=0.0, answer_s=0.0, served={}, first=first, now=0.0)
    station = {each.request_id: each.station for each in waiting}
    sent = Counter(station[name] for name in made.send)
    left = {station[each.request_id] for each in waiting if each.request_id not in made.send}
    assert all(count <= sent[other] + 1 for count in sent.values() for other in left)
