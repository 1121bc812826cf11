"""How the line stands, as the shadow reports it."""

from typing import Any

import pytest

from lineside_topic_bridge.steering.shadow.health import Stands, health

OWN = Stands("topic_bridge", ready=True, version="0.1.0", settings_hash="aa")


def link(name: str, state: str = "ONLINE", *, required: bool = True) -> dict[str, Any]:
    return {"name": name, "state": state, "required": required}


def answers(**more: Any) -> dict[str, Any]:
    bridge = {"service": "opcua_bridge", "silent": False, "ready": True, "connections": [link("bus"), link("opcua")]}
    told = {**bridge, "version": "0.1.0", "settings_hash": "cc"} | more.pop("bridge", {})
    own = {"service": "topic_bridge", "silent": True, "ready": False, "connections": []}  # what inference heard of us
    return {
        "/readyz": {"ready": True, "connections": [link("triton"), link("camera hall", "BACKOFF", required=False)]},
        "/v1/version": {"service": "inference", "version": "0.1.0", "settings_hash": "bb"},
        "/v1/chain": {"services": [told, own]},
        **more,
    }


def test_a_line_that_works_is_ready_with_every_version_and_hash() -> None:
    found = health(OWN, answers())
    assert found.document(7) == {"ready": True, "down": [], "at": 7}
    assert found.components == {"inference": "0.1.0", "opcua_bridge": "0.1.0", "topic_bridge": "0.1.0"}
    assert found.settings_hash == {"inference": "bb", "opcua_bridge": "cc", "topic_bridge": "aa"}


@pytest.mark.parametrize(
    ("changed", "down"),
    [
        ({"/readyz": {"ready": False, "connections": [link("triton", "BACKOFF")]}}, ["inference.triton"]),
        ({"/readyz": {"ready": False, "connections": [link("triton")]}}, ["inference"]),
        ({"bridge": {"ready": False, "connections": [link("opcua", "CONNECTING")]}}, ["opcua_bridge.opcua"]),
        ({"bridge": {"silent": True}}, ["opcua_bridge"]),
        ({"bridge": {"connections": [link("opcua", "PAUSED")]}}, []),
        ({"/v1/chain": {"services": []}}, []),
    ],
)
def test_what_does_not_work_is_named(changed: dict[str, Any], down: list[str]) -> None:
    found = health(OWN, answers(**changed))
    assert found.document(7) == {"ready": not down, "down": down, "at": 7}


def test_of_whom_nothing_is_known_nothing_is_said_but_that() -> None:
    away = health(OWN, {})
    assert away.down == ("inference",)
    assert away.components == {"topic_bridge": "0.1.0"}
    silent = health(OWN, answers(bridge={"silent": True}))
    assert "opcua_bridge" not in silent.components


def test_what_is_reported_is_bounded() -> None:
    many = [link(f"camera {number}", "BACKOFF") for number in range(20)]
    found = health(OWN, answers(**{"/readyz": {"ready": False, "connections": many}}))
    assert len(found.down) == 9
    assert found.down[-1] == "and 12 more"
