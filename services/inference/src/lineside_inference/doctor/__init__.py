"""What the doctor asks about inference: the models' cards, Triton and each model in it, shared memory, each camera.

Nothing is loaded, unloaded or kept: what Triton is told is one small region of shared memory, taken back at once.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from functools import partial
from pathlib import Path

from lineside.checks import Check, bounded, fail, needs, ok, skip
from lineside.edge_manager.settings import EdgeManagerSettings
from lineside.errors import LinesideError
from lineside.packages import PackageRefused
from lineside.settings import load
from lineside.threads import run_abandonable
from lineside_inference.doctor import cameras, jetpack, shared_memory, tensorrt, triton
from lineside_inference.doctor.running import Running
from lineside_inference.models.hardware import probe
from lineside_inference.models.store import ModelStore, read_store
from lineside_inference.settings import InferenceSettings, Settings

SIGNERS = "model signers"

CARDS, SERVICE = "model cards", "inference"
MEND = "mend the card or deploy the model again; the service takes it by itself then"
READ_S = 30.0
"""The longest reading of the models' files, which are compared with their cards' checksums."""


async def checks(file: Path | None, before: Mapping[str, Check]) -> AsyncIterator[Check]:
    """Yield the checks of the inference service."""
    settings = load(Settings, file=file)
    agent = settings.edge_manager
    own, may_be_empty = settings.inference, agent.serve or agent.DeploymentEnable
    service = before.get(SERVICE)
    runs = service is not None and service.what.startswith("ready on")
    running = await Running.ask(own.http) if runs else None
    seen = asyncio.create_task(cameras.checks(own, running), name="doctor cameras")
    stores: list[ModelStore] = []
    cards = await bounded(
        CARDS, partial(run_abandonable, partial(_cards, own, stores, may_be_empty=may_be_empty)), within_s=READ_S
    )
    yield cards
    if settings.edge_manager.serve:
        yield await bounded(
            SIGNERS, partial(run_abandonable, partial(_signers, settings.edge_manager)), within_s=READ_S
        )
    async for check in _engine(own, stores, cards, running):
        yield check
    yield await bounded(jetpack.JETPACK, partial(run_abandonable, jetpack.look), within_s=triton.ANSWER_S)
    engines = partial(run_abandonable, partial(tensorrt.look, settings.tensorrt))
    yield await bounded(tensorrt.TENSORRT, engines, within_s=triton.ANSWER_S)
    for check in await seen:
        yield check


def _cards(own: InferenceSettings, stores: list[ModelStore], *, may_be_empty: bool) -> Check:
    """Read every card and the files that it lists, as the service does when it starts."""
    hardware = probe(own.hardware)
    try:
        store = read_store(
            own.model_repository, hardware, allow_python=own.models.allow_python_backend, may_be_empty=may_be_empty
        )
    except LinesideError as error:
        return fail(CARDS, error.what, error.remedy)
    stores.append(store)
    if store.out:
        return fail(CARDS, "; ".join(f"{name} is out: {reason}" for name, reason in sorted(store.out.items())), MEND)
    if not store:
        return ok(CARDS, f"{own.model_repository}: none; Edge Manager's clients bring their models")
    shown = ", ".join(f"{name} {model.card.version} ({model.choice.files[0].path})" for name, model in store.items())
    return ok(CARDS, f"{own.model_repository}: {shown}; for {hardware.describe()}")


def _signers(own: EdgeManagerSettings) -> Check:
    """Read the folder of those who sign clients' models, as each load does."""
    if own.signer_roots is None:
        return ok(SIGNERS, "nobody is asked who signed clients' models: edge_manager.signer_roots is not set")
    try:
        from lineside.packages.roots import read_roots  # noqa: PLC0415 - cryptography, where somebody is asked

        roots = read_roots(own.signer_roots)
    except PackageRefused as refused:
        return fail(SIGNERS, refused.what, refused.remedy)
    unsigned = f"; without a signature {', '.join(own.unsigned_models)}" if own.unsigned_models else ""
    trusted = [key.path.name for key in roots.keys] + [each.path.name for each in roots.authorities]
    return ok(SIGNERS, f"{own.signer_roots}: {', '.join(trusted)}{unsigned}")


async def _engine(
    own: InferenceSettings, stores: list[ModelStore], cards: Check, running: Running | None
) -> AsyncIterator[Check]:
    known = {CARDS: cards}
    async with triton.Server(own.triton) as server:
        found = await bounded(triton.TRITON, server.check, within_s=triton.WHOLE_S, remedy=triton.REMEDY)
        yield found
        known[triton.TRITON] = found
        if own.triton.http_url is not None:
            yield needs(triton.HTTP, known, triton.TRITON) or await bounded(
                triton.HTTP, server.check_http, within_s=triton.WHOLE_S, remedy="is inference.triton.http_url right?"
            )
        for store in stores:
            wanted = triton.wanted(own, store)
            names = [triton.name_of(name) for name in store]
            if names and needs(names[0], known, triton.TRITON):
                for name in names:
                    yield skip(name, f"needs: {triton.TRITON}")
                break
            asked = (
                bounded(label, partial(server.check_model, store, name, wanted[name]), within_s=triton.WHOLE_S)
                for label, name in zip(names, store, strict=True)
            )
            for check in await asyncio.gather(*asked):
                yield check
        yield needs(shared_memory.SHARED, known, CARDS) or await bounded(
            shared_memory.SHARED,
            partial(shared_memory.check, own.triton, stores, server if found.mark == "ok" else None, running),
            within_s=triton.WHOLE_S,
        )
