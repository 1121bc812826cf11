"""One component as it lives: its scripts run, its states follow from what they do.

Everything here runs on one event loop. What is decided is decided in `lifecycle`; here it is carried out, as in
GenericExternalService.java.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field

from lineside_bench.greengrass.core import scripts
from lineside_bench.greengrass.core.lifecycle import Decision, Deed, Lifecycle, State
from lineside_bench.greengrass.core.preparing import Prepared
from lineside_bench.greengrass.core.scripts import Process, Shell

BOOTSTRAP_GOOD = (0, 100, 101)
"""Exit statuses of `bootstrap`: done, restart the nucleus, restart the device."""
_CLOSABLE = (State.NEW, State.INSTALLED, State.FINISHED, State.BROKEN)
_HAPPY = (State.RUNNING, State.STOPPING, State.FINISHED)
"""States in which a HARD dependency counts as there. Source: GreengrassService.java, dependencyReady."""


def counts_as_there(state: State) -> bool:
    """Return whether a component in this state lets those start that need it."""
    return state in _HAPPY


@dataclass(frozen=True)
class Launch:
    """What is run of a component."""

    name: str
    version: str
    steps: Mapping[str, Prepared]
    hard: tuple[str, ...] = ()
    """The components that must be there before it starts."""


@dataclass(frozen=True)
class Surroundings:
    """What a component has around it."""

    shell: Callable[[], Shell]
    """Asked at each step: the token may be another."""
    is_there: Callable[[str], bool]
    changed: Callable[["Component", State, str], None]
    """Told each new state, with why."""
    grace_s: float = scripts.GRACE_S


@dataclass
class Component:
    """A component; `run` carries it through its states until it is closed."""

    launch: Launch
    around: Surroundings
    life: Lifecycle = field(default_factory=Lifecycle)
    changed_at: float = field(default_factory=time.monotonic)
    why: str = ""
    """What led to the last error."""

    def __post_init__(self) -> None:
        self._woken = asyncio.Event()
        self._processes: list[Process] = []
        self._watchers: set[asyncio.Task[None]] = set()
        self._generation = 0
        self._is_started = False
        self._is_closing = False
        self._is_cleared = True

    @property
    def name(self) -> str:
        """Its name."""
        return self.launch.name

    @property
    def state(self) -> State:
        """Where it is."""
        return self.life.state

    @property
    def is_broken(self) -> bool:
        """Whether it is BROKEN to stay: nothing asked for a new installation."""
        return self.state is State.BROKEN and State.NEW not in self.life.wanted

    def wake(self) -> None:
        """Have it look again at what is to be done."""
        self._woken.set()

    def report(self, state: State) -> None:
        """Take a state that its own process reports; one outside STARTING and RUNNING says nothing."""
        if self.state in {State.STARTING, State.RUNNING} and state in {State.RUNNING, State.ERRORED}:
            self._to(state, "reported by itself")

    def dependency_changed(self) -> None:
        """Look again at what it needs: it starts again where a HARD dependency left."""
        if self.state in {State.STARTING, State.RUNNING} and not self._is_ready():
            self.life.restart()
        self.wake()

    async def run(self) -> None:
        """Carry the component through its states; returns once it is closed and ended."""
        try:
            while not (self._is_closing and self.state in _CLOSABLE and self._is_cleared):
                self._woken.clear()
                if self._is_cleared:
                    await self._carry_out(self.life.decide())
                else:
                    await self._clear()
            await self._end_processes()
        finally:
            for task in self._watchers:
                task.cancel()

    def close(self) -> None:
        """Want it ended for good."""
        self._is_closing = True
        self.life.wanted = (State.FINISHED,)
        self.wake()

    def kill(self) -> list[Process]:
        """End its processes at once, as a killed core's are, and return them: they are gone once waited for."""
        for process in self._processes:
            process.kill()
        return list(self._processes)

    async def bootstrap(self) -> str:
        """Run its bootstrap step, where it has one; return what went wrong, nothing where all is well."""
        code = await self._foreground("bootstrap")
        if code is None or code in BOOTSTRAP_GOOD:
            return ""
        return f"{self.name}: bootstrap ended with {self._shown(code)}"

    async def uninstall(self) -> None:
        """Run its uninstall step, where it has one; its end changes nothing."""
        await self._foreground("uninstall")

    async def _carry_out(self, decision: Decision) -> None:
        match decision.deed:
            case Deed.GO if decision.to is not None:
                self._to(decision.to)
            case Deed.INSTALL:
                await self._install()
            case Deed.AWAIT_DEPENDENCIES if self._is_ready():
                self._to(State.STARTING)
            case Deed.START if not self._is_started:
                await self._start()
            case Deed.SHUT_DOWN:
                await self._shut_down()
            case Deed.RECOVER:
                await self._foreground("recover")
                self._go_on()
            case _:
                await self._woken.wait()

    def _to(self, state: State, why: str = "") -> None:
        before = self.state
        if state is State.ERRORED:
            self.why = why
        now = self.life.report(state, time.monotonic())
        if now is not before:
            self.changed_at = time.monotonic()
            self._is_started = False
            self.around.changed(self, now, why)
            self._is_cleared = now is not State.BROKEN or before is State.NEW
        self.wake()

    def _go_on(self) -> None:
        """Go where the present state leads, which may be another than when the step began."""
        decision = self.life.decide()
        if decision.to is not None:
            self._to(decision.to)

    async def _install(self) -> None:
        await self._end_processes()
        code = await self._foreground("install")
        if code in {None, 0}:
            self._to(State.INSTALLED)
        else:
            self._to(State.ERRORED, f"install ended with {self._shown(code)}")

    async def _start(self) -> None:
        self._is_started = True
        self._generation += 1
        await self._end_processes()
        generation = self._generation
        if await self._background("startup", self._startup_ended, generation):
            return
        if await self._background("run", self._run_ended, generation):
            if self.state is State.STARTING:
                self._to(State.RUNNING)
        elif self._is_current(generation):
            self._to(State.FINISHED, "it has nothing to run")

    def _is_current(self, generation: int) -> bool:
        return generation == self._generation and self.state in {State.STARTING, State.RUNNING}

    def _startup_ended(self, code: int) -> None:
        if code != 0:
            self._to(State.ERRORED, f"startup ended with {self._shown(code)}")
        elif self.state is State.STARTING:
            self._to(State.RUNNING)

    def _run_ended(self, code: int) -> None:
        if code != 0:
            self._to(State.ERRORED, f"run ended with {self._shown(code)}")
        else:
            self.life.stop()
            self.wake()

    async def _overdue(self, step: str, state: State, limit_s: float, generation: int) -> None:
        """Err where the component is still in a state, of the same start, when a step's time limit has passed."""
        await asyncio.sleep(limit_s)
        if generation == self._generation and self.state is state:
            self._to(State.ERRORED, f"{step} was not done within {limit_s:g} s")

    async def _shut_down(self) -> None:
        code = await self._foreground("shutdown")
        await self._end_processes()
        if code == _OVERDUE:
            self._to(State.ERRORED, f"shutdown ended with {self._shown(code)}")
        else:
            self._go_on()

    async def _clear(self) -> None:
        """End what a BROKEN component left."""
        self._is_cleared = True
        await self._foreground("shutdown")
        await self._end_processes()

    def _is_ready(self) -> bool:
        return all(self.around.is_there(name) for name in self.launch.hard)

    def _step(self, name: str) -> Prepared | None:
        """Return a step that is to be run: one that the recipe has and does not skip."""
        step = self.launch.steps.get(name)
        if step is None or not step.script.strip():
            return None
        return None if step.skip_if and scripts.is_skipped(step.skip_if, self.around.shell().folder) else step

    async def _foreground(self, name: str) -> int | None:
        """Run a step to its end; return its exit status, None where there is none to run."""
        step = self._step(name)
        if step is None:
            return None
        if step.failure:
            self.why = step.failure
            return _UNRESOLVED
        process = await self._spawn(step)
        if process is None:
            return _NOT_STARTED
        self._processes.append(process)
        try:
            return await asyncio.wait_for(process.wait(), step.timeout_s)
        except TimeoutError:
            await process.close(self.around.grace_s)
            return _OVERDUE
        finally:
            if process in self._processes:
                self._processes.remove(process)

    async def _background(self, name: str, ended: Callable[[int], None], generation: int) -> bool:
        """Start a step; return whether there was one. `ended` is told its exit status while the start still counts."""
        step = self._step(name)
        if step is None:
            return False
        process = None if step.failure else await self._spawn(step)
        if process is None:
            self._to(State.ERRORED, f"{name}: {step.failure or 'the shell cannot be started'}")
            return True
        self._processes.append(process)

        async def watch() -> None:
            code = await process.wait()
            if self._is_current(generation):
                ended(code)

        self._watch(watch())
        if step.timeout_s is not None:
            state = State.STARTING if name == "startup" else State.RUNNING
            self._watch(self._overdue(name, state, step.timeout_s, generation))
        return True

    async def _spawn(self, step: Prepared) -> Process | None:
        try:
            return await scripts.start(step.script, self.around.shell(), step.environment)
        except OSError:
            return None

    async def _end_processes(self) -> None:
        processes, self._processes = self._processes, []
        await asyncio.gather(*(each.close(self.around.grace_s) for each in processes))

    def _watch(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._watchers.add(task)
        task.add_done_callback(self._watchers.discard)

    def _shown(self, code: int | None) -> str:
        special = {
            _OVERDUE: "the end of its time limit",
            _UNRESOLVED: self.why,
            _NOT_STARTED: "the shell that cannot be started",
        }
        return special.get(code, f"exit status {code}") if code is not None else "nothing"


_OVERDUE, _UNRESOLVED, _NOT_STARTED = -1001, -1002, -1003
"""Ends of a step that are no exit statuses."""
