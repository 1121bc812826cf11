"""What about a spool's state needs a person, and what to do. Pure; used by `lineside spool status` and the doctor."""

from collections.abc import Iterator
from dataclasses import dataclass

from lineside.spool.settings import SpoolSettings
from lineside.spool.store.values import Status

NEARLY_FULL = 0.9
"""Share of the bound from which somebody should look why the evidence does not leave."""

_AT_THE_BOUND = {
    "refuse": "at the bound new evidence is refused",
    "drop-delivered": "at the bound what is delivered and only kept goes, then new evidence is refused",
    "drop-sampled": "at the bound the oldest sampled evidence is dropped, and where there is none new is refused",
}


@dataclass(frozen=True, slots=True)
class Need:
    """One thing that needs a person; `about` is the place of the spool that it is about."""

    about: str
    what: str
    remedy: str


def needs(status: Status, settings: SpoolSettings, *, quarantined_files: int) -> list[Need]:
    """Return what needs a person now, in the order of urgency.

    `quarantined_files` is how many files lie in the spool's `quarantine` folder: a person removes them after a look.
    Past counts (dropped, quarantined) need no action.
    """
    return [*_served(status), *_space(status, settings), *_dead(status), *_quarantine(quarantined_files)]


def share(status: Status) -> float:
    """Return how full the spool is, as a share of its bound."""
    return status.bytes / status.max_bytes if status.max_bytes else 0.0


def _served(status: Status) -> Iterator[Need]:
    if status.destinations and status.records > status.kept_records and not status.is_served:
        yield Need("forwarder", "no forwarder runs: nothing leaves this box", "start lineside-forwarder; see its log")


def _space(status: Status, settings: SpoolSettings) -> Iterator[Need]:
    if status.free_bytes < settings.reserve_bytes:
        yield Need(
            "disk",
            f"its disk has {mebibytes(status.free_bytes)} free, and below spool.reserve_bytes, "
            f"{mebibytes(settings.reserve_bytes)}, no evidence is taken",
            "free space on that disk; what waits can still leave",
        )
    if share(status) >= NEARLY_FULL:
        yield Need(
            "bound",
            f"{share(status):.0%} of spool.max_bytes, {mebibytes(status.max_bytes)}, is in use; "
            f"{_AT_THE_BOUND[settings.when_full]}",
            "see why the destinations do not take it, or raise spool.max_bytes, or `lineside spool export` it",
        )


def _dead(status: Status) -> Iterator[Need]:
    for destination in status.destinations:
        if destination.dead:
            count = f"{destination.dead} batch{'es' if destination.dead > 1 else ''}"
            yield Need(
                f"dead letters {destination.name}",
                f"{destination.name} refused {count} for good",
                f"`lineside spool list` says why; then `lineside spool retry {destination.name}`",
            )


def _quarantine(files: int) -> Iterator[Need]:
    if files:
        yield Need(
            "quarantine",
            f"{files} damaged file{'s' if files > 1 else ''} in quarantine",
            "check the disk, run `lineside spool verify`, keep or remove the files in the spool's quarantine folder",
        )


def mebibytes(size: int) -> str:
    """Return a size for people: `12 KiB`, `3.4 MiB`, `1.2 GiB`."""
    value = float(size)
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:  # noqa: PLR2004 - the next unit
            return f"{value:.0f} {unit}" if unit in {"B", "KiB"} else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"
