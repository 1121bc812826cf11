"""Where one request's tensors lie while it is worked on: in a slot of the arena, or in private memory."""

from collections.abc import Mapping, Sequence

from tritonclient.grpc import service_pb2 as pb

from lineside_inference.dataplane.infer_request import InferRequest
from lineside_inference.engine.arena import Arena, Slot, aligned
from lineside_inference.engine.message import InferMessage
from lineside_inference.engine.parameters import in_region, put

_LINE = 64
_WORTH = 16 * 1024
"""Bytes from which an output goes by shared memory; a smaller one is quicker in the answer itself."""


class SlotBudget:
    """The slots that v2 may hold at the same time: those above what /v1 needs, so that the line never waits for v2.

    One in quarantine counts as held, so that a Triton that hangs under v2 takes no more than these.
    """

    def __init__(self, arena: Arena, most: int) -> None:
        self._arena = arena
        self._most = most
        self._in_use: set[Slot] = set()
        self._left_behind: set[Slot] = set()

    def take(self, size: int) -> Slot | None:
        """Return a slot where one of this size is free now."""
        self._left_behind = {slot for slot in self._left_behind if slot.is_quarantined}
        if size > self._arena.slot_bytes or len(self._in_use) + len(self._left_behind) >= self._most:
            return None
        slot = self._arena.take()
        if slot is not None:
            self._in_use.add(slot)
        return slot

    def give_back(self, slot: Slot) -> None:
        """Take a slot back; the arena keeps it while Triton may still touch it."""
        self._in_use.discard(slot)
        slot.release()
        if slot.is_quarantined:
            self._left_behind.add(slot)


class TensorBuffers:
    """The inputs' bytes at `spans` (offset and size, by input) of `memory`, and room for outputs behind them.

    Private memory grows with what is written: what a request only says that it will send takes none.
    """

    def __init__(self, request: InferRequest, sizes: Sequence[int], budget: SlotBudget | None) -> None:
        self.request = request
        self.spans: list[tuple[int, int]] = []
        end = 0
        for size in sizes:
            self.spans.append((end, size))
            end = aligned(end + size, _LINE)
        self.rooms: dict[str, tuple[int, int]] = {}
        self._budget = budget
        self._end = end
        self.slot = budget.take(end) if budget is not None and end else None
        self._private = bytearray()
        self._view: memoryview | None = self.slot.memory.data if self.slot is not None else None

    @property
    def memory(self) -> memoryview:
        """All of it, once everything is written."""
        if self._view is None:
            self._private.extend(bytes(self._end - len(self._private)))
            self._view = memoryview(self._private)
        return self._view

    def write(self, at: int, data: bytes | bytearray | memoryview) -> None:
        """Put bytes at an offset; in order of the offsets, without overlap."""
        if self._view is not None:
            self._view[at : at + len(data)] = data
            return
        self._private.extend(bytes(at - len(self._private)))
        self._private += data

    def make_room(self, outputs: Mapping[str, int | None]) -> None:
        """Give large outputs of a known size, in bytes, room in the slot; `outputs` are all that the model has."""
        if self.slot is None:
            return
        wanted = {output.name for output in self.request.outputs} or set(outputs)
        at = self._end
        for name, size in outputs.items():
            if name in wanted and size is not None and size >= _WORTH and at + size <= len(self.memory):
                self.rooms[name] = (at, size)
                at = aligned(at + size, _LINE)
        for output in self.request.outputs:
            if output.region is not None or output.parameters:  # a classification, or memory of the client's
                self.rooms.pop(output.name, None)

    def message(self, model: str, version: str, names: Sequence[str], region: str | None) -> InferMessage:
        """Return the message for Triton: names and offsets with a region of ours, else the bytes.

        `names` are the model's outputs; where none was asked for, naming one means that all must be named.
        """
        request, slot = self.request, self.slot if region is not None else None
        head = pb.ModelInferRequest(model_name=model, model_version=version, id=request.id)
        put(head.parameters, request.parameters)
        tensors: list[memoryview] = []
        for given, (at, size) in zip(request.inputs, self.spans, strict=True):
            tensor = head.inputs.add(name=given.name, datatype=given.datatype, shape=given.shape)
            put(tensor.parameters, given.parameters)
            if given.region is not None:
                in_region(tensor.parameters, given.region.in_triton, given.region.offset, given.region.size)
            elif slot is not None and region is not None:
                in_region(tensor.parameters, region, slot.offset + at, size)
            else:
                tensors.append(self.memory[at : at + size])
        rooms = self.rooms if slot is not None else {}
        for output in request.outputs:
            wanted = head.outputs.add(name=output.name)
            put(wanted.parameters, output.parameters)
            if output.region is not None:
                in_region(wanted.parameters, output.region.in_triton, output.region.offset, output.region.size)
        if rooms and not request.outputs:
            for name in names:
                head.outputs.add(name=name)
        for wanted in head.outputs:
            if wanted.name in rooms and slot is not None and region is not None:
                at, size = rooms[wanted.name]
                in_region(wanted.parameters, region, slot.offset + at, size)
        return InferMessage(head, tensors)

    def release(self) -> None:
        """Give the slot back."""
        if self.slot is not None and self._budget is not None:
            slot, self.slot = self.slot, None
            self._budget.give_back(slot)
