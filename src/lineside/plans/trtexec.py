"""trtexec: its command line, and one run of it that can be paused, is bounded, and never outlives whoever started it.

The options are those of TensorRT 8.6 to 10: see `trtexec --help`. It is the first that the kernel kills where memory
runs out (Triton shares the container, and a Jetson has one memory for processor and GPU), and the last that gets the
processor and the disk.
"""

import contextlib
import ctypes
import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from lineside.plans.key import Options, Shapes

_PRECISION = {"fp32": (), "fp16": ("--fp16",), "int8": ("--int8",), "best": ("--best",)}
_PR_SET_PDEATHSIG = 1
_TAIL = 64 * 1024
_LOG_BYTES = 16 * 1024 * 1024
_MAX_REASON = 400


def arguments(model: Path, plan: Path, options: Options, timing_cache: Path) -> list[str]:
    """Return trtexec's arguments for one build."""

    def shapes(of: Callable[[Shapes], tuple[int, ...]]) -> str:
        return ",".join(f"{name}:{'x'.join(map(str, of(each)))}" for name, each in sorted(options.shapes.items()))

    profile = (
        [
            f"--minShapes={shapes(lambda each: each.least)}",
            f"--optShapes={shapes(lambda each: each.usual)}",
            f"--maxShapes={shapes(lambda each: each.most)}",
        ]
        if options.shapes
        else []
    )
    return [
        f"--onnx={model}",
        f"--saveEngine={plan}",
        *_PRECISION[options.precision],
        f"--memPoolSize=workspace:{options.workspace_mb}",
        f"--timingCacheFile={timing_cache}",
        *profile,
        "--skipInference",
    ]


class Run:
    """One trtexec that runs in a session of its own; its output goes to `log`."""

    def __init__(self, command: list[str], log: Path, *, max_bytes: int, keeps: int) -> None:
        """Start it. No file that it writes gets larger than `max_bytes`; `keeps` is a lock that it holds as well."""
        self._log = log
        ionice = shutil.which("ionice")
        self.is_paused = False
        with log.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603 - the program that the installation names, and checked words
                [*([ionice, "-c", "3"] if ionice else []), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=(keeps,),
                preexec_fn=_prepare(max(max_bytes, _LOG_BYTES)),  # noqa: PLW1509 - this program has one thread
            )

    def status(self) -> int | None:
        """Return the exit status, negative for a signal; None while it runs."""
        return self._process.poll()

    def pause(self, *, paused: bool) -> None:
        """Stop it where it stands, or let it go on; what the GPU has already begun ends by itself."""
        if paused != self.is_paused:
            self._signal(signal.SIGSTOP if paused else signal.SIGCONT)
            self.is_paused = paused

    def kill(self) -> None:
        """End it, and all that it started, at once."""
        self._signal(signal.SIGKILL)
        self._process.wait()

    def why(self, status: int) -> str:
        """Return in a sentence why a run that ended with this status built nothing."""
        if status == -signal.SIGXFSZ:
            return "the plan is larger than it may be"
        if status == -signal.SIGKILL:
            return "trtexec was killed: the memory ran out, most likely (see the kernel's log)"
        said = self._last_words()
        how = f"by signal {-status}" if status < 0 else f"with status {status}"
        return f"trtexec ended {how}: {said}" if said else f"trtexec ended {how} and said nothing"

    def _last_words(self) -> str:
        """Return its last errors, else its last line."""
        try:
            with self._log.open("rb") as stream:
                stream.seek(max(0, stream.seek(0, os.SEEK_END) - _TAIL))
                lines = stream.read().decode("utf-8", "replace").splitlines()
        except OSError:
            return ""
        lines = [" ".join(line.split()) for line in lines if line.strip() and not line.startswith("&&&&")]
        errors = [line.partition("[E]")[2].strip() for line in lines if "[E]" in line]
        return "; ".join(errors[:3] or lines[-1:])[:_MAX_REASON]

    def _signal(self, which: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, which)


def _prepare(max_bytes: int) -> Callable[[], None]:
    """Return what the child does before it becomes trtexec."""
    libc = ctypes.CDLL(None)

    def prepare() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        os.nice(19)
        resource.setrlimit(resource.RLIMIT_FSIZE, (max_bytes, max_bytes))
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:  # noqa: PTH123 - between fork and exec
            file.write("1000")

    return prepare
