"""How the evidence stands: what waits on this box, what has left it, what was dropped, and what needs a person."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lineside.contract import utc_now
from lineside.errors import LinesideError
from lineside.spool import SpoolSettings, Status
from lineside.spool.findings import needs, share
from lineside_inference.capture.recorder import Recorder

NOT_CONFIGURED = "spool.folder is not set: no evidence is kept"
_CACHED_S = 1.0


class EvidenceStatus:
    """The spool's state as it was at most a second ago, so that many readers cost one look at the disk.

    Use it on the loop.
    """

    def __init__(
        self, settings: SpoolSettings, recorder: Recorder, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._recorder = recorder
        self._clock = clock
        self._read_at = -_CACHED_S
        self._known: dict[str, Any] = {}
        self._lock = asyncio.Lock()

    async def document(self) -> dict[str, Any]:
        """Return the state as a document of plain values."""
        async with self._lock:
            if self._clock() - self._read_at >= _CACHED_S:
                self._known = await asyncio.to_thread(self._read)
                self._read_at = self._clock()
        missed = dict(self._recorder.metrics.dropped_by_reason)
        return {**self._known, "now": utc_now().isoformat(), "missed": missed}

    def _read(self) -> dict[str, Any]:
        folder = self._settings.folder
        if folder is None:
            return unknown_status(NOT_CONFIGURED, is_configured=False)
        spool = self._recorder.spool
        if spool is None:
            return unknown_status(f"the spool in {folder} is not open: /readyz says why")
        try:
            return describe(spool.status(), self._settings, quarantined_files=_quarantined(folder))
        except (LinesideError, OSError) as error:
            return unknown_status(str(error))


def unknown_status(reason: str, *, is_configured: bool = True) -> dict[str, Any]:
    """Return the document where nothing can be said of the spool."""
    return {
        "configured": is_configured,
        "kept": False,
        "reason": reason,
        "waiting": None,
        "destinations": [],
        "dropped": {},
        "quarantined": {},
        "needs": [],
    }


def describe(status: Status, settings: SpoolSettings, *, quarantined_files: int) -> dict[str, Any]:
    """Return the document of a spool's state."""
    return {
        "configured": True,
        "kept": True,
        "reason": "",
        "waiting": {
            "records": status.records - status.kept_records,
            "bytes": status.bytes - status.kept_bytes,
            "oldest": _instant(status.oldest_ms),
            "share": round(share(status), 4),
            "used_bytes": status.bytes,
            "most_bytes": status.max_bytes,
            "free_bytes": status.free_bytes,
        },
        "destinations": [
            {
                "name": one.name,
                "state": one.state,
                "detail": one.detail,
                "since": _instant(one.since_ms),
                "waiting": one.waiting_records,
                "waiting_bytes": one.waiting_bytes,
                "oldest": _instant(one.oldest_ms),
                "delivered": one.delivered_records,
                "delivered_bytes": one.delivered_bytes,
                "dead": one.dead,
            }
            for one in status.destinations
        ],
        "dropped": dict(status.dropped),
        "quarantined": dict(status.quarantined),
        "needs": [
            {"about": need.about, "what": need.what, "remedy": need.remedy}
            for need in needs(status, settings, quarantined_files=quarantined_files)
        ],
    }


def _instant(milliseconds: int | None) -> str | None:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat() if milliseconds else None


def _quarantined(folder: Path) -> int:
    quarantine = folder / "quarantine"
    return sum(1 for _ in quarantine.iterdir()) if quarantine.is_dir() else 0
