"""A sign of life in the PLC: a Boolean that is toggled, or an integer that counts up, while the bridge can do its work.

It is written over the session that the verdicts go by, from the same event loop: a bridge that hangs, lost its PLC or
is stopping beats no more. What the PLC does when it sees no beat is the PLC's to decide.
"""

import asyncio
import time

import structlog
from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds

from lineside_opcua_bridge.binding.bind import NodeUnfit, read_facts
from lineside_opcua_bridge.binding.node_validation import INTEGERS, heartbeat_need, problem
from lineside_opcua_bridge.finding.find import find
from lineside_opcua_bridge.link.session import CallFailed, Session
from lineside_opcua_bridge.metrics import Metrics
from lineside_opcua_bridge.settings.write_back import HeartbeatSettings
from lineside_opcua_bridge.ticker import Ticker

log = structlog.get_logger("lineside.opcua_bridge.heartbeat")

PLACE = "heartbeat.node"


class Heartbeat:
    """The beats of one bridge; `attach` and `detach` are called by whoever keeps the session."""

    def __init__(self, settings: HeartbeatSettings, metrics: Metrics, *, simulate: bool = False) -> None:
        self.settings = settings
        self._metrics = metrics
        self._simulate = simulate
        self._beating: asyncio.Task[None] | None = None
        self._stopped = False
        self._failing: str | None = None
        self.node: ua.NodeId | None = None
        """The node on the server that is connected now."""

    @property
    def detail(self) -> str:
        """What /readyz says of it."""
        return "simulate: nothing is written to the PLC" if self._simulate else f"every {self.settings.every_ms:g} ms"

    async def attach(self, session: Session) -> None:
        """Check the node on a new session and beat from now on; raises NodeMissing, NodeUnfit or CallFailed."""
        node = (await find(session, {"heartbeat": self.settings.node}))["heartbeat"]
        facts = (await read_facts(session, {PLACE: (self.settings.node, node)}))[PLACE]
        if why := problem(heartbeat_need(), self.settings.node, facts):
            raise NodeUnfit(f"{PLACE}: {why}", remedy="correct the settings, or the node in the PLC")
        self.detach()
        self.node = node
        if facts.kind and not self._simulate and not self._stopped:
            self._beating = asyncio.get_running_loop().create_task(
                self._beat(session, node, facts.kind), name="heartbeat"
            )

    def detach(self) -> None:
        """Beat no more: the session is gone."""
        self.node = None
        if self._beating:
            self._beating.cancel()
            self._beating = None

    def stop(self) -> None:
        """Beat no more, on this session or any other: the bridge is stopping."""
        self._stopped = True
        self.detach()

    async def _beat(self, session: Session, node: ua.NodeId, kind: ua.VariantType) -> None:
        value = await self._start(session, node, kind)
        grid = Ticker(time.monotonic(), self.settings.every_ms / 1000)
        while not session.lost.done():
            try:
                (status,) = await session.write([(node, ua.Variant(value, kind))])
            except CallFailed as failed:
                self._count(failed.reason)
            else:
                self._count("written" if status.is_good() else status.name)
            value = following(value, kind)
            grid.take(time.monotonic())
            await asyncio.sleep(max(0.0, grid.due - time.monotonic()))

    async def _start(self, session: Session, node: ua.NodeId, kind: ua.VariantType) -> int | bool:
        """Return the first value: the one after what is there, so that the PLC sees it change."""
        try:
            (present,) = await session.read([(node, AttributeIds.Value)])
        except CallFailed:
            return following(0, kind)
        content = present.Value.Value if present.Value is not None else None
        return following(content if isinstance(content, int) else 0, kind)

    def _count(self, outcome: str) -> None:
        self._metrics.heartbeats.labels(outcome).inc()
        failing = None if outcome == "written" else outcome
        if failing != self._failing:  # said when it begins and when it ends, not with every beat
            self._failing = failing
            if failing:
                log.warning("the PLC does not take our heartbeat", node=self.settings.node, reason=failing)
            else:
                log.info("the PLC takes our heartbeat", node=self.settings.node)


def following(value: int | bool, kind: ua.VariantType) -> int | bool:
    """Return the beat after `value` for a node of this type; a whole number wraps from its greatest to 0."""
    if kind not in INTEGERS:
        return not value
    return value + 1 if 0 <= value < INTEGERS[kind][1] else 0
