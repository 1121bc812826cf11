"""A model of the server that no card stands behind: whether it is there is Triton's to say."""

import asyncio

from tritonclient.grpc import service_pb2 as pb

from lineside_inference.deadline import Deadline
from lineside_inference.engine.caller import TritonCaller
from lineside_inference.errors import EngineRefused, EngineUnavailable, ModelUnknown, RequestError

_PAUSE_S = 0.05
_LOADING_S = 5.0


class AnyModel:
    """A model by its name, of a version or, where that is empty, of whichever Triton chooses."""

    wrong: type[RequestError] = EngineRefused

    def __init__(self, caller: TritonCaller, name: str, version: str) -> None:
        self.name = name
        self._version = version
        self._caller = caller

    async def available(self, deadline: Deadline) -> None:
        """Wait until Triton can be asked; raises EngineUnavailable."""
        await self._caller.online(deadline)

    def was_lost(self) -> None:
        """Nothing is kept of it here."""

    async def missing(self, said: str, attempt: int, deadline: Deadline) -> None:
        """Return once the model is ready, where it may be on its way; else raise ModelUnknown or EngineUnavailable.

        A server that came back under this very request loads its models anew; else only one that says LOADING waits.
        """
        until = asyncio.get_running_loop().time() + min(deadline.left(), _LOADING_S)
        while True:
            index = await self._caller.ask("RepositoryIndex", pb.RepositoryIndexRequest())
            found = [one for one in index.models if one.name == self.name and self._version in {"", one.version}]
            if not found:
                raise ModelUnknown(said)
            if any(one.state == "READY" for one in found):
                return
            if attempt == 1 and not any(one.state == "LOADING" for one in found):
                break
            if asyncio.get_running_loop().time() >= until:
                break
            await asyncio.sleep(_PAUSE_S)
        states = ", ".join(f"{one.version or '-'} {one.state or 'not loaded'} {one.reason}" for one in found)
        raise EngineUnavailable(f"model {self.name!r} is not ready: {states.strip()}")
