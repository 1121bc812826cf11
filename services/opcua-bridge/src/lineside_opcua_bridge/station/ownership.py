"""Which of several bridges writes to a station: the one, or none; the others ask nothing and say so.

With `write_back.owner` a mark in the PLC decides (see `lease`), whatever brokers the bridges are at. Without it another
bridge is noticed by the results of what it asked, which carry its run in `context.bridge`: of two runs the one that
started later gives way, and comes back once a part of the station goes without a result of the other's. Ids of requests
and runs are UUIDv7, which sort by time: what was asked before this run started is of a bridge before it.
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
from lineside_opcua_bridge.station.lease import BEAT_S, SETTLE_S, VALID_S, Lease, Move, OwnershipState

log = structlog.get_logger("lineside.opcua_bridge.ownership")

_REMEDY = "stop one of the bridges at this station, or give each stations of its own; see act-on-alerts.md"
_LONGER_S = 1.0
"""Beside a part's deadline, how long the other bridge's result may be on its way."""


class Ownership:
    """One station's ownership; `connect` makes the connection that /readyz shows, once there is something to show.

    `taken` is called when the station becomes ours after it was not.
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
        self._link: Connection | None = None
        self._marked = settings.write_back is not None and settings.write_back.owner is not None and not simulate
        self._contests = settings.write_back is not None and not simulate
        self._lease = Lease(owner, self.run)
        self._state = OwnershipState.UNSURE if self._marked else OwnershipState.OWNER
        self._valid_until = 0.0
        self._other: str | None = None
        self._proofs = 0
        """Results of the other's, so that one that came since a trigger is told."""
        self._binding: Binding | None = None
        self._changed = asyncio.Event()
        metrics.owner.labels(settings.name).set(self._state is OwnershipState.OWNER)
        if self._marked:
            self._show("it is being looked at whose the station is")

    @property
    def state(self) -> OwnershipState:
        """Where this bridge stands now."""
        if self._marked and self._state is OwnershipState.OWNER and time.monotonic() >= self._valid_until:
            return OwnershipState.UNSURE
        return self._state

    def asks(self) -> bool:
        """Whether a part that comes now is asked about; one that is not shall have its result by the other bridge."""
        if self.state is not OwnershipState.STANDBY:
            return True
        if not self._marked:
            within = self._settings.deadline_ms / 1000 + _LONGER_S
            asyncio.get_running_loop().call_later(within, self._missed, self._proofs)
        return False

    def bind(self, binding: Binding | None) -> None:
        """Take the nodes of a session, or that the PLC is away."""
        self._binding = binding
        self._changed.set()

    def other_asked(self, result: Result) -> None:
        """Take a result for this station that this run did not ask for."""
        other = getattr(result.context, "bridge", None)
        if self._marked or not self._contests or not isinstance(other, str) or other == self.run:
            return
        if result.model and result.model.name != self._settings.model:
            return  # of another trigger at the same station
        if result.request_id < self.run:
            return  # asked before this run began: by the run before it, or by one that may be gone
        self._proofs += 1
        if other > self.run:
            log.error("a second bridge serves a station of ours", station=self._settings.station, remedy=_REMEDY)
            return  # it gives way
        self._stand_by(other, f"bridge run {other} serves station {self._settings.station!r} already")

    async def keep(self) -> None:
        """Look after the mark, for ever; returns at once where there is none."""
        while self._marked:
            self._changed.clear()
            binding = self._binding
            if binding is None:
                await self._changed.wait()
                continue
            pause = BEAT_S
            with suppress(CallFailed):
                pause = await self._look(binding)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), pause)

    async def release(self) -> None:
        """Give the mark back, where it is ours: the bridge stops."""
        binding = self._binding
        if self._marked and self.state is OwnershipState.OWNER and binding:
            self._marked, self._state = False, OwnershipState.STANDBY
            with suppress(CallFailed):
                await binding.session.write([(binding.write_back["owner"], _text(""))])

    async def _look(self, binding: Binding) -> float:
        """Look once, and do what follows; return the seconds until the next look."""
        node = binding.write_back["owner"]
        started = time.monotonic()
        (value,) = await binding.session.read([(node, AttributeIds.Value)])
        content = value.Value.Value if value.Value is not None else None
        move = self._lease.see(content if isinstance(content, str) else "")
        if not self._marked:
            return BEAT_S  # it was given back meanwhile
        if move is Move.WAIT and not self._lease.is_contested:
            self._state = OwnershipState.UNSURE
            self._show(f"it is being looked at whether {self._lease.holder} still writes to it")
            return BEAT_S
        if move is Move.WAIT:
            self._stand_by(self._lease.holder, f"{self._lease.holder} writes to it")
            return BEAT_S
        if move is Move.KEEP:
            self._valid_until = started + VALID_S
            self._own()
        (status,) = await binding.session.write([(node, _text(self._lease.next()))])
        if not status.is_good():
            self._show(f"the PLC refuses our mark: {status.name}")
        return BEAT_S if move is Move.KEEP else SETTLE_S

    def _missed(self, proofs: int) -> None:
        """Take it that the deadline of a part is over that we left to the other, who had so many proofs until then."""
        if self._proofs == proofs and self._state is OwnershipState.STANDBY:
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
        if self._link:
            self._link.online("this bridge writes")
        if before is not OwnershipState.OWNER:
            self.taken()

    def _show(self, why: str) -> None:
        if self._link is None and self._connect:
            self._link = self._connect()
        if self._link and self._link.detail != why:
            self._link.backoff(why)


def _text(text: str) -> ua.Variant:
    return ua.Variant(text, ua.VariantType.String)
