"""What a server grants less of than was asked for is said: notifications later than the deadline leaves time for."""

from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from lineside_opcua_bridge.link.rates import Granted
from lineside_opcua_bridge.link.revised_parameters import log_revised


def item(role: str, name: str = "t") -> Any:
    return SimpleNamespace(
        subscriber=SimpleNamespace(name=name, settings=SimpleNamespace(deadline_ms=400.0, margin_ms=40.0)),
        request=SimpleNamespace(role=role, event=None, sampling_ms=0.0),
        granted=Granted(0.0, 10_000),
    )


@pytest.mark.parametrize(
    ("roles", "publishing_ms", "said"),
    [
        (["trigger", "request"], 500.0, 1),
        (["trigger"], 360.0, 1),
        (["request"], 1000.0, 1),
        (["trigger"], 359.0, 0),
        (["trigger"], 20.0, 0),
        (["sample.part_id", "only_if.0", "window.a", "done"], 1000.0, 0),
    ],
)
def test_notifications_later_than_the_deadline_leaves_time_for_are_said_once_a_trigger(
    roles: list[str], publishing_ms: float, said: int
) -> None:
    with capture_logs() as logs:
        log_revised([item(role) for role in roles], publishing_ms)
    found = [line for line in logs if line["event"].startswith("the server tells of changes later")]
    assert len(found) == said
    for line in found:
        assert (line["trigger"], line["publishing_ms"], line["answer_within_ms"]) == ("t", publishing_ms, 360.0)
        assert line["log_level"] == "warning"
