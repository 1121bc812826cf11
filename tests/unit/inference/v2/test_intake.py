"""The body, in whatever chunks it comes: every tensor whole at its place, or a 4xx and nothing kept."""

import asyncio
import gzip
import itertools
import json
import zlib
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineside.errors import LinesideError
from lineside_inference.api.problems import Problem
from lineside_inference.dataplane.admission import Bodies
from lineside_inference.dataplane.tensor_buffers import SlotBudget, TensorBuffers
from lineside_inference.dataplane.workers import Workers
from lineside_inference.engine.arena import Arena
from lineside_inference.engine.client_memory import ClientMemory
from lineside_inference.settings import LimitSettings
from lineside_inference.v2.intake import ClientGone, Intake, ready_only

LIMITS = LimitSettings.model_validate({"body_bytes": 8192, "json_bytes": 2048, "unpacked_bytes": 16384, "body_s": 5})
BODIES = Bodies(1 << 20, small=0)
WORKERS = Workers(1)
MEMORY = ClientMemory(SimpleNamespace(region="lineside_1"), LIMITS)  # type: ignore[arg-type]  # no Triton is asked


async def take(
    receive: Any, headers: dict[str, str], limits: LimitSettings, budget: SlotBudget | None, bodies: Bodies = BODIES
) -> TensorBuffers:
    with bodies.one(3) as body:
        return await Intake(limits, WORKERS, MEMORY).take({}, receive, headers, budget, body)


class Wire:
    """An ASGI receive that gives a body in chunks; `ends` False: the client goes away instead of ending it."""

    def __init__(self, chunks: Sequence[bytes], *, ends: bool = True) -> None:
        self._messages: list[dict[str, Any]] = [
            {"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks
        ]
        self._messages.append({"type": "http.request", "body": b""} if ends else {"type": "http.disconnect"})

    async def __call__(self) -> dict[str, Any]:
        return self._messages.pop(0)


def cut(body: bytes, places: Sequence[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(body) + 1) for place in places), len(body)]
    return [body[a:b] for a, b in itertools.pairwise(edges)]


def binary(tensors: dict[str, bytes]) -> tuple[bytes, dict[str, str]]:
    inputs = [
        {"name": name, "datatype": "UINT8", "shape": [len(data)], "parameters": {"binary_data_size": len(data)}}
        for name, data in tensors.items()
    ]
    head = json.dumps({"inputs": inputs}).encode()
    return head + b"".join(tensors.values()), {"inference-header-content-length": str(len(head))}


def receive(
    body: bytes, headers: dict[str, str], places: Sequence[int] = (), budget: SlotBudget | None = None
) -> TensorBuffers:
    async def run() -> TensorBuffers:
        return await take(Wire(cut(body, places)), headers, LIMITS, budget)

    return asyncio.run(run())


def outcome(body: bytes, headers: dict[str, str]) -> tuple[TensorBuffers | None, str]:
    try:
        return receive(body, headers), ""
    except (Problem, LinesideError) as error:
        return None, error.code


def content(buffers: TensorBuffers) -> list[bytes]:
    return [bytes(buffers.memory[at : at + size]) for at, size in buffers.spans]


@given(
    tensors=st.lists(st.binary(max_size=300), min_size=1, max_size=6),
    places=st.lists(st.integers(0, 4000), max_size=8),
    encoding=st.sampled_from(["", "gzip", "deflate"]),
)
def test_every_tensor_lies_whole_at_its_place(tensors: list[bytes], places: list[int], encoding: str) -> None:
    body, headers = binary({str(index): data for index, data in enumerate(tensors)})
    if encoding:
        body = gzip.compress(body) if encoding == "gzip" else zlib.compress(body)
        headers["content-encoding"] = encoding
    assert content(receive(body, headers, places)) == tensors


@given(
    body=st.binary(max_size=400),
    length=st.one_of(st.none(), st.integers(-5, 500).map(str), st.text(max_size=4)),
    encoding=st.sampled_from(["identity", "gzip", "deflate", "br"]),
    places=st.lists(st.integers(0, 400), max_size=3),
)
def test_any_bytes_end_as_a_4xx(body: bytes, length: str | None, encoding: str, places: list[int]) -> None:
    headers = {"content-encoding": encoding} | (
        {"inference-header-content-length": length} if length is not None else {}
    )
    with pytest.raises(Problem) as caught:
        receive(body, headers, places)
    assert 400 <= caught.value.status < 500


@given(flip=st.integers(0, 400), to=st.integers(0, 255), drop=st.integers(0, 40), extra=st.binary(max_size=3))
def test_a_damaged_request_is_refused_or_right(flip: int, to: int, drop: int, extra: bytes) -> None:
    body, headers = binary({"a": b"12345", "b": bytes(range(60))})
    damaged = bytearray(body)
    damaged[flip % len(body)] = to
    damaged = damaged[: len(damaged) - drop] + extra
    buffers, code = outcome(bytes(damaged), headers)
    if buffers is None:
        assert code in {"v2-request-invalid", "tensor-shape", "tensor-datatype", "tensor-values", "tensors-too-large"}
    else:
        assert sum(size for _at, size in buffers.spans) == len(damaged) - int(
            headers["inference-header-content-length"]
        )


