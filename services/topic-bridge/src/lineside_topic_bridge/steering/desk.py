"""Hears what the sources wish, asks the inference service for the policy that follows, and tells what became of it.

    lineside/<thing>/policy            what the topic wishes: a Policy, retained by whoever sets it
    lineside/<thing>/policy/reported   see `reporting`

A newer wish takes the place of one that still waits. One that came before is not asked for again: a broker sends a
retained message at every reconnect.
"""

import asyncio
import json
from collections.abc import Iterable, Sequence
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter

from lineside.contract import PolicyStanding, utc_now
from lineside_topic_bridge.inference import InferenceLink
from lineside_topic_bridge.reporting import PolicyReporter
from lineside_topic_bridge.steering.asking import put_policy, refusal, report
from lineside_topic_bridge.steering.precedence import State, Step, give_up, hear, interrupted, settle
from lineside_topic_bridge.steering.wishes import Origin, Source, Wish

log = structlog.get_logger("lineside.topic_bridge")

_SHOWN_ERRORS = 3
_LONGEST_SHOWN = 160


def policy_counter(registry: CollectorRegistry | None) -> Counter:
    """Make what counts the policies."""
    return Counter(
        "lineside_topic_bridge_policies_total",
        "Policies wished by the sources, by what became of them: applied, refused or repeated.",
        ["state"],
        registry=registry,
    )


class PolicyDesk:
    """Brings the sources' wishes together until it is cancelled."""

    def __init__(
        self,
        *,
        sources: Sequence[Source],
        order: Iterable[Origin],
        inference: InferenceLink,
        reporter: PolicyReporter,
        awaited: frozenset[Origin] = frozenset(),
        wait_s: float = 60.0,
        registry: CollectorRegistry | None = None,
    ) -> None:
        self.reporter = reporter
        self._sources = {source.origin: source for source in sources}
        self._inference = inference
        self._wait_s = wait_s
        self._state = State(tuple(origin for origin in order if origin in self._sources), awaited)
        self._news: dict[Origin, Wish] = {}
        self._is_over = False
        """Whether the sources that were not heard yet are waited for no longer."""
        self._rung = asyncio.Event()
        self._policies = policy_counter(registry)

    def standing(self) -> PolicyStanding:
        """Return who steers the policy now, for people."""
        state, told = self._state, self.reporter.told
        return PolicyStanding(
            source=told.get("source") if told else None,
            order=state.order,
            steering=state.steering,
            awaited=tuple(origin for origin in state.order if origin in state.awaited),
            etag=told.get("etag") if told else None,
            errors={
                origin: tuple(error[:_LONGEST_SHOWN] for error in errors[:_SHOWN_ERRORS])
                for origin, errors in state.errors.items()
            },
        )

    async def run(self) -> None:
        """Hear and ask for ever."""
        async with asyncio.TaskGroup() as tasks:
            for source in self._sources.values():
                tasks.create_task(self._hear(source), name=f"policy by {source.origin}")
            tasks.create_task(self._wait(), name="policy sources awaited")
            tasks.create_task(self._work(), name="policy desk")

    async def _hear(self, source: Source) -> None:
        async for wish in source.wishes():
            self._news[wish.origin] = wish
            self._rung.set()

    async def _wait(self) -> None:
        await asyncio.sleep(self._wait_s)
        self._is_over = True
        self._rung.set()

    async def _work(self) -> None:
        while True:
            await self._rung.wait()
            self._rung.clear()
            step = Step(self._state)
            if self._is_over:
                for origin in tuple(self._state.awaited - self._news.keys()):
                    log.warning("a source of the policy was not heard; the others' wishes are applied", source=origin)
                    step = give_up(self._state, origin)
                    self._state = step.state
            for wish in [self._news.pop(origin) for origin in tuple(self._news)]:
                step = hear(self._state, wish)
                await self._take(step)
            await self._follow(step)

    async def _follow(self, step: Step) -> None:
        """Ask for what follows from a step, and what follows from the answers; a newer wish ends it."""
        while step.put is not None:
            asking = asyncio.create_task(self._ask(step.put), name="policy")
            ringing = asyncio.create_task(self._rung.wait(), name="policy news")
            try:
                await asyncio.wait((asking, ringing), return_when=asyncio.FIRST_COMPLETED)
            finally:
                ringing.cancel()
                if not asking.done():
                    asking.cancel()
                    await asyncio.wait((asking,))
            if asking.cancelled():
                self._state = interrupted(self._state)
                return
            outcome = asking.result()
            step = settle(self._state, step.put, tuple(outcome["errors"]))
            await self._take(step, outcome)

    async def _ask(self, policy: Any) -> dict[str, Any]:
        payload = json.dumps(policy, separators=(",", ":")).encode()
        return report(await put_policy(self._inference, payload), utc_now().isoformat())

    async def _take(self, step: Step, outcome: dict[str, Any] | None = None) -> None:
        """Make a step the state; `outcome` is the inference service's answer that led to it."""
        self._state = step.state
        if step.is_repeated:
            self._policies.labels("repeated").inc()
        for origin, answer in step.answers.items():
            if not step.is_repeated:
                self._policies.labels(answer.state).inc()
                log.info("policy", source=origin, state=answer.state, errors=answer.errors)
            await self._sources[origin].answer(answer)
        if step.is_repeated or (outcome is None and not step.answers):
            return
        errors = [error for found in step.state.errors.values() for error in found]
        if outcome is None or outcome["state"] == "refused":
            outcome = refusal(errors or list((outcome or {}).get("errors", ())), utc_now().isoformat())
        elif errors:  # the others' wishes were applied without the one that is wrong
            outcome = {**outcome, "state": "refused", "errors": refusal(errors, "")["errors"]}
        steering = step.state.steering
        await self.reporter.tell({**outcome, "source": steering[0] if steering else None, "steering": list(steering)})
