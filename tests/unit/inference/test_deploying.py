"""What the inference service's words mean for a model's component, and for how long it waits."""

from typing import Any

import pytest

from lineside_inference.deploying import SETTLE_S, Answer, Fate, judge, wait

SERVES = {
    "version": "2",
    "default": "2",
    "wanted": "2",
    "state": "ONLINE",
    "detail": "",
    "changing": False,
    "refused": None,
}


@pytest.mark.parametrize(
    ("said", "fate", "words"),
    [
        ({}, Fate.DONE, "version 2 is warm and serves"),
        ({"version": "1", "default": "1", "wanted": "1"}, Fate.WAITS, "has not read version 2 yet"),
        (
            {"version": "1", "changing": True, "detail": "version 2: warming up"},
            Fate.WAITS,
            "version 2: warming up",
        ),
        ({"version": "1", "refused": {"version": "2", "reason": "no ONNX"}}, Fate.REFUSED, "no ONNX"),
        ({"version": "1", "refused": {"version": "3", "reason": "no ONNX"}}, Fate.WAITS, "is being loaded"),
        ({"version": "1", "wanted": "1"}, Fate.DONE, "the policy keeps version 1 in force"),
        (
            {"version": "1", "wanted": "1", "refused": {"version": "2", "reason": "SHA-256"}},
            Fate.REFUSED,
            "SHA-256",
        ),
        ({"version": None, "state": "unloaded"}, Fate.DONE, "unloaded on request"),
        ({"state": "BACKOFF", "detail": "no room"}, Fate.TROUBLE, "no room"),
        ({"state": "PAUSED", "detail": "waits for Triton"}, Fate.WAITS, "waits for Triton"),
        ({"state": "out", "version": None, "default": None, "detail": "its card"}, Fate.TROUBLE, "its card"),
    ],
)
def test_what_the_service_says_of_a_version(said: dict[str, Any], fate: Fate, words: str) -> None:
    answer = judge(SERVES | said, "2")
    assert answer.fate is fate
    assert words in answer.says


def test_what_serves_and_what_is_wanted_is_needed() -> None:
    assert judge(SERVES | {"version": "1", "wanted": "3"}, "2").needed == ("1", "3")


class Days:
    """Answers by the second, on a clock of their own."""

    def __init__(self, *answers: tuple[float, Fate]) -> None:
        self.now = 0.0
        self.answers = answers

    def once(self) -> Answer:
        fate = next(fate for until, fate in self.answers if self.now < until)
        return Answer(fate, f"at {self.now:g}")

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def ends(self, within_s: float) -> tuple[Fate, float]:
        return wait(self.once, within_s, lambda: self.now, self.sleep).fate, self.now


def test_what_may_still_come_is_waited_for_and_a_refusal_is_not() -> None:
    assert Days((40, Fate.WAITS), (99, Fate.DONE)).ends(60) == (Fate.DONE, 40)
    assert Days((40, Fate.WAITS), (99, Fate.REFUSED)).ends(60) == (Fate.REFUSED, 40)
    assert Days((99, Fate.WAITS)).ends(60) == (Fate.WAITS, 60)


def test_trouble_ends_it_only_where_it_lasts() -> None:
    assert Days((SETTLE_S - 1, Fate.TROUBLE), (99, Fate.DONE)).ends(60) == (Fate.DONE, SETTLE_S - 1)
    assert Days((5, Fate.WAITS), (99, Fate.TROUBLE)).ends(60)[0] is Fate.TROUBLE
    assert Days((5, Fate.WAITS), (99, Fate.TROUBLE)).ends(60)[1] <= 5 + SETTLE_S


def tries(every_s: float, each_s: float) -> Days:
    """A model that does not load: it is tried again and again, which takes a while each time."""
    turns = [(start + each_s, Fate.WAITS) for start in range(0, 600, int(every_s))]
    rests = [(start + every_s, Fate.TROUBLE) for start in range(0, 600, int(every_s))]
    return Days(*sorted(turns + rests))


def test_a_try_in_between_does_not_end_trouble() -> None:
    fate, after = tries(7, 3).ends(600)
    assert fate is Fate.TROUBLE
    assert SETTLE_S <= after <= SETTLE_S + 2 * 7


def test_a_try_that_takes_long_may_still_succeed() -> None:
    assert Days((5, Fate.TROUBLE), (40, Fate.WAITS), (50, Fate.TROUBLE), (99, Fate.DONE)).ends(600) == (Fate.DONE, 50)
