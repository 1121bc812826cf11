"""The whole line deployed from its recipes on a core device of the bench: real IPC, real containers, a simulated plant.

A line has a word of its own before every name on the engine, and ports of its own, so that several stand side by side,
and a user's own line is not touched. All that it made is removed at the end. The core runs on a thread of its own, so
that a test may wait as it likes.
"""

import asyncio
import contextlib
import json
import os
import platform
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
from pydantic import BaseModel

from lineside.contract import OUTCOME_TOPIC, REQUEST_TOPIC, RESULT_TOPIC, Outcome, Request, Result, utc_now
from lineside.recipes.components import PREFIX
from lineside_bench.deployable import CONTAINERS, SCOPE_VARIABLE, WITH_PORTS, DeployableLine
from lineside_bench.greengrass.core.document import read_deployment
from lineside_bench.greengrass.core.nucleus import Device, Nucleus, Status, this_machine
from lineside_bench.greengrass.core.nucleus import Outcome as Deployed
from lineside_bench.greengrass.core.preparing import WAYS
from lineside_bench.greengrass.core.reading import Node
from lineside_bench.greengrass.core.recipe import Recipe
from lineside_bench.reporting.records import longest_gap_ms
from tests.support.attached_bench import attached
from tests.support.ports import free_ports
from tests.support.waiting import HANG_S, PATIENCE_S, block_until

T = TypeVar("T")

MESSAGES: Mapping[str, type[BaseModel]] = {REQUEST_TOPIC: Request, RESULT_TOPIC: Result, OUTCOME_TOPIC: Outcome}

DEVICE = "press-7"
"""The core device's name."""
DEADLINE_MS = 3000
"""Of a part, in place of the bench's: long enough for a machine that does much else at the same time."""
RATE = 2.0
"""Parts a second while no run is asked for: how close together verdicts come that a test waits for."""
DEPLOYING_S = 3 * HANG_S


