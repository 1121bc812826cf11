"""Models that come while the service runs: new folders, and those that were out and have been mended.

A folder is read when it was found unchanged twice in a row, so that one that is still being copied is not read, and
once only for each state that it is in.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import structlog

from lineside.connections import Connection
from lineside.errors import LinesideError
from lineside_inference.errors import StoreError
from lineside_inference.models.reading import CARD_FILE
from lineside_inference.models.store import Model, ModelStore

log = structlog.get_logger("lineside.inference.models")

LOOK_S = 2.0
"""Seconds between two readings of the repository's folders."""


class RepositoryWatcher:
    """Watches the folders of the model repository, and serves what has become whole.

    `join` starts to serve a model and raises LinesideError where it cannot; `connection` returns a model's connection.
    """

    def __init__(
        self, store: ModelStore, join: Callable[[Model], None], connection: Callable[[str], Connection]
    ) -> None:
        self._store = store
        self._join = join
        self._connection = connection
        self._seen: dict[str, object] = {}
        self._read: dict[str, object] = {}

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
            await asyncio.sleep(LOOK_S)

    def admit(self, models: Iterable[Model]) -> None:
        """Serve models that have become whole, and show those that are out."""
        for model in models:
            try:
                self._join(model)
            except LinesideError as error:
                self._store.leave_out(model.card.name, str(error))
            else:
                log.info("a model has come", model=model.card.name, version=model.card.version)
        self.show()

    def look(self) -> Sequence[Model]:
        """Return the models that have become whole; takes as long as reading their files."""
        store, found = self._store, []
        for folder in _folders(store):
            name = folder.name
            mark = (store.wanted.get(name), _state(folder))
            rests = self._seen.get(name) == mark
            self._seen[name] = mark
            if not rests or self._read.get(name) == mark:
                continue
            self._read[name] = mark
            try:
                found.append(store.read_model(folder, store.wanted.get(name)))
            except StoreError as error:
                store.leave_out(name, str(error))
        return found


def _folders(store: ModelStore) -> list[Path]:
    """Return the folders with a card whose model does not serve."""
    if store.repository is None:
        return []
    folders = (path.parent for path in sorted(store.repository.glob(f"*/{CARD_FILE}")))
    return [folder for folder in folders if folder.name not in store]


def _state(folder: Path) -> object:
    """Return what is another when anything in a folder has changed."""
    found = []
    for path in sorted(folder.rglob("*")):
        with suppress(OSError):  # it may go while it is looked at
            now = path.stat()
            found.append((path, now.st_size, now.st_mtime_ns, now.st_ctime_ns))
    return tuple(found)
