"""Pauses the bridge: while the policy in force is not enabled, no part is asked about.

The topic-bridge retains the policy in force on `lineside/<thing>/policy/reported`, however it came into force. While
paused, every part is answered `unknown` with code `paused` at once; sessions and subscriptions stay, so that the first
part after the pause is judged. Until the first report the policy counts as enabled: the inference service, whose policy
it is, answers `disabled` by itself.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

import structlog
from pydantic_core import from_json

from lineside.bus import Message
from lineside.connections import Connection

log = structlog.get_logger("lineside.opcua_bridge.pausing")

REASON = "paused by policy"


class Pausable(Protocol):
    """What can be paused: a trigger's worker."""

    def pause(self, reason: str | None) -> None:
        """Pause for this reason; None resumes."""


def enabled(report: bytes) -> bool | None:
    """Return whether the policy in force is enabled, None where the report does not contain it."""
    try:
        document = from_json(report)
    except ValueError:
        return None
    said = document.get("enabled") if isinstance(document, dict) else None
    return said if isinstance(said, bool) else None


class PauseSwitch:
    """Follows the reports of the policy; `connections` show PAUSED meanwhile."""

    def __init__(self, workers: Sequence[Pausable], connections: Iterable[Connection]) -> None:
        self._workers = workers
        self._connections = tuple(connections)
        self._reason: str | None = None

    def take(self, message: Message) -> None:
        """Take one report."""
        said = enabled(message.payload)
        if said is None:
            log.info("a report of the policy does not say whether it is enabled; nothing changes")
        else:
            self._follow(None if said else REASON)

    def _follow(self, reason: str | None) -> None:
        if reason == self._reason:
            return
        self._reason = reason
        log.warning("paused" if reason else "resumed", stations=len(self._workers))
        for worker in self._workers:
            worker.pause(reason)
        for connection in self._connections:
            connection.hold(reason)
