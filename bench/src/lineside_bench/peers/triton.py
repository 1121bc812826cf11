"""The bench's Triton: NVIDIA's own server from the ``nvidia-pytriton`` wheel, on the CPU.

It is a Triton of 2024 without later security fixes: for the bench and for tests, on the loopback address, never for a
plant.

The wheel lives in an environment of its own that is only read. What Triton needs in one place, the Python backend with
the stub of that environment's Python and our ``onnxruntime`` backend, is copied into a scratch folder at each launch;
the container's image (docker/triton-cpu) has it copied while it is built.

After a ``kill -9`` of the server its stubs notice within three seconds, remove their shared memory and end by
themselves; a new server can start on the same ports meanwhile, because every launch has shared-memory names of its own.
Where the stubs were killed too, their shared memory stays until :func:`clean_shared_memory` is called with the launch's
prefix.
"""

from __future__ import annotations

import os
import platform
import secrets
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lineside_bench.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Launch", "assemble", "clean_shared_memory", "launch", "preflight"]

MACHINES: Final = ("x86_64", "aarch64")
SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - where Triton creates its shared memory
LOADER_FAILED: Final = 127
PREFIX: Final = "lineside_bench_"
BACKEND: Final = Path(__file__).parent / "backends" / "onnxruntime" / "model.py"


@dataclass(frozen=True)
class Launch:
    """How to start one server.

    Attributes:
        argv: the command line.
        env: the whole environment; nothing else is inherited.
        shm_prefix: what the names of this server's shared memory begin with, for :func:`clean_shared_memory`.
    """

    argv: tuple[str, ...]
    env: dict[str, str]
    shm_prefix: str


@dataclass(frozen=True)
class _Wheel:
    """Where the parts of the installed wheel are."""

    site_packages: Path
    minor: str

    @property
    def server(self) -> Path:
        return self.site_packages / "pytriton" / "tritonserver" / "bin" / "tritonserver"

    @property
    def python_backend(self) -> Path:
        return self.site_packages / "pytriton" / "tritonserver" / "backends" / "python"

    @property
    def stubs(self) -> Path:
        return self.site_packages / "pytriton" / "tritonserver" / "python_backend_stubs"

    @property
    def stub(self) -> Path:
        return self.stubs / self.minor / "triton_python_backend_stub"

    @property
    def libraries(self) -> Path:
        return self.site_packages / "nvidia_pytriton.libs"


def preflight(venv: Path) -> None:
    """Check, in about 0.1 s, that :func:`launch` with this environment would give a server that starts.

    Raises:
        BenchError: the platform, the environment, its Python's version or its libpython will not do.
    """
    if sys.platform != "linux" or platform.machine() not in MACHINES or platform.libc_ver()[0] != "glibc":
        here = f"{sys.platform} {platform.machine()} ({platform.libc_ver()[0] or 'no glibc'})"
        raise BenchError(
            f"the CPU Triton does not run on {here}",
            remedy="Use Linux with glibc on x86-64 or aarch64, or the containers of compose.yaml",
        )
    wheel = _find_wheel(venv)
    _check_stub(wheel)
    _check_libraries(venv, wheel)


def assemble(venv: Path, backends: Path) -> Path:
    """Make ``backends`` anew with all that :func:`launch` needs there, and return it.

    Raises:
        BenchError: the wheel or its stub is missing.
    """
    wheel = _find_wheel(venv)
    _check_stub(wheel)
    return _assemble(wheel, backends)


def launch(
    venv: Path,
    *,
    repository: Path,
    work: Path,
    backends: Path | None = None,
    http_port: int,
    grpc_port: int,
    metrics_port: int,
    host: str = "127.0.0.1",
    models: Sequence[str] | None = None,
    others: Sequence[Path] = (),
) -> Launch:
    """Lay out ``work`` and return how to start the server; starts nothing.

    Args:
        venv: the environment that holds the wheel (``.venv-triton``); it is not changed.
        repository: the model repository.
        work: a writable scratch folder; ``work/backends`` is made anew, unless ``backends`` is given.
        backends: what :func:`assemble` made before.
        http_port: 1 to 65535.
        grpc_port: 1 to 65535.
        metrics_port: 1 to 65535.
        host: the address that all three listen on.
        others: more model repositories, of which nothing is loaded at the start.
        models: the names to load; None for every folder of the repository that has a ``config.pbtxt``. One that does
            not load stays UNAVAILABLE and the others are served.

    Raises:
        BenchError: the wheel, its stub or a model is missing.
    """
    wheel = _find_wheel(venv)
    _check_stub(wheel)
    names = tuple(models) if models is not None else _models(repository)
    for name in names:
        if not (repository / name / "config.pbtxt").is_file():
            raise BenchError(
                f"model {name!r} has no config.pbtxt in {repository}",
                remedy=f"Use one of: {', '.join(_models(repository)) or 'none there'}",
            )
    backends = backends or _assemble(wheel, work / "backends")
    prefix = f"{PREFIX}{os.getpid()}_{secrets.token_hex(3)}_"
    argv = (
        str(wheel.server),
        f"--model-repository={repository.resolve()}",
        *(f"--model-repository={other.resolve()}" for other in others),
        f"--backend-directory={backends.resolve()}",
        "--model-control-mode=explicit",
        *(f"--load-model={name}" for name in names),
        "--exit-on-error=false",
        "--exit-timeout-secs=5",
        f"--http-address={host}",
        f"--http-port={http_port}",
        f"--grpc-address={host}",
        f"--grpc-port={grpc_port}",
        f"--metrics-address={host}",
        f"--metrics-port={metrics_port}",
        "--allow-gpu-metrics=false",
        "--log-verbose=0",
        f"--backend-config=python,shm-region-prefix-name={prefix}",
    )
    return Launch(argv=argv, env=_environment(venv, wheel), shm_prefix=prefix)


