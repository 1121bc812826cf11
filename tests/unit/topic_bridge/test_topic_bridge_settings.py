"""Settings of the topic-bridge that stand against each other."""

from typing import Any

import pytest
from pydantic import ValidationError

from lineside_topic_bridge.settings import Settings


def test_each_source_stands_once_in_the_order() -> None:
    given = Settings.model_validate({"topic_bridge": {"steering": {"order": ["topic", "configuration", "shadow"]}}})
    assert given.topic_bridge.steering.order == ("topic", "configuration", "shadow")
    for order in ([], ["shadow"], ["shadow", "topic", "topic"], ["shadow", "topic", "http"]):
        with pytest.raises(ValidationError):
            Settings.model_validate({"topic_bridge": {"steering": {"order": order}}})


@pytest.mark.parametrize(
    ("bus", "by", "works"),
    [("mqtt", "mqtt", True), ("mqtt", "ipc", True), ("ipc", "iot-core", True), ("ipc", "mqtt", False)],
)
def test_a_shadow_by_mqtt_needs_a_broker(bus: str, by: str, works: bool) -> None:
    document: dict[str, Any] = {"bus": {"transport": bus}, "topic_bridge": {"steering": {"shadow": {"by": by}}}}
    if works:
        assert Settings.model_validate(document).topic_bridge.steering.shadow
        return
    with pytest.raises(ValidationError, match=r"by: mqtt needs bus.transport: mqtt \(got ipc\)"):
        Settings.model_validate(document)
