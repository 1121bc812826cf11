from typing import Any

import pytest

from lineside.plans.documents import BuilderState
from lineside.plans.key import Options
from lineside_inference.usecases.plan_decisions import Failures, Need, Standing, decide, retry_s

A = Need("a", "key-a", "a/1/model.onnx", "0" * 64, Options())
B = Need("b", "key-b", "b/1/model.onnx", "1" * 64, Options())
NONE = Failures({}, {})


def choose(
    needs: list[Need], state: BuilderState, failures: Failures = NONE, **more: Any
) -> tuple[Any, dict[str, Any]]:
    return decide(needs, state, failures, **({"now": 100.0, "room": 1, "may_build": True} | more))


def test_one_is_built_at_a_time() -> None:
    chosen, standings = choose([A, B], BuilderState())
    assert chosen == A
    assert standings == {
        "a": Standing("waiting", "it is built when the line is quiet", "key-a"),
        "b": Standing("waiting", "another model's engine is built first", "key-b"),
    }


def test_the_one_that_is_being_built_goes_on() -> None:
    chosen, standings = choose([A, B], BuilderState(building="key-b", paused=True))
    assert chosen == B
    assert standings["b"] == Standing("building", "the build is paused while parts are judged", "key-b")
    assert standings["a"].state == "waiting"
    assert choose([B], BuilderState(building="key-b"))[1]["b"].why == "it is being built; ONNX judges meanwhile"


def test_models_of_the_same_file_wait_for_the_same_engine() -> None:
    other = Need("c", A.key, A.file, A.sha256, A.options)
    chosen, standings = choose([A, other], BuilderState(building="key-a"))
    assert chosen in (A, other)
    assert {each.state for each in standings.values()} == {"building"}


def test_a_failed_one_waits_and_is_given_up_after_three() -> None:
    failures = Failures({"key-a": "no such operator"}, {"key-a": 160.0})
    chosen, standings = choose([A, B], BuilderState(failed={"key-a": 1}), failures)
    assert chosen == B
    assert standings["a"] == Standing("failed", "no such operator; the next build is tried in 60 s", "key-a")
    assert choose([A], BuilderState(failed={"key-a": 1}), failures, now=160.0)[0] == A
    chosen, standings = choose([A], BuilderState(failed={"key-a": 3}))
    assert chosen is None
    assert standings["a"].why.startswith("given up after 3 builds: the builder says why")


@pytest.mark.parametrize(
    ("more", "state", "why"),
    [
        ({"may_build": False}, "none", "none is built here"),
        ({"room": 0}, "failed", "the engines that are wanted now take all of"),
    ],
)
def test_what_is_not_built_says_why(more: dict[str, Any], state: str, why: str) -> None:
    chosen, standings = choose([A], BuilderState(), **more)
    assert chosen is None
    assert standings["a"].state == state
    assert standings["a"].why.startswith(why)


def test_the_waits_get_longer() -> None:
    assert [retry_s(count) for count in (0, 1, 2, 3, 9)] == [600, 600, 3600, 3600, 3600]
