"""The Boolean that says that a part waits, and what of the PLC a look reads."""

import time
from dataclasses import dataclass

from asyncua.ua.attribute_ids import AttributeIds

from lineside.contract import utc_now
from lineside_opcua_bridge.samples import Sample
from lineside_opcua_bridge.settings import TriggerSettings
from lineside_opcua_bridge.settings.triggers import EdgeTrigger
from lineside_opcua_bridge.station.binding import Binding
from lineside_opcua_bridge.station.parts import Look
from lineside_opcua_bridge.values import boolean, sample_of, tags_of

PART_ID = "sample.part_id"


@dataclass(frozen=True)
class Level:
    """The Boolean that says that a part waits: by its role, and which of its values says so."""

    role: str
    active: bool = True

    @classmethod
    def of(cls, settings: TriggerSettings) -> "Level | None":
        """Return a trigger's: `write_back.request`, else the trigger of an edge, else None."""
        if settings.write_back and settings.write_back.request:
            return cls("request")
        return cls("trigger", settings.when.edge == "rising") if isinstance(settings.when, EdgeTrigger) else None

    def present(self, sample: Sample | None) -> bool | None:
        """Return whether a part waits by a value of it; None where the value does not say."""
        content = boolean(sample)
        return None if content is None else content is self.active


async def look_at(
    binding: Binding, level: Level | None, *, seen: Sample | None, part_id: Sample | None
) -> tuple[Look, Sample | None]:
    """Return the PLC's own view of a station, and the level's value; raises CallFailed.

    `seen` and `part_id` are the last values of the level and the part id, which count where the PLC has no such node.
    """
    roles = [role for role in (level.role if level else "", PART_ID) if role in binding.nodes]
    nodes = [binding.write_back["done"], *(binding.nodes[role] for role in roles)]
    read = await binding.session.read([(node, AttributeIds.Value) for node in nodes])
    received, ticks = utc_now(), time.monotonic()
    done, *others = [sample_of(value, received=received, ticks=ticks) for value in read]
    found = dict(zip(roles, others, strict=True))
    shown = found.get(level.role, seen) if level else None
    id_shown = found.get(PART_ID, part_id)
    look = Look(
        present=level.present(shown) if level else None,
        done=boolean(done),
        part_id=tags_of({"part_id": id_shown}).part_id if id_shown else None,
        risen=shown.source if shown else None,
        done_since=done.source,
    )
    return look, shown
