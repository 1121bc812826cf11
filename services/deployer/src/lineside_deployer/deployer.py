"""When the desired state is looked at, and what comes of it: at once on start and on notice, else by the period.

What cannot be had now is tried again with growing waits; what a document says wrongly is told and waits for another.
What a process before left in the middle comes first, and needs no network.
"""

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from lineside.backoff import Backoff
from lineside.connections import Connection
from lineside.errors import LinesideError
from lineside_deployer.artefacts import Artefacts
from lineside_deployer.database import Database
from lineside_deployer.desired.document import Deployment, Rules, read
from lineside_deployer.desired.sources import Source
from lineside_deployer.errors import ChangeFailed, DocumentRefused
from lineside_deployer.metrics import Metrics
from lineside_deployer.planning import plan
from lineside_deployer.records import Phase, Record
from lineside_deployer.repository import Repository
from lineside_deployer.transaction import Transaction

log = structlog.get_logger("lineside.deployer")

AGAIN = Backoff(5.0, 900.0, jitter=0.5)
JITTER = 0.1
"""The period is this share shorter or longer: a thousand boxes do not ask in the same second."""


def wait_s(period_s: float, failures: int, chance: float) -> float:
    """Return the seconds until the next look; `chance` is a random number in [0, 1)."""
    if failures:
        return min(period_s, AGAIN.wait_s(failures - 1, chance))
    return period_s * (1 - JITTER + 2 * JITTER * chance)


@dataclass
class Deployer:
    """Looks, and carries out what is wanted."""

    source: Source
    rules: Rules
    period_s: float
    database: Database
    repository: Repository
    artefacts: Artefacts
    metrics: Metrics
    connection: Connection
    """Shows whether the desired state can be had."""
    chance: Callable[[], float] = random.random
    boundary: Callable[[str], None] = lambda _step: None
    ended: Callable[[], None] = lambda: None
    """Called when a deployment has ended."""
    refused: str = ""
    """Why the latest document is not carried out."""
    _notice: asyncio.Event = field(default_factory=asyncio.Event)

    def notice(self) -> None:
        """Have it looked at at once; while a deployment runs, when that has ended."""
        self._notice.set()

    async def run(self) -> None:
        """Look for ever."""
        failures = 0
        while True:
            self._notice.clear()
            try:
                await self.look()
                failures = 0
            except LinesideError as error:
                failures += 1
                log.warning("deployments wait", reason=str(error), failures=failures)
                self.connection.backoff(error)
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s(self.period_s, failures, self.chance())):
                    await self._notice.wait()

    async def look(self) -> None:
        """Finish what was begun, then do what is wanted; raises LinesideError where that has to wait."""
        await self.finish()
        self.connection.connecting()
        try:
            text = await self.source.read()
            wanted = read(text, self.rules)
        except LinesideError as error:
            is_refused = isinstance(error, DocumentRefused)
            self.metrics.looks.labels("refused" if is_refused else "away").inc()
            if not is_refused:
                raise
            if self.refused != str(error):
                log.error("the desired state is refused; nothing is done", reason=str(error))  # noqa: TRY400 - foreseen
            self.refused = str(error)
            self.connection.online("the desired state is refused")
            return
        self.metrics.looks.labels("read").inc()
        self.refused = ""
        self.connection.online(f"{len(wanted)} deployments")
        self._supersede(wanted)
        waits: list[LinesideError] = []
        for deployment in wanted:
            record = plan(
                deployment,
                self.database.record(deployment.DeploymentName),
                self.database.installed(),
                self.repository.present(),
                time.time(),
            )
            if record is None:
                continue
            try:
                await self._carry_out(record)
            except LinesideError as error:  # its packages cannot be had now: the others need not wait
                waits.append(error)
        if waits:
            raise waits[0]
        definitions = [each for deployment in wanted for each in deployment.Definitions]
        await asyncio.to_thread(self.artefacts.forget, definitions)

    async def finish(self) -> None:
        """Bring what a process before has begun to its end, and undo what no record knows of."""
        for record in self.database.records():
            if record.phase not in {Phase.FETCHING, Phase.DONE}:
                await self._carry_out(record)
        for handle in self.repository.begun():
            log.warning("a change that was not brought to its end is undone", model=handle)
            try:
                if await self.repository.restore(handle) is not None:
                    await self.repository.confirm(handle)
                else:
                    await self.repository.gone(handle)
                await self.repository.settle(handle)
            except ChangeFailed as error:  # the next look tries it again
                log.warning("a change is not undone yet", model=handle, reason=str(error))

    async def _carry_out(self, record: Record) -> None:
        await Transaction(record, self.database, self.repository, self.artefacts, boundary=self.boundary).run()
        self.metrics.deployments.labels(record.status.lower()).inc()
        self.metrics.show(record)
        self.ended()

    def _supersede(self, wanted: tuple[Deployment, ...]) -> None:
        """End what was only fetched and is wanted no more."""
        digests = {(each.DeploymentName, each.digest) for each in wanted}
        for record in self.database.records():
            name = record.deployment.DeploymentName
            if record.phase is Phase.FETCHING and (name, record.digest) not in digests:
                for each in record.models:
                    each.status, each.reason = "FAIL", "the desired state names it no more; nothing was changed"
                record.phase, record.ended = Phase.DONE, time.time()
                self.database.save(record)
