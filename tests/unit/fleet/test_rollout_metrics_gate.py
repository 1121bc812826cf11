from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from lineside_fleet.commands import fleet
from lineside_fleet.gate.observations import SLICES, Cell, Observations, Samples
from lineside_fleet.gate.settings import GateSettings
from lineside_fleet.rollout.metrics_gate import DAY_S, MetricsGate, windows
from lineside_fleet.state.document import StageState
from tests.support.rollouts import write

HOUR = 3600.0
DEPLOYED = datetime(2026, 3, 2, 6, tzinfo=UTC).timestamp()
THINGS = [f"d{number}" for number in range(10)]
SETTINGS = GateSettings.model_validate(
    {
        "latency": {"slower": 0.10},
        "throughput": None,
        "errors": None,
        "defects": None,
        "confidence": None,
        "unknowns": {"ratio": 2, "allowance": 0.02},
        "looks": 1,
    }
)


@given(st.floats(0, 30 * DAY_S), st.floats(60, 20 * DAY_S))
def test_both_windows_cover_the_same_hours_and_the_first_ends_before_the_stage(until_done, length):
    done = DEPLOYED + until_done
    before, since = windows(DEPLOYED, done, done + length)
    assert before.seconds == pytest.approx(since.seconds, abs=1e-3)
    assert before.end.timestamp() <= DEPLOYED + 1e-3
    assert before.hours_shared(since) == pytest.approx(1, abs=1e-3)


def stage():
    iso = [datetime.fromtimestamp(each, UTC).isoformat() for each in (DEPLOYED, DEPLOYED + HOUR)]
    return StageState(
        name="a", group="g", things=THINGS, components={}, deployment_id="x", deployed_at=iso[0], done_at=iso[1]
    )


@pytest.mark.parametrize(("slower", "verdict"), [(1.0, "promote"), (1.5, "stop")])
def test_a_stages_devices_are_compared_with_themselves(slower, verdict):
    asked = []

    def observe(window, things, version):
        asked.append((window, things, version))
        random = np.random.default_rng(len(asked))
        factor = 1.0 if len(asked) == 1 else slower
        cells = [
            Cell(
                thing, each, window.seconds / SLICES, 500, 0, 5, 5, Samples(20 * factor * random.lognormal(0, 0.1, 500))
            )
            for thing in things
            for each in range(SLICES)
        ]
        return Observations("made up", (version,), window, tuple(cells))

    judged = MetricsGate(SETTINGS, observe, lambda: DEPLOYED + 25 * HOUR).judge(stage(), 1)
    assert judged.verdict == verdict, judged.sentences
    assert [each[1] for each in asked] == [tuple(THINGS)] * 2
    assert [each[2] for each in asked] == ["before x", "x"]
    assert asked[0][0].end <= datetime.fromtimestamp(DEPLOYED, UTC)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--prometheus", "http://p:9090"], "Name yours by --model"),
        (["--prometheus", "http://p:9090", "--cloudwatch", "Lineside", "--model", "m"], "one source at a time"),
        (["--baseline", "a", "--staged", "b", "--cloudwatch", "Lineside", "--model", "m"], "one source at a time"),
    ],
)
def test_sources_that_contradict_each_other_are_refused(tmp_path, options, words):
    done = CliRunner().invoke(fleet, ["evaluate", str(write(tmp_path)), *options])
    assert done.exit_code == 2
    assert words in done.output
