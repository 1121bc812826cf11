"""The model repository, by the commands of the inference distribution: the command line is the contract.

    python -m lineside_inference.deploying --repository DIR VERB ...

What decides whether a model is right, and how it gets into force, is theirs; here it is only asked and read.
"""

import asyncio
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from lineside.reaping import reap
from lineside.secrecy import hidden
from lineside_deployer.errors import ChangeFailed

log = structlog.get_logger("lineside.deployer")

PROGRAM = (sys.executable, "-m", "lineside_inference.deploying")
CHANGE_S = 600.0
"""Longest time of a command that changes the repository: of the largest model on the slowest disk."""
_SPARE_S = 60.0
_LONGEST = 64 * 1024
_VERSION = re.compile(r"^version ([1-9][0-9]{0,17})$", re.MULTILINE)
_CARD_VERSION = re.compile(r"""^version:\s*["']?([1-9][0-9]{0,17})["']?\s*$""", re.MULTILINE)


@dataclass(frozen=True)
class Repository:
    """The folder, the inference service that serves from it, and how long a model may take to serve."""

    folder: Path
    url: str
    token_file: Path | None = None
    confirm_s: float = 600.0
    roots: Path | None = None
    unsigned: Sequence[str] = ()
    lock: int | None = None
    """The lock's descriptor, which commands that change something inherit."""
    program: Sequence[str] = PROGRAM

    def present(self) -> dict[str, str]:
        """Return the version that the own card of each model names; a card that says none is passed over."""
        found = {}
        for card in sorted(self.folder.glob("[!.]*/card.yaml")):
            with suppress(OSError, UnicodeDecodeError):
                if version := _CARD_VERSION.search(card.read_text(encoding="utf-8")):
                    found[card.parent.name] = version[1]
        return found

    def begun(self) -> list[str]:
        """Return the models of which a change was begun and neither settled nor undone."""
        return sorted(each.name for each in self.folder.glob(".before/*") if each.is_dir())

    async def keep(self, handle: str) -> None:
        """Note how a model is; raises ChangeFailed, as all below."""
        await self._change("keep", handle)

    async def install(self, handle: str, package: Path, bundle: Path | None) -> str:
        """Verify a package and put its model into the repository; return its version."""
        words = [str(package)]
        if bundle is not None:
            words += ["--bundle", str(bundle)]
        if self.roots is not None:
            words += ["--roots", str(self.roots)]
        if handle in self.unsigned:
            words += ["--allow-unsigned", handle]
        words += ["--model", handle]
        said = await self._change("install", *words)
        found = _VERSION.search(said)
        if found is None:
            raise ChangeFailed(f"install does not say which version of {handle} it has put: {said!r:.200}")
        return found[1]

    async def withdraw(self, handle: str) -> None:
        """Take a model out of the repository."""
        await self._change("withdraw", handle)

    async def restore(self, handle: str) -> str | None:
        """Bring a model back to how it was noted; return its version, None where it was not there."""
        found = _VERSION.search(await self._change("restore", handle))
        return found[1] if found else None

    async def accept(self, handle: str, versions: Sequence[str]) -> None:
        """Let these versions of a model stay, and no others."""
        await self._change("accept", handle, *versions)

    async def settle(self, handle: str) -> None:
        """Forget how a model was."""
        await self._change("settle", handle)

    async def confirm(self, handle: str) -> tuple[str, ...]:
        """Wait until the version that the model's own card names serves; return the versions that are needed."""
        return tuple((await self._ask("confirm", handle)).split())

    async def gone(self, handle: str) -> None:
        """Wait until the inference service does not serve a model any more."""
        await self._ask("gone", handle)

    async def _ask(self, verb: str, handle: str) -> str:
        words = [verb, handle, self.url, "--within", f"{self.confirm_s:g}"]
        if self.token_file is not None:
            words += ["--token-file", str(self.token_file)]
        return await self._run(words, self.confirm_s + _SPARE_S, ())

    async def _change(self, *words: str) -> str:
        return await self._run(words, CHANGE_S, () if self.lock is None else (self.lock,))

    async def _run(self, words: Sequence[str], within_s: float, inherited: Sequence[int]) -> str:
        argv = [*self.program, "--repository", str(self.folder), *words]
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=tuple(inherited),
        )
        try:
            async with asyncio.timeout(within_s):
                out, err = await process.communicate()
        except TimeoutError:
            raise ChangeFailed(f"{words[0]} of {words[1]} has not ended within {within_s:g} s") from None
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
                await reap(process)
        said = hidden(err[-_LONGEST:].decode(errors="replace")).strip()
        log.info("command", verb=words[0], model=words[1], status=process.returncode, said=said[-500:])
        if process.returncode != 0:
            last = said.splitlines()[-1] if said else f"it ended with status {process.returncode} and said nothing"
            raise ChangeFailed(last if process.returncode == 1 else f"{words[0]} failed: {last}")
        return out[-_LONGEST:].decode(errors="replace")
