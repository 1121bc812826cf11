"""What the simulated PLC does: it feeds parts slowly, except while it does a run of parts that was asked for."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

import httpx
import structlog

from lineside.contract import utc_now
from lineside_bench import config
from lineside_bench.options import Options
from lineside_bench.parts.labels import Truth
from lineside_bench.plcs.plc import Plc
from lineside_bench.reporting.evidence import EvidenceFiles, settled
from lineside_bench.reporting.records import Exchange, triggered_since
from lineside_bench.reporting.report import RunFacts, summarise
from lineside_bench.runner.engine import engine_of
from lineside_bench.runner.feeding import SETTLE_S, FreeStations, PartFeeder
from lineside_bench.runner.observer import MAX_EXCHANGES, Observer
from lineside_bench.simulators.remote import RemoteCameras, RemotePartSupply
from lineside_bench.simulators.runs import PartRun, PartRuns, RunState
from lineside_bench.simulators.settings import PlcSimSettings

log = structlog.get_logger("lineside.plc_sim")

FEW = 100
"""How many parts and exchanges are kept between runs: no report is made of them."""
SLOW_PATIENCE_S = 5.0
"""Between runs a part without a verdict leaves its station so long after its deadline: services may not be up yet."""
OLDER_S = 10.0
"""Evidence of a run is in no file that was finished this long before it."""


class Feeder:
    """Feeds the stations of the PLC between runs, and does the runs."""

    def __init__(
        self,
        settings: PlcSimSettings,
        runs: PartRuns,
        *,
        plc: Plc,
        cameras: RemoteCameras,
        observer: Observer,
        client: httpx.AsyncClient,
    ) -> None:
        self._settings = settings
        self._runs = runs
        self._plc = plc
        self._cameras = cameras
        self._observer = observer
        self._client = client
        self._stations = FreeStations(plc.stations)
        self._slow_supply = RemotePartSupply(cameras, seed=settings.seed)

    async def live(self) -> None:
        """Feed until cancelled; what is under way then gets until its deadline."""
        while True:
            self._observer.begin(FEW)
            await _until(self._slowly(), self._runs.asked())
            run = self._runs.current
            assert run is not None  # noqa: S101 - what was waited for
            try:
                await self._do(run)
            finally:
                self._runs.end(run)

    async def _slowly(self) -> None:
        if not self._settings.rate:
            await asyncio.Event().wait()
        feeding = self._feeding(
            self._slow_supply,
            rate=self._settings.rate,
            seed=self._settings.seed,
            patience_s=self._settings.deadline_ms / 1000 + SLOW_PATIENCE_S,
            keep=FEW,
        )
        await feeding.run(None)

    async def _do(self, run: PartRun) -> None:
        log.info("run begins", run=run.id, parts=run.request.parts, rate=run.request.rate, seed=run.seed)
        await self._observer.settled(SETTLE_S)
        self._observer.begin(MAX_EXCHANGES)
        start = utc_now()

        def exchanges() -> dict[str, Exchange]:
            """Return the exchanges of this run's own triggers; messages of earlier parts may still arrive."""
            return triggered_since(self._observer.exchanges(), start)

        files = EvidenceFiles(self._settings.evidence, since=time.time() - OLDER_S) if self._settings.evidence else None
        strays = self._strays()
        feeding = self._feeding(
            RemotePartSupply(self._cameras, seed=run.seed),
            rate=run.request.rate,
            seed=run.seed,
            patience_s=Options.patience_s,
            keep=run.request.parts,
        )
        run.tally = feeding.tally
        run.state = RunState.feeding
        await _until(feeding.run(run.request.parts), run.interrupted.wait())
        run.state = RunState.reporting
        await self._observer.settled(SETTLE_S)
        try:
            evidence = await settled(files, exchanges, only_seen=True) if files else None
        except (OSError, ValueError, KeyError) as error:
            log.exception("evidence cannot be read", run=run.id)
            run.error = f"the evidence in {self._settings.evidence} cannot be read: {error!r:.300}"
            return
        facts = RunFacts(
            rate=run.request.rate,
            seed=run.seed,
            stations=len(self._plc.stations),
            ready_s=None,
            engine=await engine_of(self._client, url) if (url := self._settings.inference_url) else {},
            errors=dict(self._observer.errors),
            error_reports=tuple(self._observer.error_reports),
            outages=tuple(self._observer.outages),
            windows_of=config.SPINDLE,
            strays=self._strays() - strays,
            behind_s=feeding.tally.behind_s,
            evidence=evidence,
            interrupted=run.interrupted.is_set(),
        )
        run.summary = summarise(list(feeding.records), exchanges(), facts)
        log.info("run is over", run=run.id, parts=run.summary["parts"], verdicts=run.summary["verdicts"])

    def _feeding(
        self, supply: RemotePartSupply, *, rate: float, seed: int, patience_s: float, keep: int
    ) -> PartFeeder[Truth]:
        return PartFeeder(
            self._stations,
            supply,
            rate=rate,
            seed=seed,
            deadline_ms=self._settings.deadline_ms,
            patience_s=patience_s,
            keep=keep,
        )

    def _strays(self) -> int:
        return sum(len(station.strays) for station in self._plc.stations)


async def _until(work: Coroutine[Any, Any, None], event: Coroutine[Any, Any, Any]) -> None:
    """Do the work, or as much of it as there is time for until the event; it ends in order either way."""
    working, coming = asyncio.create_task(work), asyncio.create_task(event)
    try:
        await asyncio.wait({working, coming}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        coming.cancel()
        if not working.done():
            working.cancel()
        await asyncio.gather(working, coming, return_exceptions=True)
    if not working.cancelled():
        working.result()
