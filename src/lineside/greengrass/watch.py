"""Follows a component's configuration while the service runs, and judges what a deployment proposes.

What can be applied at once is; for the rest the service ends with the reason, and the nucleus starts it again with its
new configuration. A configuration that would be refused at a start changes nothing: it is logged with all its errors,
and the settings before it stay in force. Where the nucleus asks beforehand (the classic one, by configuration
validation), such a deployment is answered REJECTED with all errors, and never arrives.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

import structlog

from lineside import telemetry
from lineside.errors import LinesideError, SettingsError
from lineside.greengrass.changes import AT_ONCE, Taker, change
from lineside.settings import Settings
from lineside.threads import hand_over, run_abandonable

log = structlog.get_logger("lineside.greengrass")

SETTLE_S = 0.25
"""One deployment tells of each of its keys; the configuration is read when none was told for so long."""
LONGEST_SETTLE_S = 2.0
JUDGE_S = 10.0
"""Longest time for judging a proposal: a deployment waits 30 s by default, `configurationValidationPolicy`."""

S = TypeVar("S", bound=Settings)


@dataclass(frozen=True)
class Proposal:
    """The configuration that a deployment is about to give the component."""

    deployment: str
    configuration: Mapping[str, Any]


class Nucleus(Protocol):
    """What the watch needs of the nucleus. Its callbacks come on any thread, and must be quick."""

    def on_change(self, tell: Callable[[], None]) -> None:
        """Have each change of our configuration told from now on; blocks until that is so."""

    def on_proposal(self, tell: Callable[[Proposal], None]) -> bool:
        """Have proposals told from now on; blocks; return False where this nucleus proposes nothing."""

    def judge(self, deployment: str, problems: Sequence[str]) -> None:
        """Answer a proposal: ACCEPTED without problems, else REJECTED with all of them; blocks."""


class ConfigurationWatch(Generic[S]):
    """Keeps one service at its component's configuration.

    `read` returns the settings of a configuration, or of the one in force with None, and raises SettingsError; it may
    block. `fail` ends the service with a reason, for the nucleus to start it again. `in_force` gets settings that were
    applied. `is_asked`: whether it judges what deployments propose; of two processes of a component one does.
    """

    def __init__(
        self,
        nucleus: Nucleus,
        settings: S,
        *,
        read: Callable[[Mapping[str, Any] | None], S],
        fail: Callable[[str], None],
        takers: Sequence[Taker] = (),
        in_force: Callable[[S], None] = lambda _settings: None,
        settle_s: float = SETTLE_S,
        is_asked: bool = True,
    ) -> None:
        self.settings = settings
        """Those in force."""
        self._nucleus = nucleus
        self._read = read
        self._fail = fail
        self._takers = takers
        self._in_force = in_force
        self._settle_s = settle_s
        self._is_asked = is_asked
        self._changed = asyncio.Event()
        self._proposals: asyncio.Queue[Proposal] = asyncio.Queue()

    async def run(self) -> None:
        """Follow for ever."""
        loop = asyncio.get_running_loop()

        def changed() -> None:
            hand_over(loop, self._changed.set)

        def proposed(proposal: Proposal) -> None:
            hand_over(loop, self._proposals.put_nowait, proposal)

        await run_abandonable(lambda: self._nucleus.on_change(changed), "greengrass changes")
        if self._is_asked and not await run_abandonable(
            lambda: self._nucleus.on_proposal(proposed), "greengrass proposals"
        ):
            log.info("this nucleus does not ask before a deployment; a wrong configuration is refused when it arrives")
        self._changed.set()  # it may have changed since the start
        async with asyncio.TaskGroup() as both:
            both.create_task(self._follow(), name="configuration changes")
            both.create_task(self._judge(), name="configuration proposals")

    async def look(self) -> None:
        """Read the configuration and do what its changes need; raises LinesideError where it cannot be asked for."""
        try:
            new = await run_abandonable(lambda: self._read(None), "greengrass configuration")
        except SettingsError as error:
            _log_refused(error)
            return
        try:
            needs = change(self.settings, new, {*AT_ONCE, *(taker.path for taker in self._takers)})
            if needs.anew:
                log.warning("the service ends, to start with its new configuration", changed=needs.anew)
                self._fail(needs.reason)
                return
            takers = [taker for taker in self._takers if any(_below(path, taker.path) for path in needs.at_once)]
            if problems := [problem for taker in takers for problem in await taker.problems(new)]:
                raise SettingsError(problems)
            for taker in takers:
                await taker.apply(new)
        except LinesideError as error:
            _log_refused(error)
            return
        telemetry.set_level(new.log_level)
        for remark in new.remarks():
            if remark not in self.settings.remarks():  # each is said once
                log.warning("settings", remark=remark)
        self.settings = new
        self._in_force(new)
        if needs.at_once:
            log.info("the new configuration is in force", changed=needs.at_once)

    async def problems(self, configuration: Mapping[str, Any]) -> Sequence[str]:
        """Return everything that is wrong with a proposed configuration."""
        try:
            async with asyncio.timeout(JUDGE_S):
                new = await run_abandonable(lambda: self._read(configuration), "greengrass proposal")
                return [problem for taker in self._takers for problem in await taker.problems(new)]
        except SettingsError as error:
            return error.problems
        except TimeoutError:
            return [f"it could not be judged within {JUDGE_S:g} s; see this component's log, and deploy it again"]

    async def _follow(self) -> None:
        while True:
            await self._changed.wait()
            await self._settled()
            await self.look()

    async def _settled(self) -> None:
        """Wait until no change was told for a while, and not for ever."""
        try:
            async with asyncio.timeout(LONGEST_SETTLE_S):
                while self._changed.is_set():
                    self._changed.clear()
                    await asyncio.sleep(self._settle_s)
        except TimeoutError:
            self._changed.clear()

    async def _judge(self) -> None:
        while True:
            proposal = await self._proposals.get()
            problems = await self.problems(proposal.configuration)
            log.info("configuration judged", deployment=proposal.deployment, accepted=not problems, errors=problems)
            judge = partial(self._nucleus.judge, proposal.deployment, problems)
            try:
                await run_abandonable(judge, "greengrass judgement")
            except LinesideError as error:
                log.error("the nucleus did not take our judgement", deployment=proposal.deployment, reason=str(error))  # noqa: TRY400 - same


def _log_refused(error: LinesideError) -> None:
    errors = error.problems if isinstance(error, SettingsError) else [str(error)]
    log.error("the new configuration is refused; the one before stays in force", errors=errors)


def _below(path: str, group: str) -> bool:
    return f"{path}.".startswith(f"{group}.")