class DeployedLine(DeployableLine):
    """A line as it is deployed now; `document` is the last deployment that succeeded."""

    def __init__(self, folder: Path, scope: str, *, registry: str, version: str) -> None:
        self.folder, self.scope = folder, scope
        self.ports = dict(zip(WITH_PORTS, free_ports(len(WITH_PORTS)), strict=True))
        super().__init__(
            folder / "bucket",
            registry=registry,
            version=version,
            ports=self.ports,
            rate=RATE,
            deadline_ms=DEADLINE_MS,
        )
        self.states: list[tuple[float, str, str, str]] = []
        """Each state that a component came to: monotonic seconds, component, state, why."""
        self.began = utc_now()
        """When the last deployment began."""
        self.first_began = self.began
        """When the first one began."""
        self.nucleus = self._core()
        self._read = 0
        self._messages: dict[str, list[Any]] = {topic: [] for topic in MESSAGES}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="core device", daemon=True)

    # --- deployments ---

    def deploy(
        self,
        versions: Mapping[str, str] | None = None,
        merge: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        on_failure: str = "ROLLBACK",
    ) -> Deployed:
        """Deploy the line with other versions and further configuration, by component; return what became of it."""
        wanted = self.changed(versions or {}, merge or {})
        wanted["deploymentPolicies"] = {
            "failureHandlingPolicy": on_failure,
            "configurationValidationPolicy": {"timeoutInSeconds": HANG_S},
        }
        done = self.carry_out(wanted, self.recipes.values())
        if done.status is Status.SUCCEEDED:
            self.document = wanted
        return done

    def carry_out(self, document: Mapping[str, Any], recipes: Iterable[Recipe]) -> Deployed:
        """Carry a deployment out, whosever it is; return what became of it."""
        self.began = utc_now()
        return self.call(self.nucleus.deploy(read_deployment(Node(document, "deployment")), recipes))

    def call(self, work: Coroutine[Any, Any, T], within_s: float = DEPLOYING_S) -> T:
        """Do something on the core's event loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(within_s)

    def kill_and_restart(self) -> None:
        """Kill the core, as a power cut or the kernel does, and start it in its folder; containers outlive it."""
        self.call(self._kill())
        self._published(RESULT_TOPIC)
        self._read = 0
        self.nucleus = self._core()
        self.call(self.nucleus.__aenter__())

    async def _kill(self) -> None:
        await self.nucleus.kill()
        await self.nucleus.__aexit__(None, None, None)

    def _core(self) -> Nucleus:
        return Nucleus(
            self.folder / "core",
            ways=WAYS["classic"],
            device=Device(thing=DEVICE, platform=this_machine(), files=self.folder / "bucket"),
            tell=lambda name, state, why: self.states.append((time.monotonic(), name, str(state), why)),
        )

    def state(self, component: str) -> str:
        """Return where a component is in its life."""
        return str(self.nucleus.components[f"{PREFIX}.{component}"].state)

    def said(self, component: str | None = None) -> str:
        """Return the last lines of a component's log, or of all."""
        names = [f"{PREFIX}.{component}"] if component else sorted(self.nucleus.logs)
        return "\n".join(f"{name}: {line}" for name in names for line in self.nucleus.last_lines(name, 25))

    # --- containers ---

    def container(self, component: str) -> str:
        """Return the name of a component's container."""
        return CONTAINERS[component].replace("lineside-", f"{self.scope}-", 1)

    def container_id(self, component: str) -> str:
        """Return the id of a component's container; nothing where there is none."""
        return docker("inspect", "--format", "{{.Id}}", self.container(component), check=False).strip()

    def container_ids(self) -> dict[str, str]:
        """Return the id of each component's container."""
        return {name: self.container_id(name) for name in CONTAINERS}

    def shells(self, component: str) -> list[int]:
        """Return the process ids of component.sh that hold a component's container."""
        words = ("startup", f"{PREFIX}.{component}")
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                argv = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
                if argv[0] == "sh" and argv[1].startswith(str(self.folder)) and tuple(argv[2:4]) == words:
                    found.append(int(process.name))
        return found

    # --- parts ---

    def attach(self, parts: int, *, rate: float = 10) -> tuple[int, str, dict[str, Any]]:
        """Judge parts by `lineside bench --attach`; return its exit status, what it printed, and the summary."""
        control = f"http://127.0.0.1:{self.ports['PlcSim']}"
        return attached(control, parts, rate=rate, summary=self.folder / f"summary-{secrets.token_hex(4)}.json")

    @property
    def requests(self) -> list[Request]:
        """Return the requests that were published so far."""
        return self._published(REQUEST_TOPIC)

    @property
    def results(self) -> list[Result]:
        """Return the results that were published so far."""
        return self._published(RESULT_TOPIC)

    @property
    def outcomes(self) -> list[Outcome]:
        """Return what the PLC got so far, part by part."""
        return self._published(OUTCOME_TOPIC)

    @property
    def verdicts(self) -> list[Result]:
        """Return the results so far that judged a part."""
        return [each for each in self.results if each.status == "ok"]

    def next_verdict(self, condition: Callable[[Result], bool] = lambda _result: True) -> Result:
        """Wait for a verdict that is not there yet, and for which the condition holds."""
        count = len(self.results)

        def found() -> Result | None:
            return next((each for each in self.results[count:] if each.status == "ok" and condition(each)), None)

        return block_until(found, lambda: f"no verdict; {self.said()}", within=3 * PATIENCE_S, every=0.05)

    def longest_gap_ms(self, since: int = 0) -> float:
        """Return the longest time between two verdicts, from the one of a number on, in milliseconds."""
        return longest_gap_ms(self.verdicts[since:])

    def _published(self, topic: str) -> list[Any]:
        for _component, on, payload in self.nucleus.server.messages[self._read :]:
            self._read += 1
            if on in MESSAGES:
                self._messages[on].append(MESSAGES[on].model_validate_json(payload))
        return self._messages[topic]

    # --- the shadow ---

    def desire(self, desired: Mapping[str, Any] | None) -> None:
        """Change what the named shadow desires, as an operator does; None takes all of it back."""
        self.nucleus.server.update_shadow("lineside", json.dumps({"state": {"desired": desired}}).encode())

    @property
    def reported(self) -> dict[str, Any]:
        """Return what is reported in the shadow."""
        shadow = self.nucleus.core.shadows.get((self.nucleus.core.thing, "lineside"))
        return dict(shadow.state.get("reported") or {}) if shadow else {}

    # --- its life ---

    def start(self) -> None:
        """Start the core, with nothing deployed."""
        self._thread.start()
        self.call(self.nucleus.__aenter__())

    def end(self) -> None:
        """End the core as a kill does, and remove what it made on the engine."""
        try:
            self.call(self._kill())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(HANG_S)
            self._loop.close()
            self._remove()

    def left(self, kind: str) -> list[str]:
        """Return what the engine has of this line; `kind`: container, network or volume."""
        all_of_them = ("--all",) if kind == "container" else ()
        return docker(kind, "ls", "--quiet", *all_of_them, "--filter", f"name={self.scope}-").split()

    def _remove(self) -> None:
        def gone(kind: str, *how: str) -> bool:
            there = self.left(kind)
            if there:
                docker(kind, "rm", *how, *there, check=False)
            return not self.left(kind)

        for kind, how in (("container", ("--force",)), ("network", ()), ("volume", ())):
            block_until(partial(gone, kind, *how), f"removal of each {kind} of {self.scope}", every=0.2)


def docker(*arguments: str, check: bool = True) -> str:
    """Run `docker` and return what it wrote; a failure fails the test, unless `check` is false."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=HANG_S, check=False)
    if check and done.returncode:
        pytest.fail(f"docker {' '.join(arguments)}: exit status {done.returncode}\n{done.stdout}{done.stderr}"[-4000:])
    return done.stdout


@contextlib.contextmanager
def deployed_line(images: Mapping[str, str]) -> Iterator[DeployedLine]:
    """Yield the line, all of its components RUNNING; see `bare_line`."""
    with bare_line(images) as line:
        done = line.deploy()
        assert done.status is Status.SUCCEEDED, f"{done.why}\n{line.said()}"
        line.first_began = line.began
        yield line


@contextlib.contextmanager
def bare_line(images: Mapping[str, str]) -> Iterator[DeployedLine]:
    """Yield the line's core, with nothing deployed.

    `images` are ours by name. A machine whose Triton would be a Jetson's is skipped.
    """
    if platform.machine() not in {"x86_64", "AMD64"}:
        pytest.skip("the recipes' Triton for this architecture is a Jetson's")
    registry, _slash, rest = images["inference"].rpartition("/")
    scope = f"t{secrets.token_hex(4)}"
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="gg-") as folder:
        patch.setenv(SCOPE_VARIABLE, scope)
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        line = DeployedLine(Path(folder), scope, registry=registry, version=rest.partition(":")[2])
        line.start()
        try:
            yield line
        except BaseException:
            sys.stderr.write(line.said()[-16000:])
            raise
        finally:
            line.end()
