"""The routes of /v1/models: which there are, which version is in force and why, and changing it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Path
from starlette.concurrency import run_in_threadpool

from lineside_inference.api import problems
from lineside_inference.api.problems import Problem
from lineside_inference.engine.triton import Engine
from lineside_inference.errors import (
    CandidateFailed,
    ChangeUnderWay,
    ModelOut,
    ModelUnknown,
    StateNotKept,
    VersionUnknown,
)
from lineside_inference.interpret.thresholds import thresholds
from lineside_inference.models.store import ModelStore
from lineside_inference.policies.policy_store import PolicyStore
from lineside_inference.usecases.plan_decisions import Standing
from lineside_inference.usecases.version_switcher import VersionSwitcher

_NAME = Annotated[str, Path(description="The model's name.", max_length=128)]
_VERSION = Annotated[str, Path(description="A version that has a card.", max_length=18)]
_REFUSED = {
    404: "No such model, or no card of this version.",
    409: "The model is being changed already.",
    422: "The version failed, the one before stays in force; or the model is out. `detail` says why.",
    503: "Triton is away; the version before stays in force.",
}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    status: {"description": text, "content": {problems.MEDIA_TYPE: {}}} for status, text in _REFUSED.items()
}


def router(
    store: ModelStore,
    engine: Engine,
    switcher: VersionSwitcher,
    policies: PolicyStore,
    plans: Mapping[str, Standing],
) -> APIRouter:
    """Return the routes; `plans` says how models stand to TensorRT engines that are built here."""
    routes = APIRouter()

    async def describe(name: str) -> dict[str, Any]:
        if name in store.out:
            return await run_in_threadpool(_describe_out, name, store, policies)
        if name not in store:
            known = ", ".join(sorted(store)) or "none"
            raise Problem(404, ModelUnknown.code, f"Model {name!r:.140} is not known. Known here: {known}")
        versions = await run_in_threadpool(store.versions, name)
        card, link = store[name].card, engine.model_links[name]
        in_force = thresholds(policies.current, card)
        refused = switcher.refused.get(name)
        default, step = switcher.default_version(name), switcher.step(name)
        serving, plan = store.serving(name), plans.get(name)
        return {
            "name": name,
            "version": card.version if store.is_loaded(name) else None,
            "versions": versions,
            "default": default,
            "wanted": policies.current.models.get(name, default),
            "state": "unloaded" if not store.is_loaded(name) else str(link.state.state),
            "detail": step or (refused.reason if refused else link.state.detail),
            "changing": step is not None,
            "refused": {"version": refused.version, "reason": refused.reason} if refused else None,
            "task": card.task,
            "input": card.input.kind,
            "heads": [
                {"head": head.head, "labels": card.labels_of(head), "ends_at_one": head.ends_at_one}
                | head.model_dump(mode="json", include={"kind", "nothing_found", "bands"})
                for head in card.heads
            ],
            "labels": card.labels,
            "defects": card.defects,
            "thresholds": {label: in_force.of(label) for label in card.labels} | {"default": in_force.default},
            "digest": serving.ref.digest,
            "file": {
                "path": serving.choice.files[0].path,
                "variant": serving.choice.variant,
                "why": serving.choice.why,
            },
            "tensorrt": {"state": plan.state, "why": plan.why} if plan is not None else None,
            "licence": card.licence,
            "description": card.description,
            "scores": card.scores,
        }

    @routes.get("/v1/models")
    async def list_models() -> dict[str, Any]:
        """Answer every model: the version in force, the others that have a card, state, labels, thresholds, file."""
        return {"models": [await describe(name) for name in sorted({*store, *store.out})]}

    @routes.get("/v1/models/{model}", responses={404: _ANSWERS[404]})
    async def describe_model(model: _NAME) -> dict[str, Any]:
        """Answer one model."""
        return await describe(model)

    @routes.post("/v1/models/{model}/versions/{version}/load", responses=_ANSWERS)
    async def load_version(model: _NAME, version: _VERSION) -> dict[str, Any]:
        """Put a version into force, blue/green, and name it in the policy; answered when it is done or has failed."""
        with _as_problems():
            await switcher.load(model, version)
            await policies.pin(model, version)
        return await describe(model)

    @routes.post("/v1/models/{model}/unload", responses=_ANSWERS)
    async def unload_model(model: _NAME) -> dict[str, Any]:
        """Take a model out of service; requests are answered model-unloaded until a version is loaded."""
        with _as_problems():
            await switcher.unload(model)
        return await describe(model)

    return routes


def _describe_out(name: str, store: ModelStore, policies: PolicyStore) -> dict[str, Any]:
    """Return what is known of a model that is out: by its cards, as far as one can be read."""
    cards = store.cards(name)
    card = next(iter(cards.values()), None)
    return {
        "name": name,
        "version": None,
        "versions": store.versions(name),
        "default": None,
        "wanted": policies.current.models.get(name),
        "state": "out",
        "detail": store.out.get(name, ""),
        "changing": False,
        "refused": None,
        "task": card.task if card else "",
        "input": card.input.kind if card else None,
        "heads": [],
        "labels": [],
        "defects": [],
        "thresholds": {},
        "digest": None,
        "file": None,
        "tensorrt": None,
        "licence": card.licence if card else "",
        "description": card.description if card else "",
        "scores": {},
    }


@contextmanager
def _as_problems() -> Iterator[None]:
    try:
        yield
    except (ModelUnknown, VersionUnknown) as error:
        raise Problem(404, error.code, str(error)) from None
    except ModelOut as error:
        raise Problem(422, error.code, str(error)) from None
    except ChangeUnderWay as error:
        raise Problem(409, error.code, str(error), headers={"Retry-After": "1"}) from None
    except StateNotKept as error:
        raise Problem(503, error.code, f"The version is in force, and not kept over a restart: {error}") from None
    except CandidateFailed as error:
        raise Problem(503 if error.transient else 422, error.code, str(error)) from None
