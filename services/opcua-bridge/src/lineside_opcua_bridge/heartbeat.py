"""The heartbeat in the PLC: a Boolean that is toggled, or an integer that counts up, while the bridge works.

It is written in the session of the verdicts, from the same event loop: it ends where the bridge hangs, has lost its PLC
or is stopping. What follows then is up to the PLC.
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
    """The heartbeat of one bridge; the supervisor calls `attach` and `detach`."""

    def __init__(self, settings: HeartbeatSettings, metrics: Metrics, *, simulate: bool = False) -> None:
        self.settings = settings
        self._metrics = metrics
        self._simulate = simulate
        self._task: asyncio.Task[None] | None = None
        self._stopped = False
        self._failing: str | None = None
        self.node: ua.NodeId | None = None
        """The node on the server that is connected now."""

    @property
    def detail(self) -> str:
        """Its detail in /readyz."""
        return "simulate: nothing is written to the PLC" if self._simulate else f"every {self.settings.every_ms:g} ms"

    async def attach(self, session: Session) -> None:
        """Check the node in a new session and begin to write; raises NodeMissing, NodeUnfit or CallFailed."""
        node = (await find(session, {"heartbeat": self.settings.node}))["heartbeat"]
        facts = (await read_facts(session, {PLACE: (self.settings.node, node)}))[PLACE]
        if why := problem(heartbeat_need(), self.settings.node, facts):
            raise NodeUnfit(f"{PLACE}: {why}", remedy="correct the settings, or the node in the PLC")
        self.detach()
        self.node = node
        if facts.kind and not self._simulate and not self._stopped:
            self._task = asyncio.get_running_loop().create_task(
                self._write(session, node, facts.kind), name="heartbeat"
            )

    def detach(self) -> None:
        """Stop writing: the session is lost."""
        self.node = None
        if self._task:
            self._task.cancel()
            self._task = None

    def stop(self) -> None:
        """Stop writing, in this session and any other: the bridge is stopping."""
        self._stopped = True
        self.detach()

    async def _write(self, session: Session, node: ua.NodeId, kind: ua.VariantType) -> None:
        value = await self._start(session, node, kind)
        ticker = Ticker(time.monotonic(), self.settings.every_ms / 1000)
        while not session.lost.done():
            try:
                (status,) = await session.write([(node, ua.Variant(value, kind))])
            except CallFailed as failed:
                self._count(failed.reason)
            else:
                self._count("written" if status.is_good() else status.name)
            value = following(value, kind)
            ticker.take(time.monotonic())
            await asyncio.sleep(max(0.0, ticker.due - time.monotonic()))

    async def _start(self, session: Session, node: ua.NodeId, kind: ua.VariantType) -> int | bool:
        """Return the first value: the one after the present value, so that the PLC sees a change."""
        try:
            (present,) = await session.read([(node, AttributeIds.Value)])
        except CallFailed:
            return following(0, kind)
        content = present.Value.Value if present.Value is not None else None
        return following(content if isinstance(content, int) else 0, kind)

    def _count(self, outcome: str) -> None:
        self._metrics.heartbeats.labels(outcome).inc()
        failing = None if outcome == "written" else outcome
        if failing != self._failing:  # logged when it begins and when it ends, not with every write
            self._failing = failing
            if failing:
                log.warning("the PLC does not take our heartbeat", node=self.settings.node, reason=failing)
            else:
                log.info("the PLC takes our heartbeat", node=self.settings.node)


def following(value: int | bool, kind: ua.VariantType) -> int | bool:
    """Return the value after `value` for a node of this type; an integer wraps from its greatest to 0."""
    if kind not in INTEGERS:
        return not value
    return value + 1 if 0 <= value < INTEGERS[kind][1] else 0
