"""Carries the operator's policy from a retained topic to the inference service, and reports what became of it.

lineside/<thing>/policy            desired: a Policy, retained by whoever sets it
lineside/<thing>/policy/reported   see `reporting`
"""

import asyncio
from typing import Any

import httpx
import structlog
from prometheus_client import CollectorRegistry, Counter
from pydantic_core import from_json

from lineside.backoff import Backoff
from lineside.bus import Message, Subscription
from lineside.bus.faults import MessageFaults
from lineside.contract import utc_now
from lineside_topic_bridge.inference import BUSY, InferenceAway, InferenceLink
from lineside_topic_bridge.reporting import PolicyReporter

log = structlog.get_logger("lineside.topic_bridge")

_TIMEOUT_S = 10.0
_BACKOFF = Backoff(first_s=0.2, longest_s=5.0)
_MAX_ERRORS = 20
_LONGEST_ERROR = 200


def is_settled(answer: httpx.Response) -> bool:
    """Whether asking again cannot change the answer: it was applied, or the policy is wrong."""
    return answer.status_code not in BUSY and not answer.is_server_error


def report(answer: httpx.Response, now: str) -> dict[str, Any]:
    """Return what is reported for an answer of `PUT /v1/policy`."""
    document: dict[str, Any] = {}
    try:
        body = from_json(answer.content)
        document = body if isinstance(body, dict) else {}
    except ValueError:
        pass
    if answer.is_success:
        return {
            "policy": document,
            "etag": answer.headers.get("etag"),
            "state": "applied",
            "errors": [],
            "time": now,
        }
    errors = document.get("errors")
    if not isinstance(errors, list) or not errors:
        errors = [document.get("detail") or f"the inference service answered {answer.status_code}"]
    shown = [str(error)[:_LONGEST_ERROR] for error in errors[:_MAX_ERRORS]]
    if len(errors) > len(shown):
        shown.append(f"and {len(errors) - len(shown)} more")
    return {"policy": None, "etag": None, "state": "refused", "errors": shown, "time": now}


def policy_counter(registry: CollectorRegistry | None) -> Counter:
    """Make what counts the policies."""
    return Counter(
        "lineside_topic_bridge_policies_total",
        "Policies taken from the bus, by what became of them: applied, refused or repeated.",
        ["state"],
        registry=registry,
    )


class PolicyCarrier:
    """Takes what is on the desired topic until it is cancelled; a newer one takes the place of one that still waits.

    A message that came before, byte for byte, is not put again: the broker sends a retained one at every reconnect.
    """

    def __init__(
        self,
        *,
        desired: Subscription,
        inference: InferenceLink,
        reporter: PolicyReporter,
        max_bytes: int,
        faults: MessageFaults,
        registry: CollectorRegistry | None = None,
    ) -> None:
        self._desired = desired
        self._inference = inference
        self._reporter = reporter
        self._max_bytes = max_bytes
        self._settled: bytes | None = None
        self._faults = faults
        self._policies = policy_counter(registry)

    async def run(self) -> None:
        """Carry for ever."""
        messages = aiter(self._desired)
        coming = asyncio.ensure_future(anext(messages))
        try:
            while True:
                message = await coming
                # At once: MQTT acknowledges in order, so a policy that waits would hold up the requests behind it.
                # Nothing is lost by it, the broker sends what is retained again after every reconnect.
                message.ack()
                coming = asyncio.ensure_future(anext(messages))
                carrying = asyncio.create_task(self._carry(message), name="policy")
                try:
                    await asyncio.wait((carrying, coming), return_when=asyncio.FIRST_COMPLETED)
                finally:
                    if not carrying.done():
                        carrying.cancel()
                        await asyncio.wait((carrying,))
                if not carrying.cancelled() and (error := carrying.exception()) is not None:
                    self._faults.failed(message, error)
        finally:
            coming.cancel()

    async def _carry(self, message: Message) -> None:
        payload = message.payload
        if payload == self._settled:
            self._policies.labels("repeated").inc()
            return
        if not payload:  # how MQTT takes a retained message away: nobody desires anything, the last policy stays
            return
        if len(payload) > self._max_bytes:
            outcome = {
                "policy": None,
                "etag": None,
                "state": "refused",
                "errors": [f"the message has {len(payload)} bytes, allowed are {self._max_bytes}"],
                "time": utc_now().isoformat(),
            }
        else:
            self._settled = None  # from here on it may be applied, also where a newer one ends the wait
            outcome = report(await self._put(payload), utc_now().isoformat())
        await self._reporter.tell(outcome)
        self._settled = payload
        self._policies.labels(outcome["state"]).inc()
        log.info("policy", state=outcome["state"], etag=outcome["etag"], errors=outcome["errors"])

    async def _put(self, payload: bytes) -> httpx.Response:
        """Return the answer that settles it, however long the inference service is away."""
        failures = 0
        while True:
            try:
                answer = await self._inference.put_policy(payload, _TIMEOUT_S)
                if is_settled(answer):
                    return answer
                log.warning("the policy waits", status=answer.status_code)
            except InferenceAway as error:
                log.warning("the policy waits for the inference service", reason=error.what)
            await asyncio.sleep(_BACKOFF.wait_s(failures))
            failures += 1
