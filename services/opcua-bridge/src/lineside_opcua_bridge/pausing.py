"""The operator's switch: while the policy in force says so, no part is asked about.

The topic-bridge retains the policy in force on `lineside/<thing>/policy/reported`, whichever way it came into force.
Paused, every station answers its parts `unknown` with code `paused` at once; sessions and subscriptions stay, so that
the next part after the switch is judged. Until a first report comes the switch counts as on: the inference service,
whose policy it is, answers `disabled` by itself.
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
    """What stops asking while it is given a reason, and goes on when it is given None."""

    def pause(self, reason: str | None) -> None:
        """Take the reason."""


def enabled(report: bytes) -> bool | None:
    """Return whether the policy in force is enabled, None where the report does not say it."""
    try:
        document = from_json(report)
    except ValueError:
        return None
    said = document.get("enabled") if isinstance(document, dict) else None
    return said if isinstance(said, bool) else None


class PauseSwitch:
    """Follows the reports; `links` show PAUSED meanwhile."""

    def __init__(self, stations: Sequence[Pausable], links: Iterable[Connection]) -> None:
        self._stations = stations
        self._links = tuple(links)
        self._reason: str | None = None

    def take(self, message: Message) -> None:
        """Follow one report."""
        said = enabled(message.payload)
        if said is None:
            log.info("a report of the policy does not say whether it is enabled; nothing changes")
        else:
            self._follow(None if said else REASON)

    def _follow(self, reason: str | None) -> None:
        if reason == self._reason:
            return
        self._reason = reason
        log.warning("paused" if reason else "resumed", stations=len(self._stations))
        for station in self._stations:
            station.pause(reason)
        for link in self._links:
            link.hold(reason)
