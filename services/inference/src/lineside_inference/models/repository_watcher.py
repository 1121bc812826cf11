"""Models that come while the service runs: new folders, those that were out and have been mended, and other versions.

A folder is read when it was found unchanged twice in a row, so that one that is still being copied is not read, and
once only for each state that it is in. Of a model that serves, its own card may name another version than before: it
comes into force unless the policy names one. One that was taken out of the repository is unloaded, and serves again
when it comes back.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from lineside.connections import Connection
from lineside.errors import LinesideError
from lineside.packages.paths import CARD_FILE
from lineside_inference.errors import StoreError
from lineside_inference.models.reading import parse_card
from lineside_inference.models.store import Model, ModelStore
from lineside_inference.models.undoing import WITHDRAWN

log = structlog.get_logger("lineside.inference.models")


@dataclass(frozen=True)
class Renewal:
    """The version that the own card of a model that serves names now; `wrong` says why it cannot be used."""

    name: str
    version: str
    wrong: str = ""


@dataclass(frozen=True)
class Withdrawal:
    """A model that serves was taken out of the repository: `models.undoing` has done so, no disk that is away."""

    name: str


class RepositoryWatcher:
    """Watches the folders of the model repository, and serves what has become whole.

    `join` starts to serve a model and raises LinesideError where it cannot; `connection` returns a model's connection.
    `renew` is told which version the own card of a model that serves names, `withdraw` which was taken out. The folders
    are looked at every `look_s` seconds.
    """

    def __init__(
        self,
        store: ModelStore,
        join: Callable[[Model], None],
        connection: Callable[[str], Connection],
        renew: Callable[[Renewal], None],
        withdraw: Callable[[str], None] = lambda _name: None,
        *,
        look_s: float = 2.0,
    ) -> None:
        self._store = store
        self._join = join
        self._connection = connection
        self._renew = renew
        self._withdraw = withdraw
        self._look_s = look_s
        self._seen: dict[str, object] = {}
        self._read: dict[str, object] = {}
        self._out: set[str] = set()

    def show(self) -> None:
        """Show every model that is out under its name; one beside others that serve does not make the whole unready."""
        for name, reason in list(self._store.out.items()):
            link = self._connection(name)
            link.required = not self._store
            if link.detail != reason:
                link.backoff(reason)

    async def supervise(self) -> None:
        """Watch for ever."""
        while True:
            self.admit(await asyncio.to_thread(self.look))
            await asyncio.sleep(self._look_s)

    def admit(self, found: Sequence[Model | Renewal | Withdrawal]) -> None:
        """Serve models that have become whole, tell which versions are named now, and show models that are out."""
        for each in found:
            if isinstance(each, Renewal):
                self._renew(each)
                continue
            if isinstance(each, Withdrawal):
                self._withdraw(each.name)
                continue
            try:
                self._join(each)
            except LinesideError as error:
                self._store.leave_out(each.card.name, str(error))
            else:
                log.info("a model has come", model=each.card.name, version=each.card.version)
        self.show()

    def look(self) -> Sequence[Model | Renewal | Withdrawal]:
        """Return the models that have become whole, and what own cards name; takes as long as reading their files."""
        store = self._store
        found: list[Model | Renewal | Withdrawal] = [Withdrawal(name) for name in self._gone()]
        for folder, is_first in self._rested():
            name = folder.name
            try:
                if name in store:
                    found += self._renewal(folder, is_first=is_first)
                else:
                    found.append(store.read_model(folder, store.wanted.get(name)))
            except StoreError as error:
                if name in store:
                    log.warning("a model's card cannot be read; what serves goes on", model=name, reason=str(error))
                else:
                    store.leave_out(name, str(error))
        return found

    def _gone(self) -> Iterator[str]:
        """Yield the models that serve and were taken out, each once."""
        repository = self._store.repository
        if repository is None:
            return
        for name in list(self._store):
            is_out = not (repository / name).exists() and (repository / WITHDRAWN / name).is_dir()
            if is_out and name not in self._out:
                self._out.add(name)
                self._seen.pop(name, None)
                self._read[name] = None  # whatever comes under its name is read, were it the same again
                yield name
            elif not is_out:
                self._out.discard(name)

    def _rested(self) -> Iterator[tuple[Path, bool]]:
        """Yield the folders that rest in another state than they were read in, and whether none was read of it."""
        for folder in _folders(self._store):
            name = folder.name
            wanted = None if name in self._store else self._store.wanted.get(name)
            mark = (wanted, _state(folder))
            rests = self._seen.get(name) == mark
            self._seen[name] = mark
            if rests and self._read.get(name) != mark:
                is_first = name not in self._read
                self._read[name] = mark
                yield folder, is_first

    def _renewal(self, folder: Path, *, is_first: bool) -> Iterator[Renewal]:
        """Yield what the own card of a model that serves names; its files are compared where that does not serve.

        Raises StoreError where the card cannot be read.
        """
        version = parse_card(folder / CARD_FILE, folder).version
        if is_first and version == self._store.default_version(folder.name):  # as the store has read it
            return
        wrong = ""
        if version != self._store[folder.name].card.version:
            try:
                self._store.read_model(folder, version)
            except StoreError as error:
                wrong = str(error)
        yield Renewal(folder.name, version, wrong)


def _folders(store: ModelStore) -> list[Path]:
    """Return the folders with a card."""
    return [] if store.repository is None else [path.parent for path in sorted(store.repository.glob(f"*/{CARD_FILE}"))]


def _state(folder: Path) -> object:
    """Return what is another when anything in a folder has changed."""
    found = []
    for path in sorted(folder.rglob("*")):
        with suppress(OSError):  # it may go while it is looked at
            now = path.stat()
            found.append((path, now.st_size, now.st_mtime_ns, now.st_ctime_ns))
    return tuple(found)
