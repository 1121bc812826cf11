"""Which of several bridges serves a station: at most one; the others ask nothing and report that in /readyz.

With `write_back.owner` a mark in the PLC decides (see `lease`), also between bridges at different brokers. Without it
another bridge is noticed by the results of its requests, which carry its run in `context.bridge`: of two runs the one
that started later goes on standby, and serves the station again once a part gets no result from the other one. Ids of
requests and runs are UUIDv7, which sort by time: a request older than this run is of an earlier run.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

import structlog
from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds

from lineside.connections import Connection
from lineside.contract import Result, uuid7
from lineside_opcua_bridge.link.session import CallFailed
from lineside_opcua_bridge.link.subscriber import Binding
from lineside_opcua_bridge.metrics import Metrics
from lineside_opcua_bridge.settings import TriggerSettings
from lineside_opcua_bridge.station.lease import RENEWAL_S, SETTLE_S, VALID_S, Lease, Move, OwnershipState

log = structlog.get_logger("lineside.opcua_bridge.ownership")

_REMEDY = "stop one of the bridges at this station, or give each stations of its own; see act-on-alerts.md"
_RESULT_DELAY_S = 1.0
"""For how many seconds after a part's deadline the other bridge's result may still come."""


class Ownership:
    """One station's ownership; `connect` makes the connection that /readyz shows, once there is something to show.

    `taken` is called when the station becomes ours.
    """

    def __init__(
        self,
        settings: TriggerSettings,
        metrics: Metrics,
        *,
        run: str | None = None,
        owner: str = "",
        connect: Callable[[], Connection] | None = None,
        simulate: bool = False,
        taken: Callable[[], None] = lambda: None,
    ) -> None:
        self.run = run or uuid7()
        self.taken = taken
        self._settings = settings
        self._metrics = metrics
        self._connect = connect
        self._connection: Connection | None = None
        self._has_mark = settings.write_back is not None and settings.write_back.owner is not None and not simulate
        self._writes = settings.write_back is not None and not simulate
        self._lease = Lease(owner, self.run)
        self._state = OwnershipState.UNSURE if self._has_mark else OwnershipState.OWNER
        self._valid_until = 0.0
        self._other: str | None = None
        self._other_results = 0
        """How many results of the other bridge came, to see whether one came since a trigger."""
        self._binding: Binding | None = None
        self._changed = asyncio.Event()
        metrics.owner.labels(settings.name).set(self._state is OwnershipState.OWNER)
        if self._has_mark:
            self._show("it is being looked at whose the station is")

    @property
    def state(self) -> OwnershipState:
        """The present state."""
        if self._has_mark and self._state is OwnershipState.OWNER and time.monotonic() >= self._valid_until:
            return OwnershipState.UNSURE
        return self._state

    def asks(self) -> bool:
        """Whether a part that comes now is asked about; else the other bridge must get a result for it."""
        if self.state is not OwnershipState.STANDBY:
            return True
        if not self._has_mark:
            within = self._settings.deadline_ms / 1000 + _RESULT_DELAY_S
            asyncio.get_running_loop().call_later(within, self._check_other, self._other_results)
        return False

    def bind(self, binding: Binding | None) -> None:
        """Take the nodes of a session, or that the PLC is away."""
        self._binding = binding
        self._changed.set()

    def other_asked(self, result: Result) -> None:
        """Take a result for this station that this run did not ask for."""
        other = getattr(result.context, "bridge", None)
        if self._has_mark or not self._writes or not isinstance(other, str) or other == self.run:
            return
        if result.model and result.model.name != self._settings.model:
            return  # of another trigger at the same station
        if result.request_id < self.run:
            return  # asked before this run began: by an earlier run, which may be gone
        self._other_results += 1
        if other > self.run:
            log.error("a second bridge serves a station of ours", station=self._settings.station, remedy=_REMEDY)
            return  # it goes on standby
        self._stand_by(other, f"bridge run {other} serves station {self._settings.station!r} already")

    async def keep(self) -> None:
        """Keep the mark, for ever; returns at once where there is none."""
        while self._has_mark:
            self._changed.clear()
            binding = self._binding
            if binding is None:
                await self._changed.wait()
                continue
            pause = RENEWAL_S
            with suppress(CallFailed):
                pause = await self._renew(binding)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), pause)

    async def release(self) -> None:
        """Release the mark, where it is ours: the bridge stops."""
        binding = self._binding
        if self._has_mark and self.state is OwnershipState.OWNER and binding:
            self._has_mark, self._state = False, OwnershipState.STANDBY
            with suppress(CallFailed):
                await binding.session.write([(binding.write_back["owner"], _text(""))])

    async def _renew(self, binding: Binding) -> float:
        """Read the mark, and do what follows; return the seconds until the next read."""
        node = binding.write_back["owner"]
        started = time.monotonic()
        (value,) = await binding.session.read([(node, AttributeIds.Value)])
        content = value.Value.Value if value.Value is not None else None
        move = self._lease.see(content if isinstance(content, str) else "")
        if not self._has_mark:
            return RENEWAL_S  # it was released meanwhile
        if move is Move.WAIT and not self._lease.is_contested:
            self._state = OwnershipState.UNSURE
            self._show(f"it is being looked at whether {self._lease.holder} still writes to it")
            return RENEWAL_S
        if move is Move.WAIT:
            self._stand_by(self._lease.holder, f"{self._lease.holder} writes to it")
            return RENEWAL_S
        if move is Move.KEEP:
            self._valid_until = started + VALID_S
            self._own()
        (status,) = await binding.session.write([(node, _text(self._lease.next()))])
        if not status.is_good():
            self._show(f"the PLC refuses our mark: {status.name}")
        return RENEWAL_S if move is Move.KEEP else SETTLE_S

    def _check_other(self, results_before: int) -> None:
        """Serve the station again if no result of the other bridge came since a part that was left to it."""
        if self._other_results == results_before and self._state is OwnershipState.STANDBY:
            log.warning("the other bridge left a part unanswered; this one serves the station", other=self._other)
            self._own()

    def _stand_by(self, other: str, why: str) -> None:
        if self._state is not OwnershipState.STANDBY:
            log.error("a second bridge at a station; this one gives way", other=other, why=why, remedy=_REMEDY)
        self._state, self._other = OwnershipState.STANDBY, other
        self._metrics.owner.labels(self._settings.name).set(0)
        self._show(f"{why}; this one asks nothing and writes nothing")

    def _own(self) -> None:
        before, self._state = self._state, OwnershipState.OWNER
        self._metrics.owner.labels(self._settings.name).set(1)
        if self._connection:
            self._connection.online("this bridge writes")
        if before is not OwnershipState.OWNER:
            self.taken()

    def _show(self, why: str) -> None:
        if self._connection is None and self._connect:
            self._connection = self._connect()
        if self._connection and self._connection.detail != why:
            self._connection.backoff(why)


def _text(text: str) -> ua.Variant:
    return ua.Variant(text, ua.VariantType.String)
