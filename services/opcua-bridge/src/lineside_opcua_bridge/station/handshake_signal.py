"""The Boolean that says that a part waits, and what of the PLC a look reads."""

from collections.abc import Mapping
from dataclasses import dataclass

from lineside_opcua_bridge.link.subscriber import Binding
from lineside_opcua_bridge.samples import Sample
from lineside_opcua_bridge.settings import TriggerSettings
from lineside_opcua_bridge.settings.triggers import EdgeTrigger
from lineside_opcua_bridge.station.parts import StationView
from lineside_opcua_bridge.station.stamps import Stamps
from lineside_opcua_bridge.values import boolean, tags_of

PART_ID = "sample.part_id"


@dataclass(frozen=True)
class HandshakeSignal:
    """The Boolean that says that a part waits: by its role, and which of its values says so."""

    role: str
    active: bool = True

    @classmethod
    def of(cls, settings: TriggerSettings) -> "HandshakeSignal | None":
        """Return a trigger's: `write_back.request`, else the trigger of an edge, else None."""
        if settings.write_back and settings.write_back.request:
            return cls("request")
        return cls("trigger", settings.when.edge == "rising") if isinstance(settings.when, EdgeTrigger) else None

    def present(self, sample: Sample | None) -> bool | None:
        """Return whether a part waits by a value of it; None where the value does not say."""
        content = boolean(sample)
        return None if content is None else content is self.active


@dataclass(frozen=True)
class Shown:
    """What a look found: the PLC's view, the level's value as it is, and whether its own line will bring that value."""

    look: StationView
    level: Sample | None = None
    on_its_way: bool = False
    is_early: bool = False
    """Whether the level's line has yet to show a first value since a gap, by which its stamps are judged."""


async def look_at(
    binding: Binding,
    level: HandshakeSignal | None,
    stamps: Mapping[str, Stamps],
    *,
    seen: Sample | None,
    part_id: Sample | None,
) -> Shown:
    """Return the PLC's own view of a station; raises CallFailed.

    `stamps` are those of level and done; `seen` and `part_id` are the last values of the level and the part id, which
    count where the PLC has no such node.
    """
    roles = [role for role in (level.role if level else "", PART_ID) if role in binding.nodes]
    found = await binding.read(["done", *roles])
    done = found["done"]
    shown = found.get(level.role, seen) if level else None
    clock = stamps.get(level.role) if level and level.role in found else None
    known = clock.shown(shown) if clock and shown else shown
    id_shown = found.get(PART_ID, part_id)
    since = stamps["done"].shown(done)
    look = StationView(
        present=level.present(shown) if level else None,
        done=boolean(done),
        part_id=tags_of({"part_id": id_shown}).part_id if id_shown else None,
        risen=known.source if known else None,
        done_since=since.source if stamps["done"].identify else None,
        line=clock.line if clock and not clock.proven else None,
    )
    ahead = bool(look.present and known and clock and clock.is_on_its_way(known))
    early = clock is not None and not clock.is_whole and not clock.proven
    return Shown(look, shown, on_its_way=ahead, is_early=early)
