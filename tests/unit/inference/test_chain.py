"""Which services report their status, which have stopped, and which never did."""

from datetime import UTC, datetime
from pathlib import Path

from lineside.contract import LinkState, PolicyStanding, ServiceStatus
from lineside_inference.live.chain import FILE, SILENT_S, Chain
from tests.support.clocks import ManualClock

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def status(name: str = "opcua_bridge", *, ready: bool = True) -> ServiceStatus:
    plc = LinkState(name="opcua", target="opc.tcp://plc", state="ONLINE" if ready else "BACKOFF", since=NOON)
    return ServiceStatus.model_validate({"service": name, "ready": ready, "connections": (plc,)})


def shown(chain: Chain) -> dict[str, tuple[bool, bool]]:
    return {it["service"]: (it["ready"], it["silent"]) for it in chain.document()["services"]}


def test_nothing_is_expected_where_nothing_was_ever_heard(tmp_path: Path) -> None:
    assert shown(Chain(None)) == {}
    assert shown(Chain(tmp_path)) == {}


def test_who_tells_no_more_is_silent_and_not_ready() -> None:
    clock = ManualClock(0.0)
    chain = Chain(None, clock=clock)
    chain.heard(status("topic_bridge"))
    chain.heard(status())
    clock.now = SILENT_S / 2
    chain.heard(status("topic_bridge"))
    assert shown(chain) == {"topic_bridge": (True, False), "opcua_bridge": (True, False)}
    clock.now = SILENT_S * 1.2
    assert shown(chain) == {"topic_bridge": (True, False), "opcua_bridge": (False, True)}
    chain.heard(status())
    assert shown(chain)["opcua_bridge"] == (True, False)


def test_what_does_not_work_is_said_with_its_reason() -> None:
    chain = Chain(None)
    chain.heard(status(ready=False))
    (service,) = chain.document()["services"]
    assert (service["ready"], service["silent"]) == (False, False)
    assert service["connections"][0]["state"] == "BACKOFF"


def test_a_service_is_shown_with_the_version_and_the_settings_that_it_told() -> None:
    chain = Chain(None)
    chain.heard(status())
    chain.heard(status("topic_bridge").model_copy(update={"version": "0.1.0", "settings_hash": "0f" * 16}))
    shown = [(it["service"], it["version"], it["settings_hash"]) for it in chain.document()["services"]]
    assert shown == [("topic_bridge", "0.1.0", "0f" * 16), ("opcua_bridge", None, None)]


def test_who_was_heard_before_a_restart_is_expected_after_it(tmp_path: Path) -> None:
    Chain(tmp_path).heard(status())
    clock = ManualClock(0.0)
    again = Chain(tmp_path, clock=clock)
    assert shown(again) == {"opcua_bridge": (False, False)}  # it has its seconds to tell
    clock.now = SILENT_S * 2
    assert shown(again) == {"opcua_bridge": (False, True)}


def test_a_file_that_cannot_be_read_expects_nothing(tmp_path: Path) -> None:
    for rubbish in ('{"a":1}', "[7]", "no JSON", '["forwarder"]'):
        (tmp_path / FILE).write_text(rubbish)
        assert shown(Chain(tmp_path)) == {}
    Chain(tmp_path / "none").heard(status())  # where it cannot be kept it is in memory alone


def test_who_steers_the_policy_holds_while_the_topic_bridge_tells() -> None:
    clock = ManualClock(0.0)
    chain = Chain(None, clock=clock)
    standing = PolicyStanding(source="shadow", order=("shadow", "topic", "configuration"), steering=("shadow",))
    chain.heard(status("topic_bridge").model_copy(update={"policy": standing}))
    assert chain.document()["services"][0]["policy"] == standing.model_dump(mode="json")
    clock.now = SILENT_S * 1.2
    assert chain.document()["services"][0]["policy"] is None
