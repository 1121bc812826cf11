"""Section `inference.history`: the record of every part on this box."""

from pathlib import Path

from pydantic import Field

from lineside.settings import Section

MIB = 1024 * 1024


class HistorySettings(Section):
    """The record of every part: what the PLC got for it, and why, for as long as `days` and `max_bytes` allow."""

    folder: Path | None = Field(
        None, description="Folder of the history, on a local disk, for this service alone; absent: none is kept."
    )
    days: float = Field(90.0, gt=0, le=3650, description="Days after which parts are forgotten.")
    max_bytes: int = Field(
        2048 * MIB, ge=8 * MIB, description="Most bytes of the history; beyond it the oldest parts are forgotten."
    )
    queue: int = Field(
        5000,
        ge=16,
        le=100_000,
        description="Parts that wait in memory for the disk, also while it cannot be written; one more is not "
        "recorded, and counted.",
    )
    query_s: float = Field(
        2.0,
        gt=0,
        le=60,
        description="Seconds of one query; what it did not reach by then is asked for with its cursor.",
    )
