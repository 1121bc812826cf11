"""A named device shadow as a source of wishes, and what is in force as its `reported`."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Protocol

import structlog
from pydantic_core import from_json

from lineside.backoff import Backoff
from lineside.connections import Connection
from lineside.contract import uuid7
from lineside_topic_bridge.inference import InferenceAway, InferenceLink
from lineside_topic_bridge.steering.shadow import sync as steps
from lineside_topic_bridge.steering.shadow.documents import (
    Shadow,
    ShadowUnreadable,
    fitted,
    has_room_in,
    read_shadow,
    report,
)
from lineside_topic_bridge.steering.shadow.health import Health, Stands, health
from lineside_topic_bridge.steering.shadow.ports import (
    ShadowChanged,
    ShadowError,
    ShadowRefuses,
    ShadowTransport,
)
from lineside_topic_bridge.steering.wishes import Answer, Document, Origin, Wish

log = structlog.get_logger("lineside.topic_bridge")

PACE_S = 0.2
"""Least time between two updates: five a second. What comes between goes out with the next."""
_FOLLOW_S = 2.0
_TIMEOUT_S = 5.0
_LONGEST_WAIT_S = 30.0
_ASKED = ("/v1/models", "/readyz", "/v1/version", "/v1/chain")
"""What the inference service is asked, over and over."""


class Room(Protocol):
    """Says by `desired` and a bound in bytes whether a report has room."""

    def __call__(self, desired: Document | None, max_bytes: int, /) -> Callable[[Mapping[str, Any]], bool]:
        """Return what says it of a report."""


class ShadowSource:
    """Reads the shadow when it rings and now and then, and reports to it; one update at a time, at most five a second.

    `own` says how this service stands. The line's health is reported when it changes, and every `heartbeat_s` seconds.
    """

    origin: Origin = "shadow"

    def __init__(
        self,
        transport: ShadowTransport,
        connection: Connection,
        inference: InferenceLink,
        *,
        own: Callable[[], Stands],
        max_bytes: int,
        max_report_bytes: int,
        look_s: float,
        heartbeat_s: float,
        room: Room = has_room_in,
        pace_s: float = PACE_S,
        follow_s: float = _FOLLOW_S,
    ) -> None:
        self._transport = transport
        self._connection = connection
        self._inference = inference
        self._own = own
        self._max_bytes = max_bytes
        self._max_report_bytes = max_report_bytes
        self._look_s = look_s
        self._heartbeat_s = heartbeat_s
        self._room = room
        self._pace_s = pace_s
        self._follow_s = follow_s
        self._sync = steps.Sync()
        self._due = asyncio.Event()
        self._wishes: asyncio.Queue[Wish] = asyncio.Queue()
        self._errors: tuple[str, ...] = ()
        self._in_force: Mapping[str, Any] | None = None
        self._served: dict[str, str] = {}
        self._version_errors: tuple[str, ...] = ()
        self._health: Health | None = None
        self._beat: dict[str, Any] = {}
        self._next_beat = 0.0

    async def wishes(self) -> AsyncIterator[Wish]:
        """Iterate for ever."""
        while True:
            yield await self._wishes.get()

    async def answer(self, answer: Answer) -> None:
        """Report what became of the wish."""
        self._errors = answer.errors
        self._report()

    def told(self, outcome: Mapping[str, Any]) -> None:
        """Take which policy is in force, however it came."""
        if outcome["policy"] is not None:
            self._in_force = outcome
            self._report()

    async def run(self) -> None:
        """Read and report for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._live(), name="shadow sync")
            tasks.create_task(self._look(), name="shadow look")
            tasks.create_task(self._follow(), name="shadow health")

    def ring(self) -> None:
        """Know that the shadow changed."""
        self._sync = steps.rung(self._sync)
        self._due.set()

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(self._look_s)
            self.ring()

    async def _live(self) -> None:
        failures, is_listening = 0, False
        backoff = Backoff(self._pace_s, _LONGEST_WAIT_S)
        self._connection.connecting()
        self._due.set()
        while True:
            await self._due.wait()
            self._due.clear()
            try:
                if not is_listening:
                    await self._transport.listen(self.ring)
                    is_listening = True
                await self._read()
                await self._send()
            except ShadowError as error:
                self._connection.backoff(error.what)
                log.warning("the shadow cannot be used", reason=error.what, remedy=error.remedy)
                self._due.set()
                failures += 1
                await asyncio.sleep(backoff.wait_s(failures))
                continue
            failures = 0
            self._connection.online()
            await asyncio.sleep(self._pace_s)

    async def _read(self) -> None:
        """Read the shadow where that is due; what rings meanwhile is read the next time."""
        if not self._sync.must_read:
            return
        self._sync = steps.reading(self._sync)
        try:
            payload = await self._transport.get()
            shadow = read_shadow(payload) if payload is not None else Shadow()
        except ShadowUnreadable as error:
            self._sync = steps.rung(self._sync)
            raise ShadowRefuses(f"the shadow answers what is no shadow: {error}") from None
        except ShadowError:
            self._sync = steps.rung(self._sync)
            raise
        self._sync, wish = steps.has_read(self._sync, shadow, self._max_bytes)
        if wish is not None:
            self._wishes.put_nowait(wish)
        self._report()

    async def _send(self) -> None:
        update = steps.next_update(self._sync)
        if update is None:
            if self._sync.must_read:
                self._due.set()
            return
        token = uuid7()
        try:
            version = await self._transport.update(update.payload(token), token)
        except ShadowChanged as error:
            self._sync = steps.conflicted(self._sync)
            log.info("somebody edited the shadow meanwhile; it is read again", reason=error.what)
        except ShadowRefuses as error:
            self._sync = steps.refused(self._sync)
            log.error("the shadow does not take our report", reason=error.what)  # noqa: TRY400 - its words say it
        else:
            self._sync = steps.accepted(self._sync, update, version)
        self._due.set()  # for what came meanwhile; nothing is sent where nothing differs

    def _report(self) -> None:
        """Work out what is to be reported."""
        shadow = self._sync.shadow
        if self._in_force is None or shadow is None:
            return
        policy, before = self._in_force["policy"], shadow.reported or {}
        # What was reported of the same policy before our start says since when it is in force.
        is_same = all(before.get(name, {}) == policy.get(name, {}) for name in ("enabled", "thresholds", "capture"))
        since = before["applied_at"] if is_same and "applied_at" in before else self._in_force["time"]
        said = report(
            policy,
            errors=(*self._errors, *self._version_errors),
            versions=self._served or policy.get("models", {}),
            facts={
                **self._line(),
                "applied_at": since,
                "source": self._in_force.get("source"),
            },
            desired=shadow.desired,
        )
        said = {name: value for name, value in said.items() if value is not None}
        self._sync = steps.wants(self._sync, fitted(said, self._room(shadow.desired, self._max_report_bytes)))
        self._due.set()

    def _line(self) -> dict[str, Any]:
        """Return what is reported of the line's services."""
        if self._health is None:
            return {}
        return {
            "components": self._health.components,
            "settings_hash": self._health.settings_hash,
            "health": self._beat,
        }

    async def _follow(self) -> None:
        """Follow which versions of the models serve, and how the line stands."""
        while True:
            answers = await self._ask()
            try:
                if "/v1/models" in answers:
                    self._served, self._version_errors = served(answers["/v1/models"]["models"])
                self._stand(health(self._own(), answers))
            except (KeyError, TypeError) as error:
                log.debug("the inference service answers what is not understood", error=repr(error))
            self._report()
            await asyncio.sleep(self._follow_s)

    async def _ask(self) -> dict[str, Any]:
        """Return what the inference service answers now, by path; what it does not is left out."""
        answers: dict[str, Any] = {}
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                for path in _ASKED:
                    answer = await self._inference.get(path, _TIMEOUT_S)
                    if answer.is_success or path == "/readyz":  # which has an answer where it is not ready, too
                        answers[path] = from_json(answer.content)
        except (InferenceAway, TimeoutError, ValueError) as error:
            log.debug("how the line stands is not known", error=str(error))
        return answers

    def _stand(self, now: Health) -> None:
        clock = asyncio.get_running_loop().time()
        is_news = self._health is None or now.down != self._health.down
        self._health = now
        if is_news or clock >= self._next_beat:
            self._next_beat = clock + self._heartbeat_s
            self._beat = now.document(int(time.time()))


def served(models: list[Mapping[str, Any]]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the version of each model that serves, and why a wished one does not, of what GET /v1/models answers."""
    versions = {str(model["name"]): str(model["version"]) for model in models if model["version"] is not None}
    errors = tuple(
        f"policy.models.{model['name']}: version {model['refused']['version']} failed, "
        f"{model['version'] or 'none'} serves: {model['refused']['reason']}"
        for model in models
        if model["refused"] is not None and model["wanted"] == model["refused"]["version"] != model["version"]
    )
    return versions, errors
