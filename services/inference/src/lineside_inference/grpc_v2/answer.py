"""Triton's answer as a ModelInferResponse, whose tensors are copied once, from where Triton wrote them."""

from weakref import WeakKeyDictionary

from tritonclient.grpc import service_pb2 as pb

from lineside_inference.dataplane.infer_request import InferRequest
from lineside_inference.engine.parameters import plain, put
from lineside_inference.grpc_v2.wire import in_stream, join
from lineside_inference.usecases.direct import DirectResult


class AnswerWriter:
    """Writes answers; what comes before the tensors' bytes is written once for the same request and the same reply."""

    def __init__(self) -> None:
        self._kept: WeakKeyDictionary[InferRequest, tuple[pb.ModelInferResponse, bytes]] = WeakKeyDictionary()

    def write(self, request: InferRequest, result: DirectResult, *, stream: bool = False) -> bytes:
        """Return the answer to a request, in a stream as its one and last."""
        kept = self._kept.get(request)
        if kept is None or kept[0] is not result.head:
            kept = self._kept[request] = result.head, _head(result.head)
        outputs = [b"" if data is None else data for data in result.data]
        return in_stream(kept[1] + _LAST, outputs) if stream else join(kept[1], outputs)


_LAST: bytes = pb.ModelInferResponse(
    parameters={"triton_final_response": pb.InferParameter(bool_param=True)}
).SerializeToString()
"""What Triton says in a stream with the last answer to a request; fields one behind the other are one message."""


def _head(answered: pb.ModelInferResponse) -> bytes:
    head = pb.ModelInferResponse(model_name=answered.model_name, model_version=answered.model_version, id=answered.id)
    put(head.parameters, plain(answered.parameters))
    for output in answered.outputs:
        head.outputs.add(name=output.name, datatype=output.datatype, shape=output.shape)
    return bytes(head.SerializeToString())
