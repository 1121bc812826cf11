"""A running service and its configuration: applied, ended by it, or left as it was."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import pytest
import structlog
from pydantic import Field

from lineside.contract import Policy
from lineside.greengrass.changes import Taker
from lineside.greengrass.configuration import layer
from lineside.greengrass.watch import ConfigurationWatch, Proposal
from lineside.settings import Section, Settings, load
from lineside_forwarder.settings import Settings as Forwarder
from tests.support.waiting import until


class Own(Section):
    policy: Policy = Field(default_factory=Policy, description="What the operator chose.")
    size: int = Field(10, description="How many.")


class Sample(Settings):
    section: ClassVar[str] = "inference"

    inference: Own = Field(default_factory=Own, description="The subject.")


class Core:
    """The nucleus as the watch sees it, and the service as the watch steers it."""

    def __init__(self, *, asks: bool = True) -> None:
        self.configuration: dict[str, Any] = {}
        self.asks = asks
        self.reads = 0
        self.judged: list[tuple[str, Sequence[str]]] = []
        self.failed: list[str] = []
        self.applied: list[Policy] = []
        self.unknown = "ghost"
        self.change: Callable[[], None] = lambda: None
        self.propose: Callable[[Proposal], None] = lambda _proposal: None

    def on_change(self, tell: Callable[[], None]) -> None:
        self.change = tell

    def on_proposal(self, tell: Callable[[Proposal], None]) -> bool:
        self.propose = tell
        return self.asks

    def judge(self, deployment: str, problems: Sequence[str]) -> None:
        self.judged.append((deployment, problems))

    def read(self, configuration: Mapping[str, Any] | None) -> Sample:
        self.reads += configuration is None
        given = self.configuration if configuration is None else configuration
        return load(Sample, above=layer(Sample, "com.lineside.Inference", given))

    async def problems(self, new: Sample) -> Sequence[str]:
        return [f"model {name!r} is not here" for name in new.inference.policy.models if name == self.unknown]

    async def apply(self, new: Sample) -> None:
        self.applied.append(new.inference.policy)

    def watch(self, *, takes_policy: bool = True, **more: Any) -> ConfigurationWatch[Sample]:
        takers = [Taker("inference.policy", self.problems, self.apply)] if takes_policy else []
        return ConfigurationWatch(
            self, self.read(None), read=self.read, fail=self.failed.append, takers=takers, settle_s=0, **more
        )

    def set(self, **configuration: Any) -> None:
        self.configuration = configuration
        self.change()


@asynccontextmanager
async def watching(core: Core, **options: Any) -> AsyncIterator[ConfigurationWatch[Sample]]:
    watch = core.watch(**options)
    task = asyncio.create_task(watch.run())
    try:
        await until(lambda: core.reads > 1)
        yield watch
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def policy(**values: Any) -> dict[str, Any]:
    return {"policy": values}


async def test_a_log_level_and_a_policy_are_applied_and_nothing_ends() -> None:
    core = Core()
    async with watching(core) as watch:
        core.set(log={"level": "debug"})
        await until(lambda: logging.getLogger().level == logging.DEBUG)
        core.set(log={"level": "debug"}, ConfidenceThreshold="0.8", inference=policy(capture={"rate": "0.5"}))
        await until(lambda: core.applied)
        assert core.applied[0].thresholds == {"default": 0.8}
        assert core.applied[0].capture.rate == 0.5
        core.set()  # what was removed is its default again
        await until(lambda: len(core.applied) == 2)
        assert core.applied[1] == Policy()
        await until(lambda: watch.settings == Sample())
        assert logging.getLogger().level == logging.INFO
    assert core.failed == []


async def test_what_was_applied_is_told_and_what_was_refused_is_not() -> None:
    core, told = Core(), []
    async with watching(core, in_force=told.append):
        core.set(ConfidenceThreshold="0.8")
        await until(lambda: core.applied)
        core.set(ConfidenceThreshold="ten")
        core.set(log={"level": "debug"}, ConfidenceThreshold="0.8")
        await until(lambda: told and told[-1].log.level == "debug")
    assert {each.inference.policy.thresholds["default"] for each in told if each.inference.policy.thresholds} == {0.8}
    assert told[-1].digest == told[-2].digest  # the level of the log is not part of it


async def test_edge_managers_word_for_the_level_of_the_log_is_applied_at_once() -> None:
    class Capturing(Core):
        def read(self, configuration: Mapping[str, Any] | None) -> Any:
            self.reads += configuration is None
            given = self.configuration if configuration is None else configuration
            return load(Forwarder, above=layer(Forwarder, "com.lineside.Forwarder", given))

    core = Capturing()
    async with watching(core):
        core.set(edge_manager={"SagemakerEdgeLogVerbose": "true"})
        await until(lambda: logging.getLogger().level == logging.DEBUG)
        core.set(edge_manager={"SagemakerEdgeLogVerbose": "loud"})  # refused
        core.set(edge_manager={"SagemakerEdgeLogVerbose": "false"})
        await until(lambda: logging.getLogger().level == logging.INFO)
    assert core.failed == []


async def test_a_setting_that_needs_a_new_start_ends_the_service_with_its_name() -> None:
    core = Core()
    async with watching(core) as watch:
        core.set(bus={"host": "other"}, ConfidenceThreshold=0.8)
        await until(lambda: core.failed)
        assert core.failed == ["the configuration changed bus.host: only a new start brings that into force"]
        assert (core.applied, watch.settings) == ([], Sample())


async def test_without_a_taker_a_policy_needs_a_new_start() -> None:
    core = Core()
    async with watching(core, takes_policy=False):
        core.set(ConfidenceThreshold=0.8)
        await until(lambda: core.failed)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"inference": {"size": "ten"}, "bus": {"port": 0}}, ["bus.port", "inference.size"]),
        ({"inference": policy(models={"ghost": "2"}), "log": {"level": "debug"}}, ["'ghost' is not here"]),
    ],
)
async def test_a_refused_one_changes_nothing_and_is_logged_with_all_errors(
    wrong: dict[str, Any], says: list[str]
) -> None:
    core = Core()
    async with watching(core) as watch:
        with structlog.testing.capture_logs() as lines:
            core.set(**wrong)
            await until(lambda: [line for line in lines if line["log_level"] == "error"])
        [line] = [line for line in lines if line["log_level"] == "error"]
        assert len(line["errors"]) == len(says)
        assert all(word in error for word, error in zip(says, line["errors"], strict=True))
        assert (core.applied, core.failed, watch.settings) == ([], [], Sample())
        assert logging.getLogger().level != logging.DEBUG
        core.set(ConfidenceThreshold=0.8)  # the next one is taken
        await until(lambda: core.applied)


async def test_a_key_that_a_deployment_takes_away_is_the_settings_own_again() -> None:
    core = Core()
    core.configuration = {"ConfidenceThreshold": "0.9", "inference": {"size": "11"}}
    async with watching(core) as watch:
        core.set(inference={"size": "11"})
        await until(lambda: core.applied)
        assert core.applied == [Policy()]
        with structlog.testing.capture_logs() as lines:  # a merge of null leaves the key without a value
            core.set(ConfidenceThreshold=None, inference={"size": None})
            await until(lambda: [line for line in lines if line["log_level"] == "error"])
        [errors] = [line["errors"] for line in lines if line["log_level"] == "error"]
        assert [error.partition(": ")[2] for error in errors] == [
            "ConfidenceThreshold: expected a number (got None)",
            "inference.size: expected a whole number (got None)",
        ]
        assert (core.failed, watch.settings.inference.size) == ([], 11)
        core.set()
        await until(lambda: core.failed)
        assert "inference.size" in core.failed[0]


async def test_what_changed_between_the_start_and_the_subscription_is_seen() -> None:
    core = Core()
    watch = core.watch()
    core.configuration = {"ConfidenceThreshold": 0.9}  # told to nobody
    task = asyncio.create_task(watch.run())
    await until(lambda: core.applied)
    task.cancel()


async def test_a_proposal_is_accepted_or_rejected_with_every_error() -> None:
    core = Core()
    async with watching(core) as watch:
        core.propose(Proposal("one", {"bus": {"host": "other"}, "ConfidenceThreshold": "0.5"}))
        core.propose(Proposal("two", {"inference": {"size": "ten"}, "bus": {"port": 0}, "thnig": "x"}))
        core.propose(Proposal("three", {"inference": policy(models={"ghost": "2"})}))
        await until(lambda: len(core.judged) == 3)
        [one, two, three] = core.judged
        assert one == ("one", [])
        assert two[0] == "two"
        assert [error.split(": ")[1] for error in two[1]] == ["bus.port", "inference.size", "thnig"]
        assert three == ("three", ["model 'ghost' is not here"])
        assert (core.applied, core.failed, watch.settings) == ([], [], Sample())  # asked is not given


async def test_a_nucleus_that_proposes_nothing_is_followed_all_the_same() -> None:
    core = Core(asks=False)
    async with watching(core):
        core.set(ConfidenceThreshold=0.8)
        await until(lambda: core.applied)


async def test_many_keys_of_one_deployment_are_read_together() -> None:
    core = Core()
    async with watching(core):
        before = core.reads
        core.configuration = {"log": {"level": "debug"}}
        for _key in range(100):
            core.change()
        await until(lambda: logging.getLogger().level == logging.DEBUG)
        assert core.reads < before + 50
