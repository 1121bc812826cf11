from typing import Any

import pytest
from pydantic import ValidationError

from lineside_fleet.gate.settings import GateSettings


def test_the_defaults_are_a_gate() -> None:
    settings = GateSettings()
    assert settings.latency is not None
    assert settings.latency.quantiles == (0.95,)
    assert settings.without_proof == "hold"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"latencies": None}, "latencies"),
        ({"latency": {"slower": 0}}, "slower"),
        ({"latency": {"quantiles": []}}, "1 to 5 different shares"),
        ({"latency": {"quantiles": [0.95, 0.95]}}, "1 to 5 different shares"),
        ({"latency": {"quantiles": [95]}}, "less than 1"),
        ({"unknowns": {"ratio": 1, "allowance": 0}}, "nothing"),
        ({"unknowns": {"ratio": 0.9}}, "ratio"),
        ({"slow": {}}, "slow.ms"),
        ({"slow": {"ms": 0}}, "greater than 0"),
        ({"slow": {"ms": 40, "ratio": 1, "allowance": 0}}, "nothing"),
        ({"unsure": {}}, "unsure.upto"),
        ({"looks": 0}, "looks"),
        ({"looks": 11}, "looks"),
        ({"false_promotion": 0.5}, "false_promotion"),
        ({"without_proof": "promote"}, "without_proof"),
        ({"devices": 3}, "devices"),
        (
            dict.fromkeys(("latency", "throughput", "errors", "unknowns", "defects", "confidence")),
            "looks at nothing",
        ),
    ],
)
def test_what_makes_no_gate_is_refused_by_its_name(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        GateSettings.model_validate(given)
