"""The evidence of a run: what the services said they kept, against what the forwarder wrote into files."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from lineside.contract import Result
from lineside_bench.reporting.records import Exchange

ALWAYS = ("fail", "unknown")
"""Verdicts whose evidence the bench's policy always keeps."""
JUDGED = ("ok", "failed", "expired")
"""What is no evidence: a request that was refused, and parts of a line that is switched off."""

_IMAGE = "image.jpg"

LONGEST_S = 10.0
"""Longest wait for evidence that was reported as kept: a batch leaves a second after its first record."""
UNSURE_S = 3.0
"""Longest wait for evidence that may have been kept after the answer, or not at all."""


@dataclass(frozen=True)
class EvidenceAccount:
    """What became of the evidence, by request id.

    `lost` was reported as kept and is in no file; `missed` should have been kept by the policy and was not.
    """

    captured: int = 0
    delivered: int = 0
    repeated: int = 0
    lost: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()


class EvidenceFiles:
    """What is in the files below a folder, of those changed at `since` or later; a file never changes once it is there.

    `since` is a time as the file system counts it, in seconds.
    """

    def __init__(self, folder: Path, *, since: float = 0.0) -> None:
        self.events: Counter[str] = Counter()
        """How often each event's record is there, with all its objects."""
        self.images: dict[str, Path] = {}
        """The image of an event, where it has one in a file."""
        self._folder = folder
        self._since = since
        self._read: set[Path] = set()

    def read(self) -> None:
        """Read the files that are new."""
        for path in sorted(self._folder.rglob("*.jsonl")):
            if path not in self._read:
                self._read.add(path)
                if path.stat().st_mtime < self._since:
                    continue
                for line in path.read_bytes().splitlines():
                    record = json.loads(line)
                    objects = list(_objects(record))
                    if all(file.is_file() for file in objects):
                        event = record["eventMetadata"]["eventId"]
                        self.events[event] += 1
                        self.images.update((event, file) for file in objects if file.name.endswith(_IMAGE))


def reported(exchanges: Mapping[str, Exchange]) -> set[str]:
    """Return the requests whose result says that its evidence is on the disk."""
    return {name for name, result in _results(exchanges) if result.evidence_id}


def owed(exchanges: Mapping[str, Exchange]) -> set[str]:
    """Return the requests whose evidence the policy always keeps, whether its result says so or it comes later."""
    return {name for name, result in _results(exchanges) if result.verdict in ALWAYS and result.status in JUDGED}


def account(exchanges: Mapping[str, Exchange], events: Mapping[str, int]) -> EvidenceAccount:
    """Compare what was said on the bus with what is in the files."""
    kept = reported(exchanges)
    return EvidenceAccount(
        captured=len(kept | set(events)),
        delivered=len(events),
        repeated=sum(count - 1 for count in events.values()),
        lost=tuple(sorted(kept - set(events))),
        missed=tuple(sorted(owed(exchanges) - kept - set(events))),
    )


async def settled(
    files: EvidenceFiles,
    exchanges: Callable[[], Mapping[str, Exchange]],
    *,
    of: Collection[str] = (),
    only_seen: bool = False,
) -> EvidenceAccount:
    """Return the account, once all that was or should be kept is in the files, that of the requests `of` too.

    The wait is bounded. With `only_seen` records of requests that are not among the exchanges are left out: those of
    parts before this run.
    """
    start = time.monotonic()
    while True:
        await asyncio.to_thread(files.read)
        seen, waited_s = exchanges(), time.monotonic() - start
        sure = reported(seen).union(of)
        wanted = sure if waited_s >= UNSURE_S else sure | owed(seen)
        if wanted <= files.events.keys() or waited_s >= LONGEST_S:
            return account(seen, {name: n for name, n in files.events.items() if name in seen or not only_seen})
        await asyncio.sleep(0.1)


def _results(exchanges: Mapping[str, Exchange]) -> Iterable[tuple[str, Result]]:
    for name, exchange in exchanges.items():
        for seen in exchange.results:
            yield name, seen.result


def _objects(record: Mapping[str, Any]) -> Iterable[Path]:
    for items in record.values():
        if isinstance(items, list):
            yield from (Path(unquote(urlsplit(item["data-ref"]).path)) for item in items if "data-ref" in item)
