"""The core: its components, the IPC server, and deployments that are tracked and rolled back.

A deployment is prepared before anything changes: versions, platform, configuration, artifacts, the components' own
judgement of their new configuration. Then what changed is stopped, installed and started; all others go on. When every
component is where it was to go the deployment has succeeded; when one is BROKEN the last good one comes back, with its
configuration.
"""

import asyncio
import copy
import os
import platform as machine
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self

from lineside_bench.errors import BenchError
from lineside_bench.greengrass.core import artifacts, configuration, preparing, resolution, scripts
from lineside_bench.greengrass.core.artifacts import Unavailable
from lineside_bench.greengrass.core.component import Component, Launch, Surroundings, counts_as_there
from lineside_bench.greengrass.core.document import ROLLBACK, Deployment
from lineside_bench.greengrass.core.lifecycle import State
from lineside_bench.greengrass.core.plan import Change, Release, changes
from lineside_bench.greengrass.core.preparing import Prepared, Ways
from lineside_bench.greengrass.core.reading import Node
from lineside_bench.greengrass.core.recipe import Manifest, Recipe, read_recipe
from lineside_bench.greengrass.core.resolution import Unresolvable
from lineside_bench.greengrass.core.scripts import Shell
from lineside_bench.greengrass.core.store import Kept, Store
from lineside_bench.greengrass.core.variables import Place, Scope
from lineside_bench.greengrass.ipc_server import CLASSIC, LITE, Core, IpcServer

GGC_VERSION = "2.12.6"
MAX_SOCKET_BYTES = 107
"""The longest path of a Unix socket."""
ARCHITECTURES = MappingProxyType({"x86_64": "amd64", "AMD64": "amd64", "arm64": "aarch64", "armv7l": "arm"})
"""What Greengrass calls an architecture, where that is not its usual name."""
_ASK_S = 0.05
_TAIL_BYTES = 8192


class Status(StrEnum):
    """How a deployment ended; the names are Greengrass' own."""

    SUCCEEDED = "SUCCEEDED"
    NO_STATE_CHANGE = "FAILED_NO_STATE_CHANGE"
    ROLLED_BACK = "FAILED_ROLLBACK_COMPLETE"
    NOT_ROLLED_BACK = "FAILED_UNABLE_TO_ROLLBACK"
    NOT_REQUESTED = "FAILED_ROLLBACK_NOT_REQUESTED"


@dataclass(frozen=True)
class Outcome:
    """What became of a deployment: why it failed, and what happened to each component."""

    status: Status
    why: str = ""
    changes: Mapping[str, Change] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True)
class Member:
    """One component as a deployment wants it."""

    recipe: Recipe
    manifest: Manifest
    configuration: Mapping[str, Any]
    steps: Mapping[str, Prepared]
    hard: tuple[str, ...]

    @property
    def release(self) -> Release:
        """What it is compared by."""
        return preparing.release(self.recipe, self.steps, self.configuration)


Members = dict[str, Member]


@dataclass(frozen=True)
class Device:
    """What a core device is: its name, region, platform attributes, and where its file artifacts are."""

    thing: str = "bench"
    region: str = "eu-central-1"
    platform: Mapping[str, str] = field(default_factory=dict)
    files: Path | None = None


def this_machine() -> dict[str, str]:
    """Return the platform attributes of this machine, as the nucleus finds them."""
    return {"os": machine.system().lower(), "architecture": ARCHITECTURES.get(machine.machine(), machine.machine())}


def check_socket(path: Path, remedy: str) -> None:
    """Raise BenchError where a path is too long for a Unix socket."""
    if len(bytes(path)) > MAX_SOCKET_BYTES:
        what = f"{path} has {len(bytes(path))} bytes; a socket's path has at most {MAX_SOCKET_BYTES}"
        raise BenchError(what, remedy=remedy)


