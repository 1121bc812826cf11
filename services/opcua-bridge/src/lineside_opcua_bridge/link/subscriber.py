"""What a subscriber of the link is: the items that it asks for, its nodes in one session, and the calls that it gets.

The link knows subscribers by the `Subscriber` protocol only. A trigger's worker is one; so are the counters of tests
and benchmarks.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds

from lineside.contract import utc_now
from lineside_opcua_bridge.link.session import Session
from lineside_opcua_bridge.samples import Sample
from lineside_opcua_bridge.settings import TriggerSettings
from lineside_opcua_bridge.values import sample_of

BASE_EVENT = ua.NodeId(ua.Int32(ObjectIds.BaseEventType))


@dataclass(frozen=True)
class EventField:
    """A field of an event: the type that declares it, and the browse path from there."""

    declared_by: ua.NodeId
    path: tuple[ua.QualifiedName, ...]


def base_field(name: str) -> EventField:
    """Return a field that every event has."""
    return EventField(BASE_EVENT, (ua.QualifiedName(name, ua.UInt16(0)),))


@dataclass(frozen=True)
class EventSelection:
    """Which events of an object are subscribed, and which of their fields."""

    event_type: ua.NodeId
    """This type of event, and those derived from it."""
    fields: Mapping[str, EventField]
    """Further fields by name."""
    min_severity: int
    source_name: str | None


@dataclass(frozen=True)
class ItemRequest:
    """A node to be monitored, and the role under which its values are delivered.

    The role is the one in TriggerSettings.tags. `done` is a role too, where the next verdict must wait until the PLC
    has lowered done.
    """

    role: str
    node: ua.NodeId
    sampling_ms: float = 0.0
    """The sampling interval to ask for; 0 is the server's fastest."""
    event: EventSelection | None = None
    """Set where events of the node are subscribed instead of its value."""


@dataclass(frozen=True)
class Binding:
    """The nodes of one trigger in one session."""

    session: Session
    items: tuple[ItemRequest, ...]
    """What is monitored."""
    nodes: dict[str, ua.NodeId]
    """The nodes that are read, by role."""
    write_back: dict[str, ua.NodeId]
    """The nodes that are written, by role."""
    kinds: Mapping[str, ua.VariantType] = field(default_factory=dict)
    """The types of the nodes that are written, by role."""
    elements: Mapping[str, int] = field(default_factory=dict)
    """The array index of each role that is one element of an array: it is read whole and written by IndexRange."""
    refused: dict[str, str] = field(default_factory=dict)
    """Write-backs that are left out, and why."""
    simulated: bool = False
    """Whether nothing is written."""

    @property
    def detail(self) -> str:
        """The trigger's detail in /readyz."""
        said = ["simulate: nothing is written to the PLC"] if self.simulated and self.write_back else []
        return "; ".join(said + [f"{node} is not written: {why}" for node, why in self.refused.items()])

    async def read(self, roles: Sequence[str]) -> dict[str, Sample]:
        """Return the present values of these roles, read in their order in one call; raises CallFailed."""
        nodes = [self.write_back[role] if role in self.write_back else self.nodes[role] for role in roles]
        values = await self.session.read([(node, AttributeIds.Value) for node in nodes])
        received, ticks = utc_now(), time.monotonic()
        return {
            role: sample_of(value, received=received, ticks=ticks, index=self.elements.get(role))
            for role, value in zip(roles, values, strict=True)
        }


class Subscriber(Protocol):
    """Who gets the values of a binding's items; none of these calls waits."""

    @property
    def name(self) -> str:
        """The trigger's name."""

    @property
    def settings(self) -> TriggerSettings:
        """The trigger's settings."""

    def attach(self, binding: Binding, *, continuous: bool) -> None:
        """Take the nodes of a session.

        With `continuous` the subscriptions go on and no value was lost. Without it every item's values begin anew, with
        the present value as the first.
        """

    def detach(self) -> None:
        """Take it that the session is lost."""

    def set_notification_delay(self, seconds: float) -> None:
        """Take within how many seconds a change in the PLC is notified."""

    def receive(self, binding: Binding, role: str, sample: Sample, /) -> None:
        """Take a value of the item with this role."""

    def mark_gap(self, role: str | None = None) -> None:
        """Take it that values of this role, or of all, are missing before the next one."""
