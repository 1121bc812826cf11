"""What outputs a model of the server has, and how many bytes each takes: what room in a slot is made by."""

import time
from dataclasses import dataclass, field

from tritonclient.grpc import service_pb2 as pb

from lineside_inference.dataplane.datatypes import size_of
from lineside_inference.engine.caller import TritonCaller

_KEPT_S = 5.0
_MAX_KEPT = 256


@dataclass(slots=True)
class Outputs:
    """A model's outputs; `rows` is whether their first dimension is the request's batch."""

    shapes: dict[str, tuple[str, list[int]]]
    rows: bool
    is_sure: bool = True
    since: float = field(default_factory=time.monotonic)
    _sizes: dict[int, dict[str, int | None]] = field(default_factory=dict)

    def sizes(self, batch: int) -> dict[str, int | None]:
        """Return the bytes of each output for a batch; None where they are not known."""
        if not self.is_sure:
            return dict.fromkeys(self.shapes)
        known = self._sizes.get(batch)
        if known is None:
            known = {
                name: size_of(datatype, [batch, *shape[1:]] if self.rows and shape[:1] == [-1] else shape)
                for name, (datatype, shape) in self.shapes.items()
            }
            if len(self._sizes) < _MAX_KEPT:
                self._sizes[batch] = known
        return known


class ModelOutputs:
    """The outputs of the server's models, asked again every few seconds."""

    def __init__(self, caller: TritonCaller) -> None:
        self._caller = caller
        self._known: dict[tuple[str, str], Outputs] = {}

    def known(self, name: str, version: str) -> Outputs | None:
        """Return a model's outputs where they were asked for lately."""
        known = self._known.get((name, version))
        return known if known is not None and time.monotonic() - known.since < _KEPT_S else None

    async def of(self, name: str, version: str) -> Outputs:
        """Return a model's outputs, asked for anew; raises as TritonCaller.ask does."""
        known = self._known.get((name, version))
        config = await self._caller.ask("ModelConfig", pb.ModelConfigRequest(name=name, version=version))
        metadata = await self._caller.ask("ModelMetadata", pb.ModelMetadataRequest(name=name, version=version))
        shapes = {output.name: (output.datatype, list(output.shape)) for output in metadata.outputs}
        if len(self._known) >= _MAX_KEPT:
            self._known.clear()
        rows = config.config.max_batch_size > 0
        kept = self._known[name, version] = Outputs(shapes, rows=rows, is_sure=known.is_sure if known else True)
        return kept

    def forget(self, name: str, version: str) -> None:
        """Ask again next time: a request failed."""
        self._known.pop((name, version), None)

    def forget_all(self, name: str) -> None:
        """Ask again next time, whatever version: the model is another one."""
        for key in [key for key in self._known if key[0] == name]:
            del self._known[key]
