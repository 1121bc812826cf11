"""Triton and each model in it: there, ready, in the version that is wanted, as its card says."""

import asyncio
from types import TracebackType
from typing import Any, Self

import grpc
from pydantic import ValidationError
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc as stubs

from lineside.checks import Check, fail, ok, warn
from lineside_inference.engine.link import describe
from lineside_inference.engine.wire import batch_axes
from lineside_inference.errors import EngineFailed, StoreError
from lineside_inference.http1.client import HttpClient
from lineside_inference.http1.target import Target
from lineside_inference.models.configuration import default_file
from lineside_inference.models.store import ModelStore
from lineside_inference.policies.policy_file import FILE, Kept
from lineside_inference.settings import InferenceSettings, TritonSettings

TRITON, HTTP = "Triton", "Triton HTTP"
REMEDY = "does Triton run there, and is inference.triton.url right? its log says why it does not start"

ANSWER_S = 3.0
WHOLE_S = 8.0
_LOAD = "the inference service loads it when it starts; then see Triton's log"
_OK = 200
_MAX_BYTES = 64 * 1024


def name_of(model: str) -> str:
    """Return the name of a model's check."""
    return f"model {model}"


def wanted(own: InferenceSettings, store: ModelStore) -> dict[str, str]:
    """Return each model's version: what the service had in force last, else the settings', else the card's."""
    versions = {name: own.policy.models.get(name, store.default_version(name)) for name in store}
    if own.state_dir is not None:
        try:
            kept = Kept.model_validate_json((own.state_dir / FILE).read_bytes())
        except (OSError, ValidationError):  # none is kept yet, or it is not ours to read
            return versions
        versions |= {name: version for name, version in kept.policy.models.items() if name in versions}
        versions |= {name: version for name, version in kept.in_force.items() if name in versions}
    return versions


class Server:
    """The connection to Triton, for as long as it is entered."""

    def __init__(self, settings: TritonSettings) -> None:
        self.settings = settings
        self._channel: Any = None
        self.stub: Any = None

    async def __aenter__(self) -> Self:
        self._channel = grpc.aio.insecure_channel(self.settings.url, options=(("grpc.enable_http_proxy", 0),))
        self.stub = stubs.GRPCInferenceServiceStub(self._channel)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._channel.close()

    async def check(self) -> Check:
        """Ask whether it is live, and what it is."""
        where = self.settings.url
        try:
            live = (await self.stub.ServerLive(pb.ServerLiveRequest(), timeout=ANSWER_S)).live
            metadata = await self.stub.ServerMetadata(pb.ServerMetadataRequest(), timeout=ANSWER_S)
        except grpc.RpcError as error:
            return fail(TRITON, f"{where}: {describe(error)}", REMEDY)
        if not live:
            return fail(TRITON, f"{where}: {metadata.name} {metadata.version} says that it is not live", REMEDY)
        return ok(TRITON, f"{where}: {metadata.name} {metadata.version}")

    async def check_http(self) -> Check:
        """Ask its HTTP endpoint, where inferences go to it."""
        where = self.settings.http_url or ""
        client = HttpClient()
        try:
            async with asyncio.timeout(ANSWER_S):
                response = await client.request(Target.of(f"http://{where}/v2/health/live"), max_bytes=_MAX_BYTES)
        finally:
            client.close()
        if response.status != _OK:
            return fail(HTTP, f"{where} answers {response.status}", REMEDY)
        return ok(HTTP, where)

    async def check_model(self, store: ModelStore, name: str, version: str) -> Check:
        """Ask whether the wanted version is ready, and compare it with its card."""
        label = name_of(name)
        try:
            model = store.candidate(name, version) if version != store[name].card.version else store[name]
        except StoreError as error:
            return fail(label, f"version {version} is wanted: {error.what}", error.remedy)
        try:
            served = await self._ready(name, version)
            if served:
                return warn(label, *served) if self.settings.load_models else fail(label, *served)
            axes, file = await self._like(name, version, store)
        except grpc.RpcError as error:
            return fail(label, describe(error), "see Triton's log")
        except EngineFailed as error:
            return fail(label, f"version {version}: {error.what}", error.remedy or "deploy model and card together")
        if model.file is not None and file is not None and file != model.file:
            what = f"version {version} is served from {file}, and {model.file} is for this hardware"
            return warn(label, what, "the inference service loads it anew when it starts")
        return ok(label, f"version {version} is ready and as its card says" + (", in batches" if axes else ""))

    async def _ready(self, name: str, version: str) -> tuple[str, str] | None:
        """Return what Triton serves instead, and what to do; None where it serves this version."""
        answer = await self.stub.ModelReady(pb.ModelReadyRequest(name=name, version=version), timeout=ANSWER_S)
        if answer.ready:
            return None
        index = await self.stub.RepositoryIndex(pb.RepositoryIndexRequest(), timeout=ANSWER_S)
        others = [each for each in index.models if each.name == name]
        if not others:
            known = ", ".join(sorted({each.name for each in index.models})) or "none"
            return f"Triton does not know it; it knows {known}", "give Triton the folder inference.model_repository"
        states = ", ".join(
            f"version {each.version or '-'} {each.state or 'not loaded'} {each.reason}".rstrip() for each in others
        )
        do = _LOAD if self.settings.load_models else f"let Triton load version {version}, or set triton.load_models"
        return f"version {version} is wanted, and Triton has {states}", do

    async def _like(self, name: str, version: str, store: ModelStore) -> tuple[int, str | None]:
        """Return a served version's batch dimensions and its file; raises EngineFailed where it is not as its card."""
        card = store.cards(name)[version]
        metadata = await self.stub.ModelMetadata(pb.ModelMetadataRequest(name=name, version=version), timeout=ANSWER_S)
        answer = await self.stub.ModelConfig(pb.ModelConfigRequest(name=name, version=version), timeout=ANSWER_S)
        return batch_axes(card, metadata), default_file(answer.config)
