"""Packages in one archive that clients name: unpacked, and verified where the settings say who signs, by a process.

A client names the archive, or a folder that holds it with its signature beside it, as a component of a model has them
in its work folder. What is a model as it lies there has no signature: with `signer_roots` it is loaded only by a name
that `unsigned_models` has.
"""

import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from lineside.packages import PackageRefused, read_manifest
from lineside.packages.paths import CONFIG_FILE
from lineside_inference.agent.packages.paths import Roots, entries
from lineside_inference.errors import PackageUnusable

log = structlog.get_logger("lineside.inference.agent")

_ARCHIVE, _SIGNATURE = ".tar.gz", ".sig"
_MAX_ANSWER = 64 * 1024
UNPACK_S = 600.0


@dataclass(frozen=True)
class Signers:
    """Who signs clients' models: the folder of roots, None where nobody is asked; names that need no signature."""

    roots: Path | None = None
    unsigned: frozenset[str] = frozenset()

    def demand(self, name: str, url: str) -> None:
        """Refuse a model without a signature where one is asked for; raises PackageUnusable."""
        if self.roots is not None and name not in self.unsigned:
            raise PackageUnusable(
                f"model {name!r} at {url!r:.300} has no signature, and {self.roots} says who signs models here",
                remedy="Name a package, NAME-VERSION.tar.gz, with its .sig beside it (docs/how-to/sign-a-model.md)",
            )


def find_archive(url: str, roots: Roots) -> Path | None:
    """Return the package that a client means, None where it means a model as it lies there.

    Raises PackagePathRefused, PackageNotFound or PackageUnusable.
    """
    path = roots.resolve(url)
    if path.is_dir():
        names = entries(path)
        signed = [name for name in names if name.endswith(_ARCHIVE) and f"{name}{_SIGNATURE}" in names]
        if len(signed) != 1 or CONFIG_FILE in names:
            return None
        return roots.resolve(str(path / signed[0]))
    if not path.name.endswith(_ARCHIVE):
        return None
    try:
        read_manifest(path)
    except PackageRefused:
        if not path.with_name(f"{path.name}{_SIGNATURE}").exists():
            return None  # any archive, which is not unpacked
    return path


@asynccontextmanager
async def unpacked(archive: Path, name: str, signers: Signers, beside: Path | None) -> AsyncIterator[Path]:
    """Give the folder of an unpacked package, below `beside` or that for temporary files, while the block runs.

    Raises PackageUnusable where it is refused.
    """
    if not archive.with_name(f"{archive.name}{_SIGNATURE}").exists():
        signers.demand(name, str(archive))
        signers = Signers()
    above: Path | None = None
    try:
        above = await asyncio.to_thread(_new_folder, beside)
        folder = above / "model"
        answer = await _asked(archive, folder, signers.roots)
        if "reason" in answer:
            raise PackageUnusable(f"package {archive} is refused: {answer['what']}", remedy=str(answer["remedy"]))
        log.info(
            "a client's package", model=name, package=answer["name"], version=answer["version"], signer=answer["signer"]
        )
        yield folder
    except OSError as error:
        raise PackageUnusable(f"package {archive} cannot be unpacked below {beside}: {error.strerror}") from None
    finally:
        if above is not None:
            await asyncio.to_thread(shutil.rmtree, above, ignore_errors=True)


def _new_folder(beside: Path | None) -> Path:
    if beside is not None:
        beside.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="package-", dir=beside))


async def _asked(archive: Path, into: Path, roots: Path | None) -> dict[str, str | None]:
    """Let a process unpack it; return its answer."""
    words = [sys.executable, "-P", "-m", "lineside.packages", str(archive), str(into)]
    if roots is not None:
        words += ["--roots", str(roots)]
    # Not by the loop's own way: that forks, so that gRPC's handlers for forks run beside its threads, and one
    # process of many ended there by SIGSEGV. Python's own is a vfork, in which no handler runs.
    process = await asyncio.to_thread(
        subprocess.Popen, words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        said, complaint = await asyncio.to_thread(process.communicate, timeout=UNPACK_S)
        found: dict[str, str | None] = json.loads(said[:_MAX_ANSWER])
    except subprocess.TimeoutExpired:
        raise PackageUnusable(f"package {archive} was not unpacked within {UNPACK_S:g} s") from None
    except ValueError:
        last = complaint.decode(errors="replace").strip().rpartition("\n")[2]
        raise PackageUnusable(f"package {archive} could not be unpacked: {last or process.returncode}") from None
    finally:
        if process.poll() is None:
            process.kill()
            await asyncio.to_thread(process.wait)
    return found