class Nucleus:
    """A core device in a folder. Enter it: components of the last run are started again; leave it: all are stopped.

    `tell` gets each state that a component comes to, with why. Raises BenchError where the folder is another core's, or
    its path is too long for a socket.
    """

    def __init__(
        self,
        root: Path,
        *,
        ways: Ways,
        device: Device,
        tell: Callable[[str, State, str], None] = lambda _name, _state, _why: None,
        grace_s: float = scripts.GRACE_S,
        keeps_messages: bool = True,
    ) -> None:
        self.root = root.resolve()
        self.ways = ways
        self.device = device
        self.core = Core(device.thing, LITE if ways.name == "lite" else CLASSIC)
        self.server = IpcServer(self.root / "ipc" / "ipc.socket", self.core, keeps_messages=keeps_messages)
        self.components: dict[str, Component] = {}
        self.interrupted = ""
        """The deployment in whose middle the last run ended; what it brought stands, and is not rolled back."""
        self._members: Members = {}
        self._tell = tell
        self._grace_s = grace_s
        self._store = Store(self.root)
        self._deployment = ""
        self._is_under_way = False
        self._interpolates = False
        self._runs: dict[str, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        self._serving: asyncio.Task[None] | None = None
        self.core.on_state.append(self._reported)
        self.core.on_change.append(self._configuration_changed)

    async def __aenter__(self) -> Self:
        check_socket(self.server.path, "Name a folder with a shorter path")
        kept = self._store.open()
        self.server.path.parent.mkdir(exist_ok=True)  # of its own: recipes hand it to containers
        try:
            self.interrupted = kept.deployment if kept.is_under_way else ""
            self._deployment = kept.deployment
            self._interpolates = kept.interpolates
            members = self._remembered(kept)
            ready = asyncio.Event()
            self._serving = asyncio.get_running_loop().create_task(self.server.serve(ready.set))
            await asyncio.wait(
                [self._serving, waiting := asyncio.ensure_future(ready.wait())], return_when=asyncio.FIRST_COMPLETED
            )
            waiting.cancel()
            if self._serving.done():
                self._serving.result()
        except BaseException:
            self._store.close()
            raise
        self._members = members
        for name in resolution.order({name: member.recipe for name, member in members.items()}):
            self._add(name, members[name])
            self.components[name].life.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for name in reversed(self._order()):
                await self._end(name)
        finally:
            await self._stop_serving()
            self._store.close()

    async def kill(self) -> None:
        """End as a core that is killed does: no step runs, all processes are gone, and the folder is as it was."""
        killed = [process for name in self._runs for process in self.components[name].kill()]
        for task in self._runs.values():
            task.cancel()
        await asyncio.gather(*self._runs.values(), return_exceptions=True)
        await asyncio.gather(*(process.wait() for process in killed))
        self._runs.clear()
        self.components.clear()
        self._members = {}

    @property
    def versions(self) -> dict[str, str]:
        """The version of each component."""
        return {name: member.recipe.version for name, member in self._members.items()}

    @property
    def logs(self) -> dict[str, Path]:
        """The log of each component that wrote one, also of those that are gone."""
        return {each.stem: each for each in (self.root / "logs").glob("*.log")}

    def last_lines(self, name: str, most: int = 5) -> list[str]:
        """Return the last lines of a component's log."""
        try:
            with self.logs[name].open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
                return log.read().decode(errors="replace").splitlines()[-most:]
        except (KeyError, OSError):
            return []

    async def settled(self) -> str:
        """Wait until every component is where it was to go; return which are BROKEN, nothing where none is."""
        return await self._settled(0.0)

    async def deploy(self, deployment: Deployment, recipes: Iterable[Recipe]) -> Outcome:
        """Make the core what a deployment says, or what it was before; return what became of it."""
        began = time.monotonic()
        interpolated = self._interpolates
        if deployment.interpolates is not None:
            self._interpolates = deployment.interpolates
        try:
            target = await self._prepared(deployment, list(recipes))
            await self._validated(deployment, target)
        except (Unresolvable, Unavailable) as error:
            self._interpolates = interpolated
            return Outcome(Status.NO_STATE_CHANGE, str(error), seconds=time.monotonic() - began)
        before = self._current()
        found = changes(_releases(before), _releases(target))
        why = await self._activate(deployment.name, target, found)
        if not why:
            self._save(self._members, is_under_way=False)
            return Outcome(Status.SUCCEEDED, "", found, time.monotonic() - began)
        if deployment.on_failure != ROLLBACK or not self.ways.rolls_back:
            self._save(self._members, is_under_way=False)
            return Outcome(Status.NOT_REQUESTED, why, found, time.monotonic() - began)
        self._interpolates = interpolated
        back = changes(_releases(self._current()), _releases(before))
        again = await self._activate(deployment.name, before, back)
        self._save(self._members, is_under_way=False)
        status = Status.NOT_ROLLED_BACK if again else Status.ROLLED_BACK
        both = f"{why}; and while rolling back: {again}" if again else why
        return Outcome(status, both, found, time.monotonic() - began)

    async def _prepared(self, deployment: Deployment, recipes: list[Recipe]) -> Members:
        """Return what the deployment makes of the core; raises Unresolvable or Unavailable."""
        roots = {name: wanted.version for name, wanted in deployment.components.items()}
        chosen = resolution.resolve(roots, recipes)
        resolution.order(chosen)
        current = self._current()
        configurations: dict[str, dict[str, Any]] = {}
        for name, recipe in chosen.items():
            wanted = deployment.components.get(name)
            before = current[name].configuration if name in current else None
            configurations[name] = configuration.after(before, recipe.default, wanted.update if wanted else None)
        members = {name: self._member(name, chosen, configurations) for name in chosen}
        for name, member in members.items():
            needs = resolution.closure(name, chosen)
            for each in member.manifest.artifacts:
                if each.image is not None:
                    if self.ways.rolls_back:  # nucleus lite asks for no Docker Application Manager
                        artifacts.check_image(each.image, needs)
                    await artifacts.find_image(each.image)
                else:
                    place = self._place(member.recipe, {})
                    artifacts.bring_file(each, member.recipe, self.device.files, place.artifacts, place.unpacked)
        return members

    def _member(
        self, name: str, chosen: Mapping[str, Recipe], configurations: Mapping[str, Mapping[str, Any]]
    ) -> Member:
        recipe = chosen[name]
        platform = {**self.device.platform, "runtime": self.ways.runtime}
        manifest = recipe.fitting(platform)
        if manifest is None:
            shown = ", ".join(f"{key} {value}" for key, value in platform.items())
            raise Unresolvable(f"{name} {recipe.version} has no manifest for this device ({shown})")
        needed = [each.name for each in recipe.dependencies if each.name in chosen]
        scope = Scope(
            own=self._place(recipe, configurations[name]),
            root=self.root,
            thing=self.device.thing,
            dependencies={each: self._place(chosen[each], configurations[each]) for each in needed},
        )
        steps = preparing.prepare(manifest, scope, self.ways)
        document = preparing.interpolated(configurations[name], scope, self.ways, whole=self._interpolates)
        return Member(recipe, manifest, document, steps, tuple(resolution.hard(recipe, chosen)))

    def _place(self, recipe: Recipe, document: Mapping[str, Any]) -> Place:
        below = Path(recipe.name) / recipe.version
        packages = self.root / "packages"
        return Place(
            document,
            packages / "artifacts" / below,
            packages / "artifacts-unarchived" / below,
            self.root / "work" / recipe.name,
        )

    async def _validated(self, deployment: Deployment, target: Members) -> None:
        """Have components judge a new configuration, where they asked for it; raises Unavailable where one refuses."""
        current = self._current()
        asked = len(self.server.reports)
        waiting = set()
        for name, member in target.items():
            before = current.get(name)
            same = before is not None and before.recipe.version == member.recipe.version
            if same and before is not None and before.configuration != member.configuration:
                document = copy.deepcopy(dict(member.configuration))
                if self.server.ask_validity(name, document, deployment.name):
                    waiting.add(name)
        until = time.monotonic() + deployment.validation_s
        while waiting:
            for name, report in self.server.reports[asked:]:
                if name in waiting and report.get("status") == "REJECTED":
                    raise Unavailable(
                        f"{name} refuses its configuration: {report.get('message') or 'without a reason'}"
                    )
                waiting.discard(name)
            if waiting and time.monotonic() > until:
                names = ", ".join(sorted(waiting))
                raise Unavailable(f"{names} did not judge the configuration within {deployment.validation_s:g} s")
            await asyncio.sleep(_ASK_S if waiting else 0)

    async def _activate(self, deployment: str, target: Members, found: Mapping[str, Change]) -> str:
        """Make the core what the target says and wait for it; return what went wrong, nothing where all is well."""
        since = time.monotonic()
        order = resolution.order({name: member.recipe for name, member in target.items()})
        self._deployment = deployment
        self._save(target, is_under_way=True)
        for name in reversed(self._order()):
            if found.get(name) is Change.REMOVED:
                await self._remove(name)
        self._members = target
        for name in order:
            if found[name] is Change.ADDED:
                self._add(name, target[name])
            else:
                self._change(name, target[name])
        for name in order:
            again = self.components[name].state is State.BROKEN and found[name] is not Change.UNCHANGED
            if found[name] in {Change.ADDED, Change.REINSTALLED} and (why := await self.components[name].bootstrap()):
                return why
            if found[name] is Change.REINSTALLED or again:
                self.components[name].life.reinstall()
            elif found[name] is Change.RESTARTED:
                self.components[name].life.restart()
            elif found[name] is Change.ADDED:
                self.components[name].life.start()
            self.components[name].wake()
        return await self._settled(since)

    async def _settled(self, since: float) -> str:
        while True:
            self._changed.clear()
            for task in self._runs.values():
                if task.done():
                    task.result()
            broken = [each for each in self.components.values() if each.is_broken]
            new = [each for each in broken if each.changed_at >= since]
            if new:
                return "; ".join(f"{each.name} is BROKEN: {each.why}" for each in new)
            if all(each.life.is_settled for each in self.components.values() if each not in broken):
                return ""
            await self._changed.wait()

    def _add(self, name: str, member: Member) -> None:
        self.core.add(name, dict(member.configuration), version=member.recipe.version)
        around = Surroundings(lambda: self._shell(name), self._is_there, self._state_changed, self._grace_s)
        component = Component(self._launch(name, member), around)
        self.components[name] = component
        task = asyncio.get_running_loop().create_task(component.run(), name=f"component {name}")
        task.add_done_callback(lambda _task: self._changed.set())
        self._runs[name] = task

    def _change(self, name: str, member: Member) -> None:
        """Give a component its new recipe and configuration; who listens to the latter is told."""
        known = self.core.components[name]
        before, known.configuration = known.configuration, copy.deepcopy(dict(member.configuration))
        known.version = member.recipe.version
        self.components[name].launch = self._launch(name, member)
        for key in sorted({*before, *known.configuration}):
            if before.get(key) != known.configuration.get(key):
                for tell in self.core.on_change:
                    tell(name, (key,))

    def _launch(self, name: str, member: Member) -> Launch:
        return Launch(name, member.recipe.version, member.steps, member.hard)

    async def _remove(self, name: str) -> None:
        component = self.components[name]
        await self._end(name)
        await component.uninstall()
        self.core.components.pop(name, None)

    async def _end(self, name: str) -> None:
        component = self.components.pop(name, None)
        if component is not None:
            component.close()
            await self._runs.pop(name)

    async def _stop_serving(self) -> None:
        if self._serving is not None and not self._serving.done():
            self.server.stop()
            await self._serving

    def _shell(self, name: str) -> Shell:
        if self.ways.name == "lite":  # each step has a token of its own there
            self.core.renew(name)
        environment = {
            **self.server.environment(name),
            "AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH": str(self.server.path),
            "AWS_REGION": self.device.region,
            "AWS_DEFAULT_REGION": self.device.region,
            "GGC_VERSION": GGC_VERSION,
        }
        return Shell(self.root / "work" / name, self.root / "logs" / f"{name}.log", environment)

    def _is_there(self, name: str) -> bool:
        component = self.components.get(name)
        return component is not None and counts_as_there(component.state)

    def _state_changed(self, component: Component, state: State, why: str) -> None:
        self._tell(component.name, state, why)
        for other in self.components.values():
            if component.name in other.launch.hard:
                other.dependency_changed()
        self._changed.set()

    def _reported(self, name: str, state: str) -> None:
        component = self.components.get(name)
        if component is not None:
            component.report(State(state))

    def _configuration_changed(self, name: str, _key: tuple[str, ...]) -> None:
        """Keep what a component changed of its own configuration."""
        if name in self._members and self.core.components[name].configuration != self._members[name].configuration:
            self._members = self._current()
            self._save(self._members, is_under_way=self._is_under_way)

    def _current(self) -> Members:
        """Return the components as they are now: with the configuration that they changed themselves."""
        return {
            name: Member(
                member.recipe,
                member.manifest,
                copy.deepcopy(self.core.components[name].configuration),
                member.steps,
                member.hard,
            )
            for name, member in self._members.items()
        }

    def _order(self) -> list[str]:
        return resolution.order({name: member.recipe for name, member in self._members.items()})

    def _save(self, members: Members, *, is_under_way: bool) -> None:
        self._is_under_way = is_under_way
        components = {name: (member.recipe.document, member.configuration) for name, member in members.items()}
        self._store.save(Kept(components, self._deployment, is_under_way, self._interpolates))

    def _remembered(self, kept: Kept) -> Members:
        """Return the components of the last run; raises BenchError where the file cannot be used any more."""
        place = f"{self.root}/state.json"
        chosen = {name: read_recipe(Node(recipe, place)) for name, (recipe, _document) in kept.components.items()}
        documents = {name: document for name, (_recipe, document) in kept.components.items()}
        try:
            resolution.order(chosen)
            return {name: self._member(name, chosen, documents) for name in chosen}
        except Unresolvable as error:
            raise BenchError(f"{place}: {error}", remedy="Name another folder, or remove this one") from None


def _releases(members: Members) -> dict[str, Release]:
    return {name: member.release for name, member in members.items()}
