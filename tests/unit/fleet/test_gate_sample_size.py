from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from lineside_fleet.commands import fleet
from lineside_fleet.gate.sample_size import for_latency, for_rate, levels_of
from lineside_fleet.gate.settings import GateSettings, LatencySettings, RateSettings
from tests.support.simulated_rollouts import EQUAL, Fleet, draw, verdict_of

RATE = RateSettings()
LATENCY = LatencySettings()
ONE_LOOK = GateSettings(throughput=None, errors=None, unknowns=None, defects=None, confidence=None, looks=1)


def test_more_is_needed_for_less() -> None:
    assert (for_rate(RATE, 0.01, power=0.9) or 0) > (for_rate(RATE, 0.01, power=0.8) or 0)
    assert (for_rate(RATE, 0.01, worse=2) or 0) > (for_rate(RATE, 0.01, worse=3) or 0)
    assert (for_latency(LATENCY, 0.99, 0.3) or 0) > (for_latency(LATENCY, 0.95, 0.3) or 0)


@pytest.mark.parametrize("worse", [1.1, 1.4])
def test_what_lies_within_the_margin_is_never_shown_to_be_beyond(worse: float) -> None:
    assert for_rate(RATE, 0.01, worse=worse) is None
    assert for_latency(LATENCY, 0.95, 0.3, slower=0.05) is None


def test_the_levels_are_those_of_the_last_look() -> None:
    promote, stop = levels_of(GateSettings(), 10)
    assert 0.03 < promote < 0.04
    assert 0.003 < stop < 0.004


def test_with_so_many_parts_the_gate_shows_it_about_so_often() -> None:
    parts = for_latency(LATENCY, 0.95, Fleet().sigma, power=0.8, devices=8)
    assert parts is not None
    fleet = Fleet(devices=8, parts=3 * round(parts / 24))
    shown = sum(
        verdict_of(ONE_LOOK, draw(fleet, EQUAL, np.random.default_rng([5, n])))[0] == "promote" for n in range(100)
    )
    assert 65 <= shown <= 95


def test_the_command_says_what_cannot_be_shown(tmp_path: Path) -> None:
    done = CliRunner().invoke(fleet, ["sample-size", "--devices", "20"])
    assert done.exit_code == 0
    assert "unknowns 1 %" in done.output
    (tmp_path / "gate.yaml").write_text("gate: {latency: {slower: 0.2}, errors: null, slow: {ms: 40}}")
    done = CliRunner().invoke(fleet, ["sample-size", "--settings", str(tmp_path / "gate.yaml")])
    assert "cannot" in next(line for line in done.output.splitlines() if "slower" in line)
    assert "errors" not in done.output
    assert "slow 5 %" in done.output
    (tmp_path / "gate.yaml").write_text("gate: {looks: 99}")
    done = CliRunner().invoke(fleet, ["sample-size", "--settings", str(tmp_path / "gate.yaml")])
    assert done.exit_code == 2
    assert "gate.looks" in done.output
