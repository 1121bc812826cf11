"""The handshake signal, a Boolean that says that a part waits; and the view of a station that is read from the PLC."""

from collections.abc import Mapping
from dataclasses import dataclass

from lineside_opcua_bridge.link.subscriber import Binding
from lineside_opcua_bridge.samples import Sample
from lineside_opcua_bridge.settings import TriggerSettings
from lineside_opcua_bridge.settings.triggers import EdgeTrigger
from lineside_opcua_bridge.station.part_status import StationView
from lineside_opcua_bridge.station.stamps import Stamps
from lineside_opcua_bridge.values import boolean, tags_of

PART_ID = "sample.part_id"


@dataclass(frozen=True)
class HandshakeSignal:
    """The Boolean that says that a part waits: its role, and which of its values means it."""

    role: str
    active: bool = True

    @classmethod
    def of(cls, settings: TriggerSettings) -> "HandshakeSignal | None":
        """Return a trigger's signal: `write_back.request`, else the trigger of an edge, else None."""
        if settings.write_back and settings.write_back.request:
            return cls("request")
        return cls("trigger", settings.when.edge == "rising") if isinstance(settings.when, EdgeTrigger) else None

    def present(self, sample: Sample | None) -> bool | None:
        """Return whether a part waits by this value; None where it is absent or not usable."""
        content = boolean(sample)
        return None if content is None else content is self.active


@dataclass(frozen=True)
class ViewRead:
    """A view as it was read, the signal's value in it, and how that compares with the signal's notifications."""

    view: StationView
    signal: Sample | None = None
    is_on_its_way: bool = False
    """Whether a notification will bring this value: it is newer than the last one notified."""
    is_early: bool = False
    """Whether the signal has no notification since the last gap, by which its stamps could be compared."""


async def read_view(
    binding: Binding,
    signal: HandshakeSignal | None,
    stamps: Mapping[str, Stamps],
    *,
    last_signal: Sample | None,
    part_id: Sample | None,
) -> ViewRead:
    """Read the PLC's view of a station; raises CallFailed.

    `stamps` are those of signal and done. `last_signal` and `part_id` are the last values of the signal and the part
    id, which count where the PLC has no such node.
    """
    roles = [role for role in (signal.role if signal else "", PART_ID) if role in binding.nodes]
    found = await binding.read(["done", *roles])
    done = found["done"]
    shown = found.get(signal.role, last_signal) if signal else None
    clock = stamps.get(signal.role) if signal and signal.role in found else None
    known = clock.identify_read(shown) if clock and shown else shown
    id_shown = found.get(PART_ID, part_id)
    known_done = stamps["done"].identify_read(done)
    view = StationView(
        present=signal.present(shown) if signal else None,
        done=boolean(done),
        part_id=tags_of({"part_id": id_shown}).part_id if id_shown else None,
        risen=known.source if known else None,
        done_since=known_done.source if stamps["done"].are_identity else None,
        epoch=clock.epoch if clock and not clock.are_proven else None,
    )
    is_on_its_way = bool(view.present and known and clock and clock.is_on_its_way(known))
    is_early = clock is not None and not clock.is_continuous and not clock.are_proven
    return ViewRead(view, shown, is_on_its_way=is_on_its_way, is_early=is_early)
