"""What changed in the settings' policy reaches the one in force, and nothing else of it changes."""

from typing import Any

import pytest

from lineside.contract import Policy
from lineside_inference.policies.carrying import carry

OPERATORS = {
    "enabled": False,
    "thresholds": {"default": 0.5, "scratch": 0.4},
    "models": {"surface": "2"},
    "capture": {"rate": 0.1, "every": 7},
}


@pytest.mark.parametrize(
    ("before", "now", "changes"),
    [
        ({}, {}, {}),
        ({"thresholds": {"default": 0.7}}, {"thresholds": {"default": 0.7}}, {}),
        ({}, {"thresholds": {"default": 0.8}}, {"thresholds": {"default": 0.8, "scratch": 0.4}}),
        ({}, {"thresholds": {"pit": 0.8}}, {"thresholds": {"default": 0.5, "scratch": 0.4, "pit": 0.8}}),
        ({"thresholds": {"scratch": 0.9}}, {}, {"thresholds": {"default": 0.5}}),
        ({"thresholds": {"pit": 0.9}}, {}, {}),
        ({"enabled": False}, {"enabled": True}, {"enabled": True}),
        ({}, {"models": {"surface": "3"}}, {"models": {"surface": "3"}}),
        ({}, {"capture": {"rate": 0.2}}, {"capture": {"rate": 0.2, "every": 7}}),
        ({"capture": {"every": 2}}, {}, {"capture": {"rate": 0.1}}),
        ({}, {"capture": {"band": [0.1, 0.2]}}, {"capture": {"rate": 0.1, "every": 7, "band": [0.1, 0.2]}}),
    ],
)
def test_only_what_the_settings_changed_changes(
    before: dict[str, Any], now: dict[str, Any], changes: dict[str, Any]
) -> None:
    wanted = Policy.model_validate({**OPERATORS, **changes})
    assert carry(*map(Policy.model_validate, (before, now, OPERATORS))) == wanted
