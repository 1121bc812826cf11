"""The environments of the PLC programs that are not asyncua's, installed on first use from files that name every hash.

They are none of ours: python-opcua asks for packages of its time, o6 is licensed otherwise, node-opcua wants Node.js.
"""

import fcntl
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path

from lineside_bench.errors import BenchError
from lineside_bench.processes.process import clean_environment

ENVIRONMENT = ".venv-plc"
REQUIREMENTS = Path("requirements", "plc.txt")
NODE = Path("bench", "node_opcua")
INSTALL_S = 600.0


class Stack(StrEnum):
    """The OPC UA stacks that a PLC of the bench can be built on."""

    asyncua = "asyncua"
    node_opcua = "node-opcua"
    o6 = "o6"
    python_opcua = "python-opcua"


_MODULES = {
    Stack.asyncua: "lineside_bench.plcs.asyncua_plc",
    Stack.o6: "lineside_bench.plcs.o6_plc",
    Stack.python_opcua: "lineside_bench.plcs.python_opcua_plc",
}


def command(stack: Stack, root: Path, note: Callable[[str], object] = lambda _text: None) -> tuple[str, ...]:
    """Return the command that runs a stack's program, once what it needs is installed; `note` hears of an installation.

    Raises BenchError where it cannot be installed.
    """
    if stack is Stack.node_opcua:
        return _program("node"), str(installed_node(root, note) / "plc.mjs")
    if stack is Stack.asyncua:
        return sys.executable, "-m", _MODULES[stack]
    return str(_installed_python(root, note) / "bin" / "python"), "-m", _MODULES[stack]


def variables(root: Path) -> Mapping[str, str]:
    """Return the environment variables of the programs: our modules on the path, without installing them."""
    return clean_environment() | {"PYTHONPATH": str(root / "bench" / "src"), "PYTHONUNBUFFERED": "1"}


def installed_node(root: Path, note: Callable[[str], object] = lambda _text: None) -> Path:
    """Return the folder of the node-opcua programs, once their packages are there; raises BenchError."""
    folder = root / NODE
    npm = _program("npm")

    def install() -> None:
        _run([npm, "ci", "--no-audit", "--no-fund"], folder)

    _once(folder / "package-lock.json", folder / "node_modules" / ".installed", install, note)
    return folder


def _installed_python(root: Path, note: Callable[[str], object]) -> Path:
    folder = root / ENVIRONMENT
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]

    def install() -> None:
        _run([sys.executable, "-m", "venv", "--clear", str(folder)], root)
        _run([*pip, "--require-hashes", "-r", str(root / REQUIREMENTS)], root)

    _once(root / REQUIREMENTS, folder / ".installed", install, note)
    return folder


def _once(lock: Path, mark: Path, install: Callable[[], None], note: Callable[[str], object]) -> None:
    """Install what `lock` names unless `mark` says that it is; others that want the same wait."""
    with lock.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        wanted = held.read()
        if not mark.is_file() or mark.read_bytes() != wanted:
            note(f"Installing what {lock} names: once")
            install()
            mark.write_bytes(wanted)


def _run(argv: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(  # noqa: S603 - our own command
            argv, cwd=folder, capture_output=True, text=True, timeout=INSTALL_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise BenchError(
            f"`{' '.join(argv)}` did not end within {INSTALL_S:g} s", remedy="See whether the package registry answers"
        ) from None
    if done.returncode:
        last = "\n".join((done.stderr or done.stdout).splitlines()[-15:])
        raise BenchError(
            f"`{' '.join(argv)}` ended with exit status {done.returncode}:\n{last}\n",
            remedy="See whether the package registry answers, and run it by hand",
        )


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise BenchError(f"{name} is not installed", remedy="Install Node.js with npm, or choose another --plc")
    return found
