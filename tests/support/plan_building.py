"""The builder of plans as its own process, with a stand-in for trtexec, as the inference service would ask it."""

import dataclasses
import hashlib
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lineside.plans.cache import PlanFolder
from lineside.plans.device import Device
from lineside.plans.documents import ASK, Ask, Build, BuilderState, write
from lineside.plans.key import Options, key_of
from tests.support.paths import ROOT
from tests.support.waiting import HANG_S, block_until

ORIN = Device(tensorrt="10.3.0", cuda="12.6", gpu="Orin", cc="8.7", sms=8, l4t="36.4.3", module="Orin NX")
AGX = dataclasses.replace(ORIN, sms=16, module="AGX Orin")
_LIVE = """
import sys
from pathlib import Path
from lineside.plans import builder
from lineside.plans.__main__ import live
from lineside.plans.device import Device
builder.LOOK_S = 0.1
folder, models, trtexec, *device = sys.argv[1:]
given = dict(each.split("=", 1) for each in device)
sys.exit(live(Path(folder), Path(models), Path(trtexec), Device(**given | {"sms": int(given["sms"])})))
"""


class Trtexec:
    """The stand-in in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.path = folder / "trtexec"
        script = (ROOT / "tests/support/stand_in_trtexec.py").read_text()
        self.path.write_text(f"#!{sys.executable} -S\n{script}")
        self.path.chmod(0o755)

    def be(self, mode: str) -> None:
        (self.folder / "mode").write_text(mode)

    def hold(self) -> None:
        (self.folder / "hold").touch()

    def release(self) -> None:
        (self.folder / "hold").unlink()

    def asked(self) -> list[str]:
        """Return its last command line; empty where it was not run."""
        path = self.folder / "asked"
        return path.read_text().splitlines() if path.exists() else []

    def running(self) -> list[int]:
        """Return the ids of its processes."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if os.fsencode(self.path) in words and words[-2].startswith(b"--") and state != "Z":
                found.append(int(entry.name))
        return found


class BuilderProcess:
    """One builder."""

    def __init__(
        self, folder: Path, models: Path, trtexec: Trtexec, device: Device = ORIN, before: Sequence[str] = ()
    ) -> None:
        self.folder = folder
        self.models = models
        self.device = device
        self.trtexec = trtexec
        self.log = folder.parent / "builder.log"
        facts = [f"{name}={value}" for name, value in device.as_document().items()]
        command = [*before, sys.executable, "-c", _LIVE, str(folder), str(models), str(trtexec.path), *facts]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stderr=log)

    def state(self) -> BuilderState | None:
        return PlanFolder(self.folder).builder()

    def wait_until_it_lives(self) -> None:
        block_until(lambda: self.state() is not None or self.process.poll() is not None, self._said, within=HANG_S)
        assert self.process.poll() is None, self._said()

    def build(self, model: str, *, go: bool = True, delete: Sequence[str] = (), **changes: Any) -> Build:
        """Ask for a plan and return what was asked."""
        options = changes.pop("options", Options())
        sha256 = hashlib.sha256((self.models / model).read_bytes()).hexdigest()
        build = Build(uuid.uuid4().hex, key_of(sha256, self.device, options), model, sha256, options, 600.0, 10**9)
        build = dataclasses.replace(build, **changes)
        self.ask(Ask(build, go, tuple(delete)))
        return build

    def ask(self, ask: Ask) -> None:
        write(self.folder / ASK, ask.as_document())

    def outcome(self, build: Build) -> str:
        """Wait until a build has ended and return its reason, empty where it was built."""

        def ended() -> BuilderState | None:
            state = self.state()
            is_over = state and state.building is None and state.last and state.last.number == build.number
            return state if is_over else None

        state = block_until(ended, self._said, within=HANG_S)
        assert state is not None
        assert state.last is not None
        return state.last.reason

    def end(self, by: signal.Signals = signal.SIGKILL) -> None:
        self.process.send_signal(by)
        self.process.wait(HANG_S)

    def _said(self) -> str:
        return self.log.read_text()[-3000:]


@contextmanager
def running_builder(
    folder: Path, models: Path, trtexec: Trtexec, device: Device = ORIN, before: Sequence[str] = ()
) -> Iterator[BuilderProcess]:
    """Yield a builder that lives; it is ended at the end."""
    builder = BuilderProcess(folder, models, trtexec, device, before)
    try:
        builder.wait_until_it_lives()
        yield builder
    finally:
        builder.end()
