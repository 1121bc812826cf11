"""The one caller of Triton: what is asked again, what is not, and when the server counts as away."""

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc
import pytest
from grpc.aio import AioRpcError, Metadata
from tritonclient.grpc import service_pb2 as pb

from lineside_inference.deadline import Deadline
from lineside_inference.engine.caller import TritonCaller
from lineside_inference.engine.message import InferMessage, Reply
from lineside_inference.errors import EngineFailed, EngineRefused, EngineUnavailable, ModelUnknown, RequestError

REPLY = Reply(pb.ModelInferResponse(model_name="m"), ())
Status = grpc.StatusCode
FOREVER = Deadline(float("inf"))


def failed(code: grpc.StatusCode, said: str) -> AioRpcError:
    return AioRpcError(code, Metadata(), Metadata(), details=said)


class Link:
    """A connection to Triton that answers what it is told to."""

    region = "lineside_1"
    transport = "bytes"

    def __init__(self, answers: Sequence[Any]) -> None:
        self.answers = list(answers)
        self.troubles = 0

    def infer(self, _message: InferMessage, _timeout_s: float | None) -> "asyncio.Future[Reply]":
        answer = self.answers.pop(0)
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
        return future

    def has_lost(self, said: str) -> bool:
        return f"'{self.region}'" in said

    def trouble(self, _reason: str) -> None:
        self.troubles += 1


class Model:
    """A model that can always be asked."""

    name = "m"
    wrong: type[RequestError] = EngineRefused
    lost = 0

    async def available(self, _deadline: Deadline) -> None:
        """Now."""

    def was_lost(self) -> None:
        self.lost += 1

    async def missing(self, said: str, attempt: int, _deadline: Deadline) -> None:
        if attempt > 1:
            raise ModelUnknown(said)


AWAY = failed(Status.UNAVAILABLE, "Connection refused")
FULL = failed(Status.UNAVAILABLE, "Exceeds maximum queue size")
GONE = failed(Status.NOT_FOUND, "unknown model")
OURS = failed(Status.NOT_FOUND, "Unable to find shared memory region: 'lineside_1'")
THEIRS = failed(Status.NOT_FOUND, "Unable to find shared memory region: 'of somebody'")


@pytest.mark.parametrize(
    ("answers", "outcome", "troubles"),
    [
        ([REPLY], None, 0),
        ([AWAY, AWAY, REPLY], None, 2),
        ([AWAY] * 5, EngineUnavailable, 5),
        ([OURS, REPLY], None, 1),
        ([THEIRS], EngineRefused, 0),
        ([FULL], EngineUnavailable, 0),
        ([GONE, REPLY], None, 0),
        ([GONE, GONE], ModelUnknown, 0),
        ([failed(Status.INVALID_ARGUMENT, "odd shape")], EngineRefused, 0),
        ([failed(Status.INTERNAL, "CUDA error")], EngineFailed, 0),
        ([OSError("odd")], EngineFailed, 0),
    ],
)
async def test_what_a_failure_leads_to(answers: list[Any], outcome: type[Exception] | None, troubles: int) -> None:
    link, model = Link(answers), Model()
    caller = TritonCaller(link)  # type: ignore[arg-type]  # all of a link that it uses
    call = caller.infer(model, lambda _region: InferMessage(pb.ModelInferRequest(model_name="m")), None, FOREVER)
    if outcome is None:
        assert await call is REPLY
    else:
        with pytest.raises(outcome):
            await call
    assert link.answers == []
    assert link.troubles == troubles


async def test_a_step_of_a_sequence_that_may_have_run_is_not_run_again() -> None:
    link = Link([AWAY, REPLY])
    head = pb.ModelInferRequest(model_name="m")
    head.parameters["sequence_id"].int64_param = 7
    caller = TritonCaller(link)  # type: ignore[arg-type]  # same
    with pytest.raises(EngineUnavailable):
        await caller.infer(Model(), lambda _region: InferMessage(head), None, FOREVER)
    assert link.answers == [REPLY]
