"""A named shadow behind the reserved topics, the desk, and an inference service over HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from lineside.bus.memory import MemoryBroker, MemoryBus
from lineside.connections import Connection, State
from lineside.contract import Policy, reported_policy_topic
from lineside_topic_bridge.inference import InferenceLink
from lineside_topic_bridge.reporting import PolicyReporter
from lineside_topic_bridge.steering.configuration import ConfigurationSource
from lineside_topic_bridge.steering.desk import PolicyDesk
from lineside_topic_bridge.steering.shadow.health import Stands
from lineside_topic_bridge.steering.shadow.source import PACE_S, ShadowSource, served
from lineside_topic_bridge.steering.shadow.sync import MAX_CONFLICTS
from lineside_topic_bridge.steering.shadow.topics import TopicsTransport
from tests.support.policy_service import PolicyService
from tests.support.simulated_shadow import SimulatedShadow
from tests.support.waiting import until

OWN = Stands("topic_bridge", ready=True, version="0.1.0", settings_hash="0f" * 16)


class Box:
    """A running bridge's steering, and its shadow."""

    def __init__(self, shadow: SimulatedShadow, inference: PolicyService, link: Connection) -> None:
        self.shadow = shadow
        self.inference = inference
        self.link = link

    async def in_force(self, **wanted: Any) -> None:
        """Wait until the inference service has this policy."""
        await until(lambda: json.loads(self.inference.policy) == wanted, lambda: self.inference.policy)

    async def reports(self, **wanted: Any) -> None:
        """Wait until the shadow says this."""
        said = lambda: {name: self.shadow.reported.get(name) for name in wanted}  # noqa: E731 - said again in a failure
        await until(lambda: said() == wanted, lambda: self.shadow.reported)


@asynccontextmanager
async def box(
    shadow: SimulatedShadow | None = None,
    broker: MemoryBroker | None = None,
    *,
    inference: PolicyService | None = None,
    configured: Policy | None = None,
    max_bytes: int = 6144,
    look_s: float = 3600.0,
    heartbeat_s: float = 3600.0,
    pace_s: float = 0.001,
    answer_s: float = 300.0,
) -> AsyncIterator[Box]:
    broker = broker or MemoryBroker()
    shadow = shadow or SimulatedShadow(MemoryBus(broker))
    inference = inference or PolicyService(says_defaults=True)
    await inference.start()
    bus = MemoryBus(broker)
    connection = Connection("shadow", "lineside", first_s=0.001, longest_s=0.01)
    async with httpx.AsyncClient(base_url=inference.url, trust_env=False) as client:
        link = InferenceLink(client, Connection("inference", inference.url, first_s=0.02, longest_s=0.1))
        source = ShadowSource(
            TopicsTransport(bus, "bench", "lineside", answer_s=answer_s),
            connection,
            link,
            own=lambda: OWN,
            max_bytes=8192,
            max_report_bytes=max_bytes,
            look_s=look_s,
            heartbeat_s=heartbeat_s,
            pace_s=pace_s,
            follow_s=0.01,
        )
        reporter = PolicyReporter(
            bus=bus,
            topic=reported_policy_topic("bench"),
            inference=link,
            max_bytes=6144,
            period_s=0.01,
            tell_too=source.told,
        )
        desk = PolicyDesk(
            sources=[source, ConfigurationSource(configured)],
            order=("shadow", "topic", "configuration"),
            inference=link,
            reporter=reporter,
            awaited=frozenset({"shadow"}),
            wait_s=3600.0,
        )
        work = (link.supervise(), shadow.run(), source.run(), reporter.run(), desk.run())
        tasks = [asyncio.create_task(each) for each in work]
        try:
            yield Box(shadow, inference, connection)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await inference.stop()


async def test_an_edit_is_applied_and_reported() -> None:
    async with box() as it:
        await it.reports(enabled=True, errors=[])
        await it.shadow.desire({"thresholds": {"scratch": 0.6}, "models": {"surface-defect": "1"}})
        await it.in_force(thresholds={"scratch": 0.6}, models={"surface-defect": "1"})
        await it.reports(thresholds={"scratch": 0.6}, models={"surface-defect": "1"}, errors=[])
        components = {"inference": "0.1.0", "topic_bridge": "0.1.0"}
        await it.reports(components=components, settings_hash={"topic_bridge": "0f" * 16})
        assert it.shadow.reported["source"] == "shadow"
        assert it.shadow.shadow.delta() == {}
        await it.shadow.desire({"enabled": False})
        await it.in_force(enabled=False, thresholds={"scratch": 0.6}, models={"surface-defect": "1"})
        await it.reports(enabled=False)
        before = it.shadow.reported["applied_at"]
        await it.shadow.desire({"enabled": None})
        await it.reports(enabled=True)
        assert it.shadow.reported["applied_at"] > before


