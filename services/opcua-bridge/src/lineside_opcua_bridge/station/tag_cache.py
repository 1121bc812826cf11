"""The tags that belong to a trigger: what is sampled, what its conditions compare, the columns of its window.

They are subscribed, so that it is known how they changed, and read at the trigger, because a notification may come
later: in one call, with the trigger itself last, so that the call shows whether its part is still there. `in_force`
decides which value counts.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from lineside.contract import Source, TensorsSource
from lineside_opcua_bridge.detect import unmet
from lineside_opcua_bridge.link.session import CallFailed, Session
from lineside_opcua_bridge.link.subscriber import Binding
from lineside_opcua_bridge.metrics import Metrics
from lineside_opcua_bridge.samples import Sample
from lineside_opcua_bridge.settings import TriggerSettings
from lineside_opcua_bridge.settings.sources import WindowSourceSettings
from lineside_opcua_bridge.settings.triggers import EventTrigger, WindowTrigger
from lineside_opcua_bridge.station.handshake_signal import PART_ID
from lineside_opcua_bridge.station.history import History
from lineside_opcua_bridge.station.in_force import Choice, Provenance, TriggerMoment, choose, choose_again
from lineside_opcua_bridge.station.trigger_check import TriggerCheck
from lineside_opcua_bridge.tags import Alias, parse
from lineside_opcua_bridge.values import Tags, tags_of
from lineside_opcua_bridge.windows import Unusable, Window

_KEPT = 64
"""Values of a tag that are kept to find the one in force when the trigger came."""
_SHARE = 4
"""The pause before tags are read again is at most the deadline divided by this."""
_LAG_S = 0.1
"""How much later than a trigger the values up to it may be notified, beside the time between two samples."""


@dataclass(frozen=True)
class TagSnapshot:
    """The tags at a trigger, and why it is held back or cannot be judged, where it is so."""

    tags: Tags
    unmet: str | None = None
    """Which condition did not hold."""
    unknown: str | None = None
    """Which condition cannot be checked, because the value at the trigger is not known."""


class TagCache:
    """The tags besides the trigger itself; `source` is what is judged where that is no window."""

    def __init__(self, settings: TriggerSettings, source: Source | None, metrics: Metrics) -> None:
        tags = settings.tags()
        self._settings = settings
        self._source = source
        self._metrics = metrics
        self._aliases = frozenset(role for role, text in tags.items() if isinstance(parse(text), Alias))
        self._histories = {role: History(_KEPT) for role in tags if role.startswith(("sample.", "only_if."))}
        self._columns = {role: role.removeprefix("window.") for role in tags if role.startswith("window.")}
        self._window: Window | None = None
        self._lag_s = _LAG_S
        self.notification_delay_s = _LAG_S
        """Within how many seconds a change in the PLC is notified."""
        if isinstance(settings.source, WindowSourceSettings):
            own = settings.when if isinstance(settings.when, WindowTrigger) else None
            stride = (own.stride or settings.source.samples) if own else None
            self._window = Window(settings.source, stride=stride)
            self._lag_s = _LAG_S + 1 / settings.source.rate_hz
        self._session: Session | None = None
        self._awaited: tuple[datetime, asyncio.Event] | None = None

    def __contains__(self, role: str) -> bool:
        return role in self._histories or role in self._columns

    def add(self, role: str, sample: Sample) -> bool:
        """Take a value; return whether its role is that of a tag in this cache."""
        column = self._columns.get(role)
        if column is not None and self._window:
            self._window.add(column, sample)
            if self._awaited and self._window.covers(self._awaited[0], ticks=self._unchanged_until()):
                self._awaited[1].set()
            return True
        history = self._histories.get(role)
        if history is None:
            return False
        history.add(sample)
        return True

    def set_session(self, session: Session | None, *, continuous: bool = True) -> None:
        """Take the present session, None while the PLC is away; without `continuous` values were missed meanwhile."""
        self._session = session
        if not continuous:
            for role in [*self._histories, *self._columns]:
                if role not in self._aliases:
                    self.mark_gap(role)

    def mark_gap(self, role: str | None) -> None:
        """Take it that values of this role, or of all, are missing before the next one."""
        for each in [role] if role else [*self._histories, *self._columns]:
            if each in self._histories:
                self._histories[each].mark_gap()
            elif self._window and each in self._columns:
                self._window.mark_gap(self._columns[each])

    def latest(self, role: str) -> Sample | None:
        """Return the value in force now; None where it is not known."""
        known = role in self._histories and (self._session is not None or role in self._aliases)
        return self._histories[role].latest if known else None

    def due(self) -> list[datetime]:
        """Return the ends of the windows that are complete and were not taken yet."""
        return self._window.due(self._unchanged_until()) if self._window else []

    async def take(self, binding: Binding | None, check: TriggerCheck) -> TagSnapshot:
        """Return the tags that the request carries, sampled or fields of an event, and what the conditions say."""
        started = time.monotonic()
        read, failed, moment = await self._read(binding, check)
        chosen = {role: self._choose(role, read.get(role), moment) for role in self._histories}
        unsettled = [role for role, (_sample, found) in chosen.items() if found is Provenance.SETTLE]
        if unsettled:
            await asyncio.sleep(min(self.notification_delay_s, self._settings.deadline_ms / 1000 / _SHARE))
            second, failed, now = await self._read(binding, check)
            moment = replace(moment, is_write_stamped=now.is_write_stamped)
            for role in unsettled:
                chosen[role] = choose_again(
                    read[role], second.get(role), self._histories[role], moment, is_superseded=check.is_superseded()
                )
        values, left_out = self._fields_of(check.sample), {}
        for name in self._settings.sample:
            found, kind = chosen[f"sample.{name}"]
            if found is None:
                left_out[name] = failed or ("no_value" if kind is not Provenance.UNKNOWN else kind.value)
                continue
            values[name] = found
            self._metrics.samples.labels(self._settings.name, kind.value).inc()
        if self._settings.sample:
            self._metrics.sampling.labels(self._settings.name).observe(time.monotonic() - started)
        tags = tags_of(values)
        tags.left_out |= left_out
        return self._judge(chosen, tags)

    def _judge(self, chosen: Mapping[str, Choice], tags: Tags) -> TagSnapshot:
        """Return the tags with what the conditions say; one that does not hold outweighs one that cannot be checked."""
        lost = [
            place for place in range(len(self._settings.only_if)) if chosen[_condition(place)][1] is Provenance.UNKNOWN
        ]
        known = [place for place in range(len(self._settings.only_if)) if place not in lost]
        conditions = [self._settings.only_if[place] for place in known]
        why = unmet(conditions, lambda index: chosen[_condition(known[index])][0], places=known)
        if why or not lost:
            return TagSnapshot(tags, unmet=why)
        node = self._settings.only_if[lost[0]].node
        return TagSnapshot(
            tags, unknown=f"{_condition(lost[0])}: nobody can tell what {node} was: the PLC has moved on"
        )

    async def source(self, trigger: Sample) -> Source | Unusable:
        """Return what is judged: a window's values as a tensor, or why there are none."""
        if self._window is None:
            return self._source or Unusable("no source", "window-short")
        if trigger.source and not self._window.covers(trigger.source, ticks=self._unchanged_until()):
            await self._wait_for(trigger.source, within=min(self._lag_s, self._settings.deadline_ms / 4000))
        taken = self._window.take(trigger.source, ticks=self._unchanged_until())
        return taken if isinstance(taken, Unusable) else TensorsSource(tensors=(taken,))

    def _unchanged_until(self) -> float | None:
        """Return until when, in ticks, a tag without a notification has not changed; None where that is not known."""
        return self._session.last_publish if self._session and self._aliases.isdisjoint(self._columns) else None

    async def _wait_for(self, end: datetime, *, within: float) -> None:
        """Wait until the values up to `end` have come, for `within` seconds at most: what is later is a gap."""
        arrived = asyncio.Event()
        self._awaited = end, arrived
        try:
            async with asyncio.timeout(within):
                await arrived.wait()
        except TimeoutError:
            pass
        finally:
            self._awaited = None

    async def _read(
        self, binding: Binding | None, check: TriggerCheck
    ) -> tuple[dict[str, Sample], str | None, TriggerMoment]:
        """Return the present values by role, why reading failed where it did, and what is known of the trigger."""
        roles = [role for role in self._histories if role not in self._aliases]
        unknown = TriggerMoment(
            check.sample,
            is_shown=check.role is None and check.sample.source is None,
            is_write_stamped=check.is_write_stamped(),
            is_watched=False,
        )
        if not roles:
            return {}, None, unknown
        if binding is None:
            return {}, "connection", unknown
        is_event = check.role == "trigger" and isinstance(self._settings.when, EventTrigger)
        signal = check.role if check.role in binding.nodes and not is_event else None
        asked = [*roles, signal] if signal else roles  # last: where it is shown, it was when the others were read
        try:
            found = await binding.read(asked)
        except CallFailed as error:
            return {}, error.reason, unknown
        is_shown = check.is_still_shown(found.pop(signal)) and not check.is_superseded() if signal else unknown.is_shown
        is_watched = check.role is not None and check.role not in self._aliases
        return found, None, TriggerMoment(check.sample, is_shown, check.is_write_stamped(), is_watched=is_watched)

    def _choose(self, role: str, read: Sample | None, moment: TriggerMoment) -> Choice:
        history, at = self._histories[role], moment.trigger.source
        if read is not None:
            return choose(read, history, moment, is_of_part=role == PART_ID or role.startswith("only_if."))
        if role not in self._aliases and not moment.is_write_stamped:
            return None, Provenance.UNKNOWN  # the PLC is away, and its stamps cannot be compared
        past = history.at(at) if at else None
        return past or self.latest(role), Provenance.IN_FORCE

    def _fields_of(self, trigger: Sample) -> dict[str, Sample]:
        when = self._settings.when
        if not isinstance(when, EventTrigger) or not isinstance(trigger.value, dict):
            return {}
        fields = trigger.value
        return {
            name: Sample(fields.get(name), "good", trigger.source, trigger.server, trigger.received, trigger.ticks)
            for name in when.fields
        }


def _condition(place: int) -> str:
    return f"only_if.{place}"
