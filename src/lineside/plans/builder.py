"""The builder: one plan at a time, of what the inference service asks for; killed at any moment it leaves no half one.

A build is counted as failed before it begins, and that is taken back when it ended: one that takes the whole machine
down is not begun again for ever.
"""

import contextlib
import dataclasses
import fcntl
import os
import shutil
import sys
import time
from pathlib import Path
from typing import NoReturn

from lineside.durable_files import replace_file, sync
from lineside.plans import trtexec
from lineside.plans.cache import digest
from lineside.plans.device import Device
from lineside.plans.documents import (
    ASK,
    BUILDER,
    BUILDING,
    LOCK,
    MODELS,
    PLAN,
    PLAN_DOCUMENT,
    Ask,
    Build,
    BuilderState,
    Damaged,
    Outcome,
    Plan,
    read,
    write,
)

LOOK_S = 1.0
"""Seconds between two looks at what is asked."""
TICK_S = 0.05
"""The same while something is built: so soon a build is paused for a part."""
LONGEST_PAUSE_S = 3600.0
"""After that its memory is given back; the build begins anew when it may."""
_RESERVE = 64 * 1024 * 1024
_FOLDER_MODE = 0o755
_KEPT_FAILURES = 256
_CUT_OFF = "it was cut off: the builder, its container or the machine ended under it"


class NotBuilt(Exception):
    """There is no plan of this build; the text says why."""


class Withdrawn(Exception):
    """Nobody wants the build any more."""


