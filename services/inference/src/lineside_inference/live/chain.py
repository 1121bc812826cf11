"""How the services before this one stand: what they told last, and who tells no more.

A service that was heard once is expected from then on, after a restart of this one too: who stopped telling is silent,
and whatever it said last holds no longer. Where none was ever heard nothing is expected: HTTP clients need no bridge.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog

from lineside.contract import ServiceStatus, utc_now

log = structlog.get_logger("lineside.inference.chain")

SILENT_S = 8.0
"""After how many seconds without a word a service is silent; each tells every two."""
FILE = "services.json"
_KNOWN = ("topic_bridge", "opcua_bridge")


@dataclass(slots=True)
class _Heard:
    status: ServiceStatus | None
    at: datetime
    clock: float


class Chain:
    """What was heard; `folder` is where the names of those to be expected are kept, None: in memory alone."""

    def __init__(
        self,
        folder: Path | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._file = folder / FILE if folder is not None else None
        self._clock = clock
        self._now = now
        self._services = {name: _Heard(None, now(), clock()) for name in self._expected()}

    def heard(self, status: ServiceStatus) -> None:
        """Take what a service tells."""
        is_new = status.service not in self._services
        self._services[status.service] = _Heard(status, self._now(), self._clock())
        if is_new:
            self._keep()

    def document(self) -> dict[str, Any]:
        """Return what the route answers."""
        return {
            "now": self._now().isoformat(),
            "silent_after_s": SILENT_S,
            "services": [self._shown(name, self._services[name]) for name in _KNOWN if name in self._services],
        }

    def _shown(self, name: str, heard: _Heard) -> dict[str, Any]:
        told, is_silent = heard.status, self._clock() - heard.clock > SILENT_S
        return {
            "service": name,
            "silent": is_silent,
            "heard": heard.at.isoformat() if told else None,
            "ready": bool(told and told.ready and not is_silent),
            "connections": [link.model_dump(mode="json") for link in told.connections] if told else [],
            "omitted": told.omitted if told else 0,
            "policy": told.policy.model_dump(mode="json") if told and told.policy and not is_silent else None,
            "version": told.version if told else None,
            "settings_hash": told.settings_hash if told else None,
        }

    def _expected(self) -> list[str]:
        try:
            names = json.loads(self._file.read_bytes()) if self._file else []
        except (OSError, ValueError):
            return []
        return [name for name in _KNOWN if isinstance(names, list) and name in names]

    def _keep(self) -> None:
        if self._file is None:
            return
        try:
            self._file.write_text(json.dumps(sorted(self._services)))
        except OSError as error:
            log.warning("which services tell is not kept", file=str(self._file), reason=error.strerror)
