"""What changed in the settings' policy reaches the one in force, and nothing else of it changes."""

from pathlib import Path
from typing import Any

import pytest
from httpx import ASGITransport, AsyncClient

from lineside.contract import Policy
from lineside.service import Service
from lineside_inference.__main__ import build
from lineside_inference.policies.carrying import carry
from lineside_inference.settings import Settings
from tests.support.paths import ROOT

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


async def test_a_running_service_takes_another_policy_of_its_settings_beside_the_operators(tmp_path: Path) -> None:
    section = {"model_repository": ROOT / "models", "triton": {"shared_memory": "off"}, "state_dir": tmp_path}

    def settings(**policy: Any) -> Settings:
        return Settings.model_validate({"inference": {**section, "policy": policy}})

    service = Service("inference")
    app, _http = build(settings(), service)
    [taker] = service.takers
    assert taker.path == "inference.policy"
    async with AsyncClient(transport=ASGITransport(app), base_url="http://127.0.0.1:8080") as client:
        await client.put("/v1/policy", json={"thresholds": {"scratch": 0.4}})
        await taker.apply(settings(thresholds={"default": 0.8}))
        assert (await client.get("/v1/policy")).json()["thresholds"] == {"default": 0.8, "scratch": 0.4}
        assert await taker.problems(settings(models={"ghost": "1"}))
        await taker.apply(settings())
        assert (await client.get("/v1/policy")).json()["thresholds"] == {"scratch": 0.4}
