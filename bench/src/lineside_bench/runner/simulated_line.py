"""The simulated line: its peers started, supervised and stopped, parts fed to its stations, and the run summarised."""

import asyncio
import contextlib
import gc
import os
import shutil
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from lineside_bench import config
from lineside_bench.checkout import TRITON_ENVIRONMENT, find_root
from lineside_bench.options import CameraKind, Options, station_names
from lineside_bench.parts.renderer import MAX_AHEAD, JpegPart, Renderer
from lineside_bench.peers import triton
from lineside_bench.peers.broker import BusKind
from lineside_bench.peers.camera import CameraServer
from lineside_bench.peers.gige_cameras import GigeCameras
from lineside_bench.plcs.environment import Stack
from lineside_bench.plcs.plc import Plc, StackPlc
from lineside_bench.processes.leftovers import Leftovers
from lineside_bench.processes.ports import HOST, Ports, reserve
from lineside_bench.processes.process import Process, clean_environment
from lineside_bench.processes.usage import Usage, machine_busy_s, taken, usage_of
from lineside_bench.reporting.evidence import EvidenceAccount, EvidenceFiles, settled
from lineside_bench.reporting.load import LineLoad
from lineside_bench.reporting.pictures import Pictures, kept_of_parts
from lineside_bench.reporting.records import PartRecord, PictureAccount
from lineside_bench.reporting.report import RunFacts, stages_of, summarise
from lineside_bench.reporting.tally import Tally
from lineside_bench.runner import checks
from lineside_bench.runner.bus_peer import BusPeer, over_ipc, over_mqtt
from lineside_bench.runner.engine import engine_of
from lineside_bench.runner.feeding import SETTLE_S, FreeStations, PartFeeder
from lineside_bench.runner.observer import Observer

START_S = 90.0
NICE = {"opcua-bridge": -10, "topic-bridge": -5}
"""As the containers' weights: what tells the PLC `unknown` in time comes before what makes parts late."""
SIMULATORS = "simulators"
"""The name under which the load of this process is reported: PLC, cameras, and who feeds and watches."""
HTTP_S = 2.0
TRITON_STOP_S = 3.0
"""Seconds until it is killed: it takes up to eight to stop by itself, and keeps nothing that could be lost."""