@pytest.mark.parametrize(
    ("change", "code"), [(b"", "v2-request-invalid"), (b"12", "v2-request-invalid"), (b"1234", "v2-request-invalid")]
)
def test_a_binary_part_of_another_length_is_refused(change: bytes, code: str) -> None:
    body, headers = binary({"a": b"123"})
    with pytest.raises(Problem) as caught:
        receive(body[:-3] + change, headers)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"x" * 3000, {}),
        (b"x", {"content-length": "9" * 30}),
        (b"x", {"inference-header-content-length": "2049"}),
        (gzip.compress(bytes(100_000)), {"content-encoding": "gzip"}),
        binary({"a": bytes(9000)}),
    ],
)
def test_more_than_a_limit_is_413(body: bytes, headers: dict[str, str]) -> None:
    with pytest.raises(Problem) as caught:
        receive(body, headers, range(0, 9000, 1000))
    assert (caught.value.status, caught.value.code) == (413, "body-too-large")


def test_a_bomb_is_refused_at_the_cap() -> None:
    head = json.dumps(
        {"inputs": [{"name": "a", "datatype": "UINT8", "shape": [10**7], "parameters": {"binary_data_size": 10**7}}]}
    ).encode()
    headers = {"content-encoding": "gzip", "inference-header-content-length": str(len(head))}
    with pytest.raises(Problem) as caught:
        receive(gzip.compress(head + bytes(10**7), 9)[:8000], headers)
    assert (caught.value.status, caught.value.code) == (413, "body-too-large")


@pytest.mark.parametrize("tail", [b"x", gzip.compress(b"more")], ids=["byte", "member"])
def test_nothing_may_follow_the_compressed_data(tail: bytes) -> None:
    body, headers = binary({"a": b"123"})
    with pytest.raises(Problem) as caught:
        receive(gzip.compress(body) + tail, headers | {"content-encoding": "gzip"})
    assert caught.value.code == "encoding-invalid"


def test_compressed_data_that_is_cut_off_is_refused() -> None:
    body, headers = binary({"a": b"123"})
    with pytest.raises(Problem) as caught:
        receive(gzip.compress(body)[:-9], headers | {"content-encoding": "gzip"})
    assert caught.value.code in {"encoding-invalid", "v2-request-invalid"}


def test_the_slot_comes_back_whatever_happens() -> None:
    async def run() -> None:
        arena = Arena(slot_bytes=4096, slots=2, shared=False)
        budget = SlotBudget(arena, 1)
        body, headers = binary({"a": b"123"})
        buffers = await take(Wire([body]), headers, LIMITS, budget)
        assert buffers.slot is not None
        second = await take(Wire([body]), headers, LIMITS, budget)
        assert second.slot is None, "the other slot is the line's"
        assert content(second) == content(buffers) == [b"123"]
        buffers.release()
        second.release()
        for wire in (Wire([body + b"4"]), Wire([body[:-1]]), Wire([body[:-1]], ends=False)):
            with pytest.raises((Problem, ClientGone)):
                await take(wire, headers, LIMITS, budget)
            assert arena.counts() == {"free": 2, "used": 0, "quarantined": 0}
        arena.close()

    asyncio.run(run())


def test_what_triton_left_in_quarantine_counts_against_v2() -> None:
    async def run() -> None:
        arena = Arena(slot_bytes=4096, slots=3, shared=False)
        budget = SlotBudget(arena, 1)
        slot = budget.take(10)
        assert slot is not None
        late: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        slot.keep_for(late)
        budget.give_back(slot)
        assert budget.take(10) is None
        late.set_result(None)
        await asyncio.sleep(0)
        assert budget.take(10) is not None
        arena.close()

    asyncio.run(run())


def test_a_body_that_stops_coming_is_408() -> None:
    async def run() -> None:
        async def silence() -> dict[str, Any]:
            await asyncio.Event().wait()
            raise AssertionError

        limits = LimitSettings.model_validate({"body_s": 0.01})
        with pytest.raises(Problem) as caught:
            await take(silence, {}, limits, None)
        assert (caught.value.status, caught.value.code) == (408, "body-timeout")

    asyncio.run(run())


@pytest.mark.parametrize(("body", "ready"), [(b"", False), (b"{}", False), (b'{"ready": true}', True)])
def test_the_index_may_ask_for_the_ready_ones(body: bytes, ready: bool) -> None:
    assert asyncio.run(ready_only(Wire([body]))) is ready


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"ready": 1}', b"x" * 5000])
def test_the_index_refuses_what_it_cannot_read(body: bytes) -> None:
    with pytest.raises(Problem):
        asyncio.run(ready_only(Wire([body])))


async def test_a_head_that_comes_again_is_not_read_again_and_a_size_without_a_binary_part_is_still_refused() -> None:
    reader = Intake(LIMITS, WORKERS, MEMORY)
    body, headers = binary({"a": b"12345"})
    length = int(headers["inference-header-content-length"])

    async def one(sent: bytes, told: dict[str, str]) -> Any:
        with BODIES.one(3) as counted:
            return (await reader.take({}, Wire([sent]), told, None, counted)).request

    first = await one(body, headers)
    assert await one(body, headers) is first
    with pytest.raises(Problem, match="binary_data_size"):
        await one(body[:length], {})
    named = b'{"id":"7",' + body[1:]
    headers = {"inference-header-content-length": str(length + 9)}
    assert await one(named, headers) is not await one(named, headers)