class Builder:
    """Builds below `folder` what it is asked for, of the models in `models`."""

    def __init__(self, folder: Path, models: Path, program: Path, device: Device | None, unable: str = "") -> None:
        """Make it; `device` None: nothing can be built, and `unable` says why."""
        self._folder = folder
        self._models = models
        self._program = program
        self._lock = -1
        self.state = BuilderState(device=device, unable=unable)

    def start(self) -> None:
        """Wait until no other builder lives here, neither its trtexec, and clear what was left. Raises OSError."""
        self._folder.mkdir(mode=_FOLDER_MODE, exist_ok=True)
        (self._folder / MODELS).mkdir(mode=_FOLDER_MODE, exist_ok=True)
        self._lock = os.open(self._folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another builder lives, or its trtexec: waiting for its end")
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._clear()
        last, failed = self._kept()
        self._tell(last=last, failed=failed, building=None, paused=False)

    def run(self) -> NoReturn:
        """Build whatever is asked for, for ever."""
        while True:
            try:
                self.look()
            except OSError as error:  # a full disk, most likely: nothing is lost by waiting
                say(f"{error.filename or self._folder}: {error.strerror}; trying again")
            time.sleep(LOOK_S)

    def look(self) -> None:
        """Do once what is asked."""
        ask = self._ask()
        for key in ask.delete:
            self._remove(key)
        build, last = ask.build, self.state.last
        if build is None or not ask.go or self.state.device is None or (last and last.number == build.number):
            return
        started = time.monotonic()
        say(f"building {build.key} of {build.model}, {build.options.precision}")
        count = self.state.failed.get(build.key, 0) + 1
        failed = dict(list({**self.state.failed, build.key: count}.items())[-_KEPT_FAILURES:])
        cut_off = Outcome(build.number, build.key, _CUT_OFF, 0.0)
        self._tell(building=build.key, last=cut_off, failed=failed)
        try:
            seconds, reason = self._build(build), ""
        except NotBuilt as error:
            seconds, reason = time.monotonic() - started, str(error)
        except OSError as error:
            seconds, reason = time.monotonic() - started, f"the folder {self._folder} does not serve: {error.strerror}"
        except Withdrawn:
            say(f"{build.key} is not wanted any more, or was paused for too long")
            self._tell(building=None, paused=False, last=last, failed=_with(failed, build.key, count - 1))
            return
        finally:
            self._clear()
        say(f"{build.key}: {reason or 'built'} after {seconds:.0f} s")
        self._tell(
            building=None,
            paused=False,
            last=Outcome(build.number, build.key, reason, round(seconds, 3)),
            failed=failed if reason else _with(failed, build.key, 0),
        )

    def _build(self, build: Build) -> float:
        """Build one plan and put it in its place, whole; return the seconds that trtexec ran."""
        device = self.state.device
        if device is None:
            raise NotBuilt(self.state.unable)
        model = self._models / build.model
        size = self._check_model(model, build)
        free = shutil.disk_usage(self._folder).free - _RESERVE
        if free < size:
            raise NotBuilt(f"the disk of {self._folder} has {max(0, free)} bytes for a plan of a model of {size}")
        work = self._folder / BUILDING
        plan, timing = work / PLAN, work / "timing.cache"
        plan.parent.mkdir(mode=_FOLDER_MODE, parents=True)
        known = self._folder / f"timing-{device.tensorrt}-{device.cc}-{device.sms}.cache"
        with contextlib.suppress(OSError):  # without it a build takes longer
            shutil.copyfile(known, timing)
        command = [str(self._program), *trtexec.arguments(model, plan, build.options, timing)]
        seconds = self._wait(trtexec.Run(command, work / "log", max_bytes=build.max_bytes, keeps=self._lock), build)
        self._check_model(model, build)
        self._keep(work, build, device, seconds)
        with contextlib.suppress(OSError):
            replace_file(known, timing.read_bytes(), mode=0o644)
        return seconds

    def _wait(self, run: trtexec.Run, build: Build) -> float:
        """Return the seconds that it ran, once it has ended well."""
        ran, paused, before = 0.0, 0.0, time.monotonic()
        try:
            while (status := run.status()) is None:
                time.sleep(TICK_S)
                now = time.monotonic()
                ran, paused = (ran, paused + now - before) if run.is_paused else (ran + now - before, 0.0)
                before = now
                go = self._may_go_on(build, ran, paused)
                if run.is_paused == go:
                    run.pause(paused=not go)
                    self._tell(paused=not go)
        except BaseException:
            run.kill()
            raise
        if status != 0:
            raise NotBuilt(run.why(status))
        return ran

    def _may_go_on(self, build: Build, ran: float, paused: float) -> bool:
        """Return whether trtexec may run at this moment; raises Withdrawn, or NotBuilt where its time is over."""
        ask = self._ask()
        if ask.build is None or ask.build.number != build.number or paused > LONGEST_PAUSE_S:
            raise Withdrawn
        if ran > build.limit_s:
            raise NotBuilt(f"trtexec was ended: it took more than {build.limit_s:.0f} s")
        return ask.go

    def _keep(self, work: Path, build: Build, device: Device, seconds: float) -> None:
        try:
            sha256, size = digest(work / PLAN)
        except Damaged as error:
            raise NotBuilt(f"trtexec ended well and left no plan: {error}") from None
        if not 0 < size <= build.max_bytes:
            raise NotBuilt(f"the plan has {size} bytes, and may have {build.max_bytes}")
        made = work / "made"
        (made / PLAN).parent.mkdir(mode=_FOLDER_MODE, parents=True)
        (work / PLAN).chmod(0o644)
        sync(work / PLAN)
        (work / PLAN).rename(made / PLAN)
        plan = Plan(build.sha256, device, build.options, sha256, size, round(seconds, 3))
        write(made / PLAN_DOCUMENT, plan.as_document())
        if plan.key != build.key:
            raise NotBuilt(f"{build.key} is asked for, and what is built on this device is {plan.key}")
        for folder in ((made / PLAN).parent, made):
            sync(folder)
        self._remove(build.key)
        made.rename(self._folder / MODELS / build.key)
        sync(self._folder / MODELS)

    def _check_model(self, model: Path, build: Build) -> int:
        try:
            sha256, size = digest(model)
        except Damaged as error:
            raise NotBuilt(str(error)) from None
        if sha256 != build.sha256:
            raise NotBuilt(f"{model} has SHA-256 {sha256}, and {build.sha256} is asked for")
        return size

    def _ask(self) -> Ask:
        try:
            found = read(self._folder / ASK)
            return Ask() if found is None else Ask.of_document(found)
        except Damaged as error:
            say(f"{ASK} is not understood: {error}")
            return Ask()

    def _kept(self) -> tuple[Outcome | None, dict[str, int]]:
        """Return what the builder before said: what became of its last build, and which failed how often."""
        try:
            found = read(self._folder / BUILDER)
            before = BuilderState() if found is None else BuilderState.of_document(found)
        except Damaged as error:
            say(f"{BUILDER} is not understood, and written anew: {error}")
            return None, {}
        return before.last, dict(before.failed)

    def _tell(self, **changes: object) -> None:
        self.state = dataclasses.replace(self.state, **changes)  # type: ignore[arg-type]  # its own names
        write(self._folder / BUILDER, self.state.as_document())

    def _remove(self, key: str) -> None:
        """Delete a plan; it is away at once, whatever becomes of its bytes."""
        gone = self._folder / f"{BUILDING}.gone"
        shutil.rmtree(gone, ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            (self._folder / MODELS / key).rename(gone)
            say(f"deleted {key}")
        shutil.rmtree(gone, ignore_errors=True)

    def _clear(self) -> None:
        for left in self._folder.glob(f"{BUILDING}*"):
            shutil.rmtree(left, ignore_errors=True)


def say(text: str) -> None:
    """Write a line of the log."""
    sys.stderr.write(f"plan builder: {text}\n")
    sys.stderr.flush()


def _with(failed: dict[str, int], key: str, count: int) -> dict[str, int]:
    return {name: number for name, number in failed.items() if name != key} | ({key: count} if count else {})