class SimulatedLine:
    """The whole line, running while it is entered.

    `processes` are by name: broker (over IPC: nucleus), triton, inference, topic-bridge, opcua-bridge, forwarder,
    exporter. `root` is the checkout. Its files are in the temporary folder `work`, which is removed at the end unless
    `keep` was called or the start failed; `files` reads the evidence there. `note` hears of what is installed on first
    use. Entering raises BenchError for what is missing or does not start.
    """

    def __init__(
        self, options: Options, *, root: Path | None = None, note: Callable[[str], object] = lambda _text: None
    ) -> None:
        options.check()
        self.options = options
        self.root = root or find_root()
        self.work = Path()
        self.processes: dict[str, Process] = {}
        self.files = EvidenceFiles(self.work)
        self.ready_s = 0.0
        self.ports: Ports
        self.plc: Plc | StackPlc
        self.camera: CameraServer | GigeCameras
        self.pictures = Pictures()
        self.observer: Observer
        self._bus: BusPeer
        self._note = note
        self._renderer: Renderer
        self._http: httpx.AsyncClient
        self._feeding: PartFeeder[JpegPart] | None = None
        self._before: _Measured | None = None
        self._after: _Measured | None = None
        self._keep = False
        self._leftovers = Leftovers()
        self._life = contextlib.AsyncExitStack()

    @property
    def records(self) -> deque[PartRecord]:
        """The parts so far, the newest ones; none before the line is entered."""
        return self._feeding.records if self._feeding else deque()

    @property
    def tally(self) -> Tally:
        """The run so far."""
        return self._feeding.tally if self._feeding else Tally()

    @property
    def endpoints(self) -> dict[str, str]:
        """Return where each peer is."""
        schemes = {"opcua": "opc.tcp"}
        shown = {name: f"{schemes.get(name, 'http')}://{HOST}:{port}" for name, port in self.ports.chosen.items()}
        if isinstance(self.camera, GigeCameras):
            shown |= {f"camera_{station}": f"gige://{each.address}" for station, each in self.camera.cameras.items()}
        bus, address = self._bus.endpoint
        return {**shown, "triton_grpc": f"{HOST}:{self.ports['triton_grpc']}", bus: address}

    @property
    def state(self) -> dict[str, Any]:
        """Return the content of the state file."""
        processes = {
            name: {"pid": process.pid, "restarts": process.restarts, "log": str(process.log)}
            for name, process in self.processes.items()
        }
        return {
            "ready": True,
            "pid": os.getpid(),
            "endpoints": self.endpoints,
            "processes": processes,
            "work": str(self.work),
        }

    def keep(self) -> None:
        """Keep the logs when the line ends."""
        self._keep = True
        self._leftovers.keep(self.work)

    def remove_at_end(self, path: Path) -> None:
        """Remove a file when the line ends, however it ends."""
        self._leftovers.add(path.absolute())

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as life:
            repository = self.root / "models"
            environment = self.root / TRITON_ENVIRONMENT
            checks.check(
                repository=repository, models=(config.MODEL, config.SPINDLE_MODEL), triton_environment=environment
            )
            self.ports = life.enter_context(reserve(self.options.ports, defaults=self._port_defaults()))
            life.enter_context(self._leftovers)
            self.work = Path(tempfile.mkdtemp(prefix="lineside-bench-"))
            self._leftovers.add(self.work)
            self.files = EvidenceFiles(self.work / config.CAPTURE)
            life.push(self._leave_work)
            started = time.monotonic()
            await self._start(life)
            # The PLC's address space is half a million objects. A garbage collection that traverses them would stop the
            # PLC and the cameras for a quarter of a second in the middle of a run and falsify its latencies.
            gc.collect()
            gc.freeze()
            life.callback(gc.unfreeze)
            self.ready_s = time.monotonic() - started
            self._life = life.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._life.__aexit__(kind, error, traceback)

    async def run(self, parts: int | None = None) -> None:
        """Feed parts at the rate and return when each has left its station; `parts` None is as many as the options say.

        Cancelling stops the feeding; what is under way gets until its deadline.
        """
        assert self._feeding is not None, "enter the line first"  # noqa: S101 - a mistake in our own code
        self._before = self._measured()
        await self._feeding.run(self.options.parts if parts is None else parts)
        self._after = self._measured()
        await self.observer.settled(SETTLE_S)

    async def feed(self, parts: int, rate: float) -> None:
        """Feed so many parts at another rate than the options'; records, tally and load are theirs then."""
        self._feeding = self._feeder(rate)
        await self.run(parts)

    def stages_ms(self) -> dict[str, Any]:
        """Return where the time went for the parts of the last run, by stage."""
        return stages_of(list(self.records), self.observer.exchanges())

    @property
    def load(self) -> LineLoad:
        """Return what the processes took while the parts of the last run came, and what of the machine was busy."""
        before = self._before or self._measured()
        now = self._after or self._measured()
        return LineLoad(
            seconds=now.at - before.at,
            cores=len(os.sched_getaffinity(0)),
            busy_s=now.busy_s - before.busy_s,
            parts=self.tally.judged + self.tally.missing,
            services=taken(now.services, before.services),
        )

    def _measured(self) -> "_Measured":
        services = {name: usage_of(process.pid) for name, process in self.processes.items()}
        services[SIMULATORS] = usage_of(os.getpid(), children=False)
        return _Measured(time.monotonic(), machine_busy_s(), services)

    def _feeder(self, rate: float) -> PartFeeder[JpegPart]:
        return PartFeeder(
            FreeStations(self.plc.stations),
            _LocalPartSupply(self._renderer, self.camera, self.pictures),
            rate=rate,
            seed=self.options.seed,
            deadline_ms=self.options.deadline_ms,
            patience_s=self.options.patience_s,
        )

    async def summary(self, *, interrupted: bool = False) -> dict[str, Any]:
        """Return what came of the parts so far; the shape is `lineside_bench.reporting.report`'s."""
        facts = RunFacts(
            rate=self.options.rate,
            seed=self.options.seed,
            stations=self.options.station_count,
            ready_s=self.ready_s,
            engine=await self.engine(),
            restarts={name: process.restarts for name, process in self.processes.items()},
            errors=dict(self.observer.errors),
            error_reports=tuple(self.observer.error_reports),
            outages=tuple(self.observer.outages),
            windows_of=config.SPINDLE,
            strays=sum(len(station.strays) for station in self.plc.stations),
            behind_s=self.tally.behind_s,
            cameras=self.options.cameras,
            plc=self.options.plc,
            gap_ms=self.options.gap_ms,
            evidence=await self.evidence(),
            load=self.load,
            pictures=await asyncio.to_thread(self._compared),
            interrupted=interrupted,
        )
        return summarise(list(self.records), self.observer.exchanges(), facts)

    async def evidence(self, *of: str) -> EvidenceAccount:
        """Return what became of the evidence.

        Waits, within bounds, until all that was or should be kept is in the files, and that of the requests `of` too.
        """
        return await settled(self.files, self.observer.exchanges, of=of)

    async def engine(self) -> dict[str, Any]:
        """Return what the inference service says of its engine; nothing where it does not answer."""
        return await engine_of(self._http, self.endpoints["inference"])

    def _port_defaults(self) -> dict[str, int]:
        """Return the default port of each peer that this line has."""
        without = {"mqtt"} if self.options.bus is BusKind.ipc else set()
        without |= set() if self.options.cameras is CameraKind.http else {"camera"}
        return {name: port for name, port in self.options.port_defaults.items() if name not in without}

    def _compared(self) -> PictureAccount:
        """Return whether the pictures that were kept show their parts."""
        return self.pictures.account(kept_of_parts(self.observer.exchanges(), self.files.images))

    async def _start(self, life: contextlib.AsyncExitStack) -> None:
        """Start all processes at the same time: no service needs a peer to be there first, but a component its core."""
        options, stations = self.options, station_names(self.options.station_count)
        self._http = await life.enter_async_context(httpx.AsyncClient(timeout=HTTP_S, trust_env=False))
        if options.cameras is not CameraKind.http:
            by_line = options.cameras is CameraKind.genicam_hardware
            self.camera = life.enter_context(GigeCameras(stations, by_line=by_line))
        else:
            self.camera = await life.enter_async_context(
                CameraServer(port=self.ports["camera"], stations=stations, answer_s=options.camera_ms / 1000)
            )
        self._bus = self._prepare_bus()
        ahead = options.pictures or (MAX_AHEAD if options.parts is not None else len(stations))
        count = 0 if options.rate <= 0 else options.parts
        self._renderer = await life.enter_async_context(
            Renderer(seed=options.seed, count=count, ahead=ahead, pictures=options.pictures)
        )
        self._prepare_processes()
        self.plc = await life.enter_async_context(self._make_plc())
        for process in self.processes.values():
            life.push_async_callback(process.stop)
        at_once = list(self.processes.values())
        if self.options.bus is BusKind.ipc:
            core = self.processes[self._bus.name]
            await core.start()
            at_once.remove(core)
        try:
            async with asyncio.TaskGroup() as starting:
                for process in at_once:
                    starting.create_task(process.start(), name=f"start {process.name}")
                starting.create_task(self._renderer.full(), name="render ahead")
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        if isinstance(self.camera, GigeCameras):
            await self.camera.until_taken(START_S)
            for station in self.plc.stations:
                station.line = self.camera.fire
        self.observer = await life.enter_async_context(self._bus.observer())
        self._feeding = self._feeder(options.rate)

    def _make_plc(self) -> Plc | StackPlc:
        """Return the PLC: asyncua's in this process, where the bench sees its writes soonest, others in their own."""
        port, stations, options = self.ports["opcua"], self.options.station_count, self.options
        if options.plc is Stack.asyncua:
            return Plc(port=port, stations=stations, seed=options.seed, gap_ms=options.gap_ms)
        return StackPlc(
            options.plc,
            root=self.root,
            port=port,
            log=self.work / "plc.log",
            note=self._note,
            stations=stations,
            seed=options.seed,
            gap_ms=options.gap_ms,
        )

    def _prepare_bus(self) -> BusPeer:
        for name in (config.IMAGES, config.CAPTURE):
            (self.work / name).mkdir()
        document = config.settings_document(
            config.on_loopback(self.ports, repository=self.root / "models", work=self.work),
            stations=self.options.station_count,
            deadline_ms=self.options.deadline_ms,
            concurrency=self.options.concurrency,
            margin_ms=self.options.margin_ms,
            windows=self.options.rate > 0,  # a line without parts asks for nothing by itself
            cameras=self.camera.settings() if isinstance(self.camera, GigeCameras) else None,
        )
        if self.options.bus is BusKind.ipc:
            return over_ipc(document, root=self.root, work=self.work)
        return over_mqtt(self.options.broker, document, port=self.ports["mqtt"], work=self.work)

    def _prepare_processes(self) -> None:
        environment = clean_environment()
        launch = triton.launch(
            self.root / TRITON_ENVIRONMENT,
            repository=self.root / "models",
            work=self.work / "triton",
            http_port=self.ports["triton_http"],
            grpc_port=self.ports["triton_grpc"],
            metrics_port=self.ports["triton_metrics"],
        )
        self._leftovers.add(triton.SHARED_MEMORY / f"{launch.shm_prefix}*")
        self._add(self._bus.name, self._bus.argv, environment, self._bus.ready)
        self._add(
            "triton",
            launch.argv,
            launch.env,
            _HttpReady(self._http, f"{self.endpoints['triton_http']}/v2/health/ready"),
            stop_s=TRITON_STOP_S,
            after_exit=lambda: triton.clean_shared_memory(launch.shm_prefix),
        )
        for service in config.SERVICES:
            argv = (sys.executable, "-m", f"lineside_{service}", *self._bus.arguments)
            ready = _HttpReady(self._http, f"{self.endpoints[service]}/readyz")
            given = {**environment, **self._bus.environments.get(service, {})}
            self._add(service.replace("_", "-"), argv, given, ready)

    def _add(self, name: str, argv: tuple[str, ...], env: dict[str, str], ready: Any, **more: Any) -> None:
        more = {"nice": NICE.get(name, 0), **more}
        log = self.work / f"{name}.log"
        self.processes[name] = Process(name, argv, env=env, log=log, ready=ready, ready_s=START_S, **more)

    def _leave_work(
        self, kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> bool:
        failed = kind is not None and not issubclass(kind, asyncio.CancelledError | KeyboardInterrupt)
        if self._keep or failed:
            self._leftovers.keep(self.work)
        else:
            shutil.rmtree(self.work, ignore_errors=True)
        return False


@dataclass(frozen=True)
class _Measured:
    """What was taken of the machine up to an instant of the monotonic clock."""

    at: float
    busy_s: float
    services: Mapping[str, Usage]


class _LocalPartSupply:
    """The parts of a run as the renderer makes them, shown to cameras in this process."""

    def __init__(self, renderer: Renderer, camera: CameraServer | GigeCameras, pictures: Pictures) -> None:
        self._renderer = renderer
        self._camera = camera
        self._pictures = pictures

    async def next(self) -> JpegPart:
        return await self._renderer.next()

    async def show(self, station: str, part: JpegPart) -> None:
        self._pictures.remember(part.part_id, part.jpeg)
        self._camera.show(station, part)

    async def clear(self, station: str) -> None:
        self._camera.show(station, None)


class _HttpReady:
    """Ready when the URL answers 200; else what it answers, with the required connections that are not online."""

    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        self._client = client
        self._url = url

    async def __call__(self) -> str | None:
        try:
            answer = await self._client.get(self._url)
        except httpx.HTTPError as error:
            return f"{self._url} does not answer ({type(error).__name__})"
        if answer.is_success:
            return None
        return f"{self._url} answers {answer.status_code}{_waiting(answer)}"


def _waiting(answer: httpx.Response) -> str:
    try:
        links = answer.json()["connections"]
        return "".join(
            f"; {link['name']} at {link['target']} {link['state']} {link['detail']}".rstrip()
            for link in links
            if link["required"] and link["state"] != "ONLINE"
        )
    except (ValueError, KeyError, TypeError):
        return ""