async def test_a_name_that_is_taken_out_of_desired_is_the_next_sources_again() -> None:
    async with box(configured=Policy(thresholds={"default": 0.75, "scratch": 0.5})) as it:
        await it.shadow.desire({"thresholds": {"scratch": 0.6}})
        await it.in_force(thresholds={"default": 0.75, "scratch": 0.6})
        await it.shadow.desire({"thresholds": {"scratch": None}})
        await it.in_force(thresholds={"default": 0.75, "scratch": 0.5})
        await it.reports(thresholds={"default": 0.75, "scratch": 0.5})


async def test_a_wrong_edit_leaves_the_last_good_policy_and_is_reported_with_all_its_errors() -> None:
    async with box() as it:
        await it.shadow.desire({"thresholds": {"scratch": 0.6}})
        await it.reports(thresholds={"scratch": 0.6})
        puts = len(it.inference.puts)
        await it.shadow.desire({"enabled": "false", "enbled": True, "capture": {"rate": 2}})
        await until(lambda: len(it.shadow.reported.get("errors", ())) == 3, lambda: it.shadow.reported)
        places = sorted(error.partition(":")[0] for error in it.shadow.reported["errors"])
        assert places == ["policy.capture.rate", "policy.enabled", "policy.enbled"]
        assert it.shadow.reported["thresholds"] == {"scratch": 0.6}
        assert len(it.inference.puts) == puts
        await it.shadow.desire({"enabled": None, "enbled": None, "capture": None})
        await it.reports(errors=[], thresholds={"scratch": 0.6})


async def test_what_only_the_inference_service_can_refuse_is_reported_too() -> None:
    async with box() as it:
        await it.shadow.desire({"enabled": False})
        await it.in_force(enabled=False)
        it.inference.errors = ["policy.thresholds.scratch: 1.2 is above 1", "policy.models.x: no such model. Known: y"]
        await it.shadow.desire({"thresholds": {"scratch": 1.2}, "models": {"x": "2"}})
        await it.reports(errors=it.inference.errors, enabled=False)
        it.inference.errors = []
        await it.shadow.desire({"thresholds": None, "models": None, "enabled": True})
        await it.reports(errors=[], enabled=True)


async def test_a_desired_state_of_9_kilobytes_is_refused_by_its_size() -> None:
    async with box() as it:
        await it.shadow.desire({"thresholds": {f"label-{number:04}": 0.5 for number in range(600)}})
        await until(lambda: "allowed are 8192" in str(it.shadow.reported.get("errors")), lambda: it.shadow.reported)
        assert it.inference.puts == []


async def test_an_edit_while_the_bridge_was_away_is_applied_on_return() -> None:
    broker = MemoryBroker()
    shadow = SimulatedShadow(MemoryBus(broker))
    shadow.edit({"enabled": False})
    async with box(shadow, broker) as it:
        await it.in_force(enabled=False)
        await it.reports(enabled=False)


async def test_an_edit_that_nobody_tells_of_is_found_by_looking() -> None:
    async with box(look_s=0.02) as it:
        await it.reports(errors=[])
        it.shadow.edit({"enabled": False})
        await it.in_force(enabled=False)
        await it.reports(enabled=False)


async def test_a_shadow_that_does_not_answer_is_asked_again() -> None:
    broker = MemoryBroker()
    shadow = SimulatedShadow(MemoryBus(broker))
    shadow.edit({"enabled": False})
    shadow.is_away = True
    async with box(shadow, broker, configured=Policy(), answer_s=0.02) as it:
        await until(lambda: it.link.state is State.BACKOFF)
        assert it.inference.puts == []
        shadow.is_away = False
        await it.in_force(enabled=False)
        await until(lambda: it.link.is_online)


async def test_a_version_conflict_is_solved_by_reading_again() -> None:
    async with box() as it:
        await it.reports(enabled=True, errors=[])
        left = [3]

        def edit_between() -> None:
            if left[0]:
                left[0] -= 1
                it.shadow.edit({"thresholds": {"scratch": round(0.9 - left[0] / 10, 1)}})

        it.shadow.before_update = edit_between
        await it.shadow.desire({"enabled": False})
        await it.in_force(enabled=False, thresholds={"scratch": 0.9})
        await it.reports(enabled=False, thresholds={"scratch": 0.9}, errors=[])
        assert left == [0]


async def test_conflicts_without_end_are_bounded() -> None:
    async with box() as it:
        await it.reports(enabled=True, errors=[])
        before = len(it.shadow.updates)
        it.shadow.before_update = lambda: it.shadow.edit({"enabled": False})
        it.shadow.edit({"enabled": False})
        await it.shadow.desire({"enabled": False})
        await until(lambda: len(it.shadow.updates) == before + MAX_CONFLICTS)
        it.shadow.before_update = lambda: None
        await it.shadow.desire({"thresholds": {"scratch": 0.6}})
        await it.reports(enabled=False, thresholds={"scratch": 0.6})


