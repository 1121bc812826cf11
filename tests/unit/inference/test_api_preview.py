"""POST /v1/policy/preview over ASGI: what it answers and what it refuses, and that it changes nothing."""

from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from prometheus_client import CollectorRegistry

from lineside.contract import CameraSource, ModelRef, Policy, Request, Result, to_json, uuid7
from lineside_inference.api import preview, problems
from lineside_inference.dataplane.admission import Bodies
from lineside_inference.dataplane.judged import Judged
from lineside_inference.interpret import interpret
from lineside_inference.interpret.thresholds import thresholds
from lineside_inference.live.live_feed import LiveFeed
from lineside_inference.models.store import read_store
from lineside_inference.policies.policy_file import PolicyFile
from lineside_inference.policies.policy_store import PolicyStore
from lineside_inference.settings import LimitSettings, PageSettings
from lineside_inference.usecases.metrics import Metrics

ROOT = Path(__file__).parents[3]
PATH = "/v1/policy/preview"
MODEL = "surface-defect"


@pytest.fixture
def served() -> Iterator[SimpleNamespace]:
    store = read_store(ROOT / "models")
    policies = PolicyStore(Policy(thresholds={"good": 0.6}), store, PolicyFile(None))
    feed = LiveFeed(PageSettings(), CollectorRegistry())
    limits = LimitSettings()
    app = FastAPI()
    problems.install(app, Metrics(CollectorRegistry(), []))
    with ThreadPoolExecutor(1) as workers:
        app.include_router(preview.router(policies, store, feed, limits, Bodies(2**20, small=6144), workers))
        yield SimpleNamespace(app=app, store=store, policies=policies, feed=feed)


@pytest.fixture
async def client(served: SimpleNamespace) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(transport=ASGITransport(served.app), base_url="http://test") as client:
        yield client


def judge(served: SimpleNamespace, seed: int, name: str = MODEL) -> Result:
    """Judge a part by the policy in force and give it to the feed, as the pipeline does."""
    card = served.store[name].card
    values = np.random.default_rng(seed).normal(0, 3, len(card.labels))
    judged = interpret({card.heads[0].name: values}, card, thresholds(served.policies.current, card))
    request = Request.new(model=name, source=CameraSource(camera="c"))
    result = Result(
        id=uuid7(),
        request_id=request.id,
        status="ok",
        verdict=judged.verdict,
        reason=judged.reason,
        model=ModelRef(name=name, version=card.version, digest="sha256:0"),
        findings=judged.findings,
        scores=judged.scores,
    )
    served.feed.offer(Judged(request, result), to_json(result))
    return result


async def test_the_policy_in_force_gives_the_verdicts_that_were_given(
    served: SimpleNamespace, client: AsyncClient
) -> None:
    names = [name for name, model in served.store.items() if model.card.defects]
    given = [judge(served, seed, name).verdict for seed in range(40) for name in names]
    counts = {verdict: given.count(verdict) for verdict in ("pass", "fail", "unknown")}
    assert min(counts["pass"], counts["fail"]) > 0
    answer = (await client.post(PATH, content=to_json(served.policies.current))).json()
    assert answer == {"parts": len(given), "exact": True, "before": counts, "after": counts, "changed": []}


async def test_other_thresholds_are_compared_and_not_put_into_force(
    served: SimpleNamespace, client: AsyncClient
) -> None:
    results = [judge(served, seed) for seed in range(20)]
    before = served.policies.etag
    answer = (await client.post(PATH, json={"thresholds": {"default": 0.0}}, params={"model": MODEL})).json()
    assert answer["after"] == {"pass": 0, "fail": 20, "unknown": 0}
    others = [one for one in reversed(results) if one.verdict != "fail"]
    assert [(one["id"], one["before"]) for one in answer["changed"]] == [
        (one.request_id, one.verdict) for one in others
    ]
    assert answer["changed"][0]["after"] == "fail"
    assert ">= 0.00" in answer["changed"][0]["reason"]
    assert served.policies.etag == before


async def test_as_many_of_the_newest_of_one_model_as_were_asked_for(
    served: SimpleNamespace, client: AsyncClient
) -> None:
    for seed in range(5):
        judge(served, seed)
        judge(served, seed, "spindle-anomaly")
    for params, parts in (({}, 10), ({"model": MODEL}, 5), ({"model": MODEL, "limit": 3}, 3), ({"limit": 4}, 4)):
        assert (await client.post(PATH, json={}, params=params)).json()["parts"] == parts


async def test_of_no_part_the_answer_is_empty(client: AsyncClient) -> None:
    none = {"pass": 0, "fail": 0, "unknown": 0}
    answer = (await client.post(PATH, json={}, params={"model": MODEL})).json()
    assert answer == {"parts": 0, "exact": True, "before": none, "after": none, "changed": []}


@pytest.mark.parametrize(
    ("params", "content", "status", "code", "says"),
    [
        ({}, b'{"thresholds": {"scrach": 0.5}}', 422, "policy-invalid", "Did you mean 'scratch'?"),
        ({}, b'{"thresholds": {"scratch": 60}}', 422, "policy-invalid", "is never reached"),
        ({}, b'{"thresholds": {"scratch": -1}}', 422, "policy-invalid", "policy.thresholds.scratch"),
        ({}, b'{"treshold": 1}', 422, "policy-invalid", "not a part of a policy"),
        ({}, b"{", 422, "policy-invalid", "policy"),
        ({"model": "surface"}, b"{}", 404, "model-unknown", "Known here: "),
        ({"model": "surface-defect", "limit": "0"}, b"{}", 422, "message-invalid", "limit"),
        ({}, b"x" * 2**19, 413, "body-too-large", "at most"),
    ],
)
async def test_what_it_refuses(
    client: AsyncClient, params: dict[str, str], content: bytes, status: int, code: str, says: str
) -> None:
    answer = await client.post(PATH, content=content, params=params)
    problem: dict[str, Any] = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code)
    assert says in problem["detail"]


async def test_a_model_that_is_out_and_another_type_are_refused(served: SimpleNamespace, client: AsyncClient) -> None:
    answer = await client.post(PATH, content=b"{}", headers={"content-type": "text/plain"})
    assert (answer.status_code, answer.json()["code"]) == (415, "content-type-unsupported")
    served.store.leave_out("bent", "its card is wrong")
    answer = await client.post(PATH, json={}, params={"model": "bent"})
    assert (answer.status_code, answer.json()["code"]) == (422, "model-out")
    assert "its card is wrong" in answer.json()["detail"]