def clean_shared_memory(prefix: str) -> int:
    """Remove what a killed server left in shared memory and return how many regions that were.

    Call it only when the server and its stubs are gone.

    Raises:
        ValueError: ``prefix`` is not one of a :class:`Launch`, so it could match what is not ours.
    """
    if not prefix.startswith(PREFIX) or len(prefix) <= len(PREFIX):
        message = f"shared memory prefix {prefix!r} is not ours: it must begin with {PREFIX!r} and go on"
        raise ValueError(message)
    regions = [region for region in SHARED_MEMORY.iterdir() if region.name.startswith(prefix)]
    for region in regions:
        region.unlink(missing_ok=True)
    return len(regions)


def _find_wheel(venv: Path) -> _Wheel:
    """Return where the wheel is, looking at file names only."""
    remedy = "Run `make setup`, which makes it from requirements/triton.txt"
    if not (venv / "pyvenv.cfg").is_file():
        raise BenchError(f"{venv} is not a Python environment", remedy=remedy)
    for site_packages in sorted(venv.glob("lib/python3.*/site-packages")):
        wheel = _Wheel(site_packages, site_packages.parent.name.removeprefix("python"))
        if wheel.server.is_file():
            return wheel
    raise BenchError(f"{venv} has no nvidia-pytriton", remedy=remedy)


def _check_stub(wheel: _Wheel) -> None:
    if not wheel.stub.is_file():
        minors = sorted((path.name for path in wheel.stubs.glob("3.*")), key=lambda name: int(name.partition(".")[2]))
        raise BenchError(
            f"Triton's Python backend has no stub for Python {wheel.minor}",
            remedy=f"Make the environment again with Python {' or '.join(minors[-3:])}, such as "
            f"`make setup PYTHON=python{minors[-1]}`",
        )


def _check_libraries(venv: Path, wheel: _Wheel) -> None:
    """Start the stub without arguments: it says so and ends, unless the loader misses a library (exit code 127).

    It needs ``libpython<minor>.so.1.0``; the wheel itself brings that of 3.13.
    """
    answer = subprocess.run(  # noqa: S603 - the stub of our own environment
        [str(wheel.stub)],
        env=_environment(venv, wheel),
        check=False,
        capture_output=True,
        text=True,
        timeout=20,
    )
    if answer.returncode != LOADER_FAILED:
        return
    missing = answer.stderr.partition("loading shared libraries: ")[2].partition(":")[0].strip() or "a shared library"
    if not missing.startswith("libpython"):
        raise BenchError(
            f"Triton's Python backend cannot load {missing}", remedy="Install the package that has it (apt-file, dnf)"
        )
    raise BenchError(
        f"{missing} is missing, and Triton's Python backend cannot run without it",
        remedy=f"Install it (Debian, Ubuntu: apt install libpython{wheel.minor}; Fedora: dnf install "
        f"python{wheel.minor}-libs, or python3-libs for the system's own Python), or make the environment with a "
        "Python that has it, as pyenv's (built with --enable-shared) and uv's do",
    )


def _environment(venv: Path, wheel: _Wheel) -> dict[str, str]:
    """Return the server's environment: the stub finds its Python, and that its packages, by PATH."""
    libraries = [wheel.libraries, *_libpython_folders(venv, wheel.minor)]
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "TZ", "TMPDIR") if name in os.environ}
    return {
        **kept,
        "LD_LIBRARY_PATH": os.pathsep.join(map(str, libraries)),
        "PATH": os.pathsep.join((str(venv.absolute() / "bin"), "/usr/local/bin", "/usr/bin", "/bin")),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONNOUSERSITE": "1",
    }


def _libpython_folders(venv: Path, minor: str) -> list[Path]:
    """Return the library folder beside the base Python's ``bin``, where it holds a libpython."""
    for line in (venv / "pyvenv.cfg").read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition("=")
        if key.strip() == "home":
            base = Path(value.strip()).parent
            return [base / name for name in ("lib", "lib64") if (base / name / f"libpython{minor}.so.1.0").exists()]
    return []


def _models(repository: Path) -> tuple[str, ...]:
    return tuple(sorted(path.parent.name for path in repository.glob("*/config.pbtxt")))


def _assemble(wheel: _Wheel, backends: Path) -> Path:
    """Copy the Python backend, its stub and our backend together under ``backends``, about 3 MB, and return it.

    Links would not do: Triton refuses a backend library that resolves to a place outside the backend's folder.
    """
    shutil.rmtree(backends, ignore_errors=True)
    (backends / "python").mkdir(parents=True)
    (backends / "onnxruntime").mkdir()
    for path in (*wheel.python_backend.iterdir(), wheel.stub):
        if path.is_file():
            shutil.copy(path, backends / "python" / path.name)
    shutil.copy(BACKEND, backends / "onnxruntime" / BACKEND.name)
    return backends