async def test_edits_in_quick_succession_are_never_lost_and_reports_are_coalesced() -> None:
    async with box(pace_s=0.05) as it:
        await it.reports(enabled=True, errors=[])
        before = len(it.shadow.updates)
        for number in range(60):
            await it.shadow.desire({"thresholds": {"scratch": number / 100}})
        await it.in_force(thresholds={"scratch": 0.59})
        await it.reports(thresholds={"scratch": 0.59})
        assert it.shadow.shadow.delta() == {}
        assert len(it.shadow.updates) - before < 60


async def test_what_is_put_over_http_is_reported_and_stays_until_the_next_edit() -> None:
    async with box() as it:
        await it.shadow.desire({"thresholds": {"scratch": 0.6}})
        await it.reports(thresholds={"scratch": 0.6}, source="shadow")
        it.inference.policy = b'{"enabled":false}'
        await it.reports(enabled=False, source="other")
        await it.shadow.desire({"thresholds": {"scratch": 0.7}})
        await it.in_force(thresholds={"scratch": 0.7})
        await it.reports(enabled=True, source="shadow")


async def test_nothing_is_reported_twice() -> None:
    async with box() as it:
        await it.shadow.desire({"enabled": False})
        await it.reports(enabled=False, source="shadow")
        await until(lambda: "health" in it.shadow.reported)
        before = len(it.shadow.updates)
        gets = it.shadow.gets
        await it.shadow.desire({"enabled": False})
        await until(lambda: it.shadow.gets > gets)
        await it.inference.looked()
        assert len(it.shadow.updates) == before


async def test_health_is_reported_when_it_changes_and_again_as_a_heartbeat() -> None:
    inference = PolicyService(says_defaults=True)
    async with box(inference=inference) as it:
        said = lambda: it.shadow.reported.get("health", {})  # noqa: E731 - said again in a failure
        await until(lambda: said().get("ready") is True, said)
        inference.broken = ["triton"]
        await until(lambda: said() | {"at": 0} == {"ready": False, "down": ["inference.triton"], "at": 0}, said)
        inference.broken = []
        await until(lambda: said().get("ready") is True, said)
        assert said()["at"] > 1_700_000_000
        await inference.stop()
        await until(lambda: said()["down"] == ["inference"], said)
    async with box(heartbeat_s=0.0) as it:  # so often that the second changes
        await until(lambda: "health" in it.shadow.reported)
        first = it.shadow.reported["health"]
        await until(lambda: it.shadow.reported["health"]["at"] > first["at"])
        assert it.shadow.reported["health"]["ready"] is True


async def test_after_a_restart_the_same_policy_is_in_force_since_when_it_was_reported() -> None:
    broker = MemoryBroker()
    shadow = SimulatedShadow(MemoryBus(broker))
    async with box(shadow, broker) as it:
        await it.shadow.desire({"enabled": False})
        await it.reports(enabled=False, source="shadow")
        policy, since = it.inference.policy, it.shadow.reported["applied_at"]
    broker = MemoryBroker()
    again = SimulatedShadow(MemoryBus(broker))
    again.shadow, again.exists = shadow.shadow, True
    kept = PolicyService(says_defaults=True)
    kept.policy = policy
    async with box(again, broker, inference=kept) as it:
        await until(lambda: kept.puts)
        await kept.looked()
        assert it.shadow.reported["applied_at"] == since


async def test_after_a_restart_a_wrong_edit_leaves_the_policy_that_was_reported() -> None:
    broker = MemoryBroker()
    shadow = SimulatedShadow(MemoryBus(broker))
    shadow.edit({"enabled": "no"})
    shadow.shadow.state["reported"] = {"enabled": False, "thresholds": {"scratch": 0.6}, "errors": []}
    async with box(shadow, broker, configured=Policy(enabled=True, thresholds={"pit": 0.4})) as it:
        await it.in_force(enabled=False, thresholds={"pit": 0.4, "scratch": 0.6})
        await until(lambda: it.shadow.reported["errors"])


def test_a_version_that_failed_is_said_with_the_one_that_serves() -> None:
    failed = {"version": "2", "reason": "its warm-up failed"}
    models = [
        {"name": "a", "version": "1", "wanted": "2", "refused": failed},
        {"name": "b", "version": "3", "wanted": "3", "refused": failed},
        {"name": "c", "version": None, "wanted": "1", "refused": None},
    ]
    versions, errors = served(models)
    assert versions == {"a": "1", "b": "3"}
    assert errors == ("policy.models.a: version 2 failed, 1 serves: its warm-up failed",)


def test_at_most_five_updates_a_second_go_out() -> None:
    assert 1 / PACE_S <= 5
