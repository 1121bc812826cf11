"""One life of this service as its database knows it: how often it began, and how often it ended without a stop."""

import secrets
from dataclasses import dataclass

from lineside_deployer.database import Database

_BOX_BYTES = 8


@dataclass(frozen=True)
class Life:
    """`box` tells devices of one name apart."""

    box: str
    starts: int
    crashes: int


def begin(database: Database) -> Life:
    """Take note of a start; the one before counts as a crash where no end of it was noted."""
    box = database.note("box") or secrets.token_hex(_BOX_BYTES)
    starts = int(database.note("starts") or 0) + 1
    crashes = int(database.note("crashes") or 0) + (database.note("runs") == "yes")
    database.notes(box=box, starts=str(starts), crashes=str(crashes), runs="yes")
    return Life(box, starts, crashes)


def end(database: Database) -> None:
    """Take note that it ends by a stop."""
    database.notes(runs="no")
