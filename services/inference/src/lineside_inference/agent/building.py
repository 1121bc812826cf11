"""Puts the agent together from what the service has, where the settings say that it serves."""

import shutil

from lineside.service import Service
from lineside_inference.agent.calls import Calls
from lineside_inference.agent.captures import Captures
from lineside_inference.agent.loaded_file import LoadedFile
from lineside_inference.agent.loading import Loader
from lineside_inference.agent.models import Models
from lineside_inference.agent.packages.model_folder import ModelFolder
from lineside_inference.agent.packages.paths import Roots
from lineside_inference.agent.packages.signed import Signers
from lineside_inference.agent.prediction import Prediction
from lineside_inference.agent.server import AgentServer
from lineside_inference.agent.signature import Signatures
from lineside_inference.agent.socket_file import SocketFile
from lineside_inference.capture.client_captures import ClientCaptures
from lineside_inference.dataplane.admission import Admission
from lineside_inference.dataplane.workers import Workers
from lineside_inference.engine.triton import Engine
from lineside_inference.models.memory import TritonMemory
from lineside_inference.models.store import ModelStore
from lineside_inference.settings import Settings
from lineside_inference.usecases.direct import DirectInference


class Agent:
    """The agent, which may be none."""

    def __init__(self, server: AgentServer | None = None, loader: Loader | None = None) -> None:
        self._server = server
        self._loader = loader

    def start(self, service: Service) -> None:
        """Begin to serve."""
        if self._server is not None and self._loader is not None:
            service.spawn("agent", self._server.supervise())
            service.spawn("agent's models", self._loader.supervise())

    async def close(self, grace_s: float) -> None:
        """End; calls under way get `grace_s` seconds."""
        if self._server is not None:
            await self._server.close(grace_s)
        if self._loader is not None:
            await self._loader.close()


def make_agent(
    settings: Settings,
    service: Service,
    *,
    store: ModelStore,
    engine: Engine,
    direct: DirectInference,
    gate: Admission,
    workers: Workers,
    captures: ClientCaptures,
    memory: TritonMemory,
) -> Agent:
    """Return the agent; raises LinesideError where its socket cannot be claimed."""
    own, section = settings.edge_manager, settings.inference
    if not own.serve:
        return Agent()
    kept = LoadedFile((own.LocalDataRootPath or section.state_dir) if own.DbEnable else None)
    known = kept.read()
    folder = ModelFolder(own.model_folder) if own.model_folder is not None else None
    if folder is not None:
        folder.prepare(known)
    beside = section.state_dir if folder is None else folder.path
    unpack_in = beside / ".incoming-packages" if beside is not None else None
    if unpack_in is not None:
        shutil.rmtree(unpack_in, ignore_errors=True)  # what a killed service left
    signatures = Signatures(engine.caller)

    def changed(name: str) -> None:
        signatures.forget(name)
        direct.forget(name)
        kept.write(loader.urls())
        memory.check(f"a change of model {name}")

    loader = Loader(
        engine.link,
        store,
        Roots(own.model_roots, own.model_roots[0] if own.model_roots else None),
        folder,
        signers=Signers(own.signer_roots, frozenset(own.unsigned_models)),
        unpack_in=unpack_in,
        allow_python=section.models.allow_python_backend,
        drain_s=section.models.drain_s,
        on_change=changed,
    )
    loader.restore(known)
    calls = Calls(
        Models(engine, store, signatures, loader.urls),
        loader,
        Prediction(direct, engine.caller, signatures, loader, section.limits, strict=own.strict),
        Captures(captures, own, gate, workers, loaded=loader.urls),
        gate=gate,
        limits=section.limits,
        registry=service.registry,
        is_draining=lambda: service.is_draining,
    )
    socket_file = SocketFile(own.UnixSocketName, mode=own.socket_permissions, group=own.socket_group)
    return Agent(AgentServer(own.max_message_bytes, section.limits, socket_file, calls, engine.link), loader)
