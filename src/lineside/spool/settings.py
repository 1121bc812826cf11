"""Section `spool`: where evidence waits on this box, and how much; for the services that write it and the forwarder."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from lineside.settings import Section

MIB = 1024 * 1024


class SpoolSettings(Section):
    """The durable queue on disk between who makes evidence and who ships it."""

    folder: Path | None = Field(
        None,
        description="Folder of the spool, on a local disk, the same for every service of the box; "
        "absent: no evidence is kept.",
    )
    max_bytes: int = Field(
        4096 * MIB, ge=MIB, description="Most bytes of evidence that may wait; at the bound when_full applies."
    )
    reserve_bytes: int = Field(
        64 * MIB,
        ge=256 * 1024,
        description="Free space of the disk below which nothing more is taken; a part of it is set aside in a file, "
        "so that a full disk can be drained.",
    )
    when_full: Literal["refuse", "drop-delivered", "drop-sampled"] = Field(
        "drop-delivered",
        description="At the bound. refuse: new evidence is refused; drop-delivered: what is delivered and only kept "
        "goes first; drop-sampled: then the oldest sampled evidence too. Fails, unknowns and what was asked for "
        "are never dropped.",
    )
    keep_delivered_h: float = Field(
        0.0, ge=0, le=24 * 365, description="Hours for which delivered evidence stays on this box."
    )
    max_age_h: float = Field(
        24.0 * 90, gt=0, le=24 * 3650, description="Hours after which sampled evidence that never left is dropped."
    )
    refusals: int = Field(
        5,
        ge=1,
        le=1000,
        description="Times that a destination may refuse a batch before it is set aside as a dead letter.",
    )
