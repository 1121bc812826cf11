"""The tags that a trigger takes with it: what was sampled, what its conditions compare, the columns of its window.

They are subscribed, so that the value in force at the trigger's own timestamp is known even where the tag has changed
since. What is sampled is read at the trigger as well, because a subscription may lag behind it; the value that was read
counts where it is not younger than the trigger.
"""

import asyncio
import time
from datetime import datetime

from asyncua.ua.attribute_ids import AttributeIds

from lineside.contract import Source, TensorsSource, utc_now
from lineside_opcua_bridge.detect import unmet
from lineside_opcua_bridge.link.session import CallFailed, Session
from lineside_opcua_bridge.metrics import Metrics
from lineside_opcua_bridge.samples import Sample
from lineside_opcua_bridge.settings import TriggerSettings
from lineside_opcua_bridge.settings.sources import WindowSourceSettings
from lineside_opcua_bridge.settings.triggers import EventTrigger, WindowTrigger
from lineside_opcua_bridge.station.binding import Binding
from lineside_opcua_bridge.station.history import History
from lineside_opcua_bridge.tags import Alias, parse
from lineside_opcua_bridge.values import Tags, sample_of, tags_of
from lineside_opcua_bridge.windows import Unusable, Window

_KEPT = 64
"""Values of a tag that are kept to tell which was in force when the trigger came."""
_LAG_S = 0.1
"""How long the values up to the trigger may lag behind it, beyond the time between two samples."""


class Listened:
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
        """Take a value; return whether its role is that of a tag which is listened to."""
        column = self._columns.get(role)
        if column is not None and self._window:
            self._window.add(column, sample)
            if self._awaited and self._window.covers(self._awaited[0], ticks=self._rests_until()):
                self._awaited[1].set()
            return True
        history = self._histories.get(role)
        if history is None:
            return False
        history.add(sample)
        return True

    def seen(self, session: Session | None, *, whole: bool = True) -> None:
        """Take it that the PLC is in sight by this session, or not; not `whole`: its tags meanwhile are not known."""
        self._session = session
        if not whole:
            for role in [*self._histories, *self._columns]:
                if role not in self._aliases:
                    self.doubt(role)

    def doubt(self, role: str | None) -> None:
        """Take it that values of this role, or of all, are missing at this place of their lines."""
        for each in [role] if role else [*self._histories, *self._columns]:
            if each in self._histories:
                self._histories[each].doubt()
            elif self._window and each in self._columns:
                self._window.doubt(self._columns[each])

    def unmet(self, trigger: Sample) -> str | None:
        """Return why a condition did not hold when the trigger came, or None where all did."""
        return unmet(self._settings.only_if, lambda place: self._in_force(f"only_if.{place}", trigger.source))

    def latest(self, role: str) -> Sample | None:
        """Return the value in force now; None where it is not known."""
        known = role in self._histories and (self._session is not None or role in self._aliases)
        return self._histories[role].latest if known else None

    def due(self) -> list[datetime]:
        """Return the ends of the windows that are complete and were not taken yet."""
        return self._window.due(self._rests_until()) if self._window else []

    async def sample(self, binding: Binding | None, trigger: Sample) -> Tags:
        """Return the sampled tags, and the fields of an event, as the request carries them."""
        started = time.monotonic()
        values, left_out = self._fields_of(trigger), {}
        read, failed = await self._read(binding)
        for name in self._settings.sample:
            found, kind = self._choose(f"sample.{name}", read.get(name), trigger.source)
            if found is None:
                left_out[name] = failed or "no_value"
                continue
            values[name] = found
            self._metrics.samples.labels(self._settings.name, kind).inc()
        if self._settings.sample:
            self._metrics.sampling.labels(self._settings.name).observe(time.monotonic() - started)
        tags = tags_of(values)
        tags.left_out |= left_out
        return tags

    async def source(self, trigger: Sample) -> Source | Unusable:
        """Return what is judged: a window's values as a tensor, or why there are none."""
        if self._window is None:
            return self._source or Unusable("no source", "window-short")
        if trigger.source and not self._window.covers(trigger.source, ticks=self._rests_until()):
            await self._come(trigger.source, within=min(self._lag_s, self._settings.deadline_ms / 4000))
        taken = self._window.take(trigger.source, ticks=self._rests_until())
        return taken if isinstance(taken, Unusable) else TensorsSource(tensors=(taken,))

    def _rests_until(self) -> float | None:
        """Return until when a tag that says nothing has not changed, in ticks; None where silence may be an outage."""
        return self._session.heard if self._session and self._aliases.isdisjoint(self._columns) else None

    async def _come(self, end: datetime, *, within: float) -> None:
        """Wait until the values up to `end` have come, some seconds at most: what lags longer is a gap."""
        arrived = asyncio.Event()
        self._awaited = end, arrived
        try:
            async with asyncio.timeout(within):
                await arrived.wait()
        except TimeoutError:
            pass
        finally:
            self._awaited = None

    async def _read(self, binding: Binding | None) -> tuple[dict[str, Sample], str | None]:
        """Return what the PLC says now of the sampled tags that it has, and why it says nothing."""
        names = [name for name in self._settings.sample if f"sample.{name}" not in self._aliases]
        if not names:
            return {}, None
        if binding is None:
            return {}, "connection"
        try:
            nodes = [binding.nodes[f"sample.{name}"] for name in names]
            values = await binding.session.read([(node, AttributeIds.Value) for node in nodes])
        except CallFailed as error:
            return {}, error.reason
        received, ticks = utc_now(), time.monotonic()
        samples = [sample_of(value, received=received, ticks=ticks) for value in values]
        return dict(zip(names, samples, strict=True)), None

    def _choose(self, role: str, read: Sample | None, at: datetime | None) -> tuple[Sample | None, str]:
        if read and (at is None or read.source is None or read.source <= at):
            return read, "read"
        history = self._histories[role]
        past = history.at(at) if at else None
        if past is None and read is None:
            past = self.latest(role)
        return (past, "in_force") if past else (read, "after_trigger")

    def _in_force(self, role: str, at: datetime | None) -> Sample | None:
        past = self._histories[role].at(at) if at else None
        return past or self.latest(role)

    def _fields_of(self, trigger: Sample) -> dict[str, Sample]:
        when = self._settings.when
        if not isinstance(when, EventTrigger) or not isinstance(trigger.value, dict):
            return {}
        fields = trigger.value
        return {
            name: Sample(fields.get(name), "good", trigger.source, trigger.server, trigger.received, trigger.ticks)
            for name in when.fields
        }
