"""Whatever comes over the agent's socket: an answer by a code that says what was wrong, and the service goes on.

What comes are messages of either version's calls whose fields have any value, messages cut off and bytes that are none.
"""

import shutil
import socket
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import numpy as np
import onnx
import pytest
import sysv_ipc
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.agent_client import AgentClient, code_of
from tests.support.agent_service import agent_settings
from tests.support.identity_models import write_identity
from tests.support.onnx_models import scaling
from tests.support.paths import ROOT
from tests.support.triton_server import TritonServer, running_triton
from tests.support.variables import LONG
from tests.support.waiting import HANG_S, block_until

Code = grpc.StatusCode
ANSWERED = {
    Code.OK,
    Code.INVALID_ARGUMENT,
    Code.NOT_FOUND,
    Code.ALREADY_EXISTS,
    Code.FAILED_PRECONDITION,
    Code.OUT_OF_RANGE,
}
"""What any request gets from a service that is not busy: never UNKNOWN or INTERNAL, and nothing that would pass."""
NEVER = {Code.OK, Code.UNKNOWN, Code.INTERNAL}
"""What no bad request gets, however busy the service is."""
FUZZ = settings(
    max_examples=2_000 if LONG else 60,
    deadline=None,
    derandomize=not LONG,
    database=None,
    suppress_health_check=list(HealthCheck),
)
X, Y = np.arange(6, dtype="<f4").reshape(2, 3), np.arange(4, dtype="<i4")
CALLS = 20_000 if LONG else 8_000
WARM = 2_000
AT_ONCE = 16
MAX_GROWN_KIB = 4_000
"""Of memory that grew; 20,000 calls grew 1,204, which are the allocators'."""


@pytest.fixture(scope="module")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    repository = tmp_path_factory.mktemp("repository")
    write_identity(repository, "pair", {"x": ("FP32", [-1, 3]), "y": ("INT32", [4])})
    shutil.copytree(ROOT / "models" / "surface-defect", repository / "surface-defect")
    with running_triton(tmp_path_factory.mktemp("triton"), repository) as server:
        yield server


@pytest.fixture(scope="module")
def service(start_shared: Callable[..., Any], triton: TritonServer, tmp_path_factory: pytest.TempPathFactory) -> Any:
    place = tmp_path_factory.mktemp("agent")
    (place / "work" / "double").mkdir(parents=True)
    onnx.save(scaling(2.0), place / "work" / "double" / "model.onnx")
    service = start_shared(
        triton={"url": triton.grpc, "timeout_ms": 60_000},  # no answer that a busy machine would break
        model_repository=str(triton.repository),
        spool={"folder": str(place / "spool")},
        capture={"models": ["pair"]},
        edge_manager=agent_settings(place / "agent.sock", model_roots=[str(place / "work")]),
    )
    service.agent = place / "agent.sock"
    block_until(service.agent.exists)
    return service


@pytest.fixture(params=["2021", "2022"])
def client(request: Any, service: Any) -> Iterator[AgentClient]:
    """A client, behind whose test the service is asked whether it is what it was."""
    with AgentClient(service.agent, request.param) as client:
        yield client
        assert service.process.poll() is None
        found = client.predict("pair", {"x": X, "y": Y})
        assert np.array_equal(found["x_out"], X)
        assert np.array_equal(found["y_out"], Y)
        log = service.log.read_text()
        assert "Traceback" not in log, log[log.index("Traceback") - 1000 :][:4000]


@pytest.fixture(scope="module")
def segment() -> Iterator[sysv_ipc.SharedMemory]:
    """Shared memory with the bytes of X in front, as a client hands it over."""
    segment = sysv_ipc.SharedMemory(None, flags=sysv_ipc.IPC_CREX, mode=0o600, size=64)
    try:
        segment.write(X.tobytes())
        segment.mode = 0o400
        yield segment
    finally:
        segment.detach()
        segment.remove()


TEXTS = st.one_of(
    st.sampled_from(["", "pair", "double", "x", "y", "surface-defect", "taken", "{}", "a" * 128]),
    st.sampled_from(["a" * 129, "a" * 5000, "\0", "pa\0ir", "../..", "/", "/proc/self/mem", "no-such", "s3://b/m"]),
    st.text(max_size=20),
)
DATA = st.one_of(st.sampled_from([b"", b"x", b"y", X.tobytes(), Y.tobytes(), b"x\xff"]), st.binary(max_size=40))
EDGES = [
    0,
    1,
    3,
    8,
    24,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**32,
    2**63 - 1,
    2**63,
    2**64 - 1,
    253_402_300_799,
    253_402_300_800,
]
NUMBERS = st.one_of(st.sampled_from([*EDGES, *(-edge for edge in EDGES)]), st.integers(-(2**63), 2**64 - 1))
LENGTHS = st.one_of(
    st.sampled_from([-(2**31), -1, 0, 1, 2, 3, 4, 24, 2**16, 2**31 - 1]), st.integers(-(2**31), 2**31 - 1)
)


def varint(number: int) -> bytes:
    number &= 2**64 - 1
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def counted(field: int, data: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(data)) + data


def rarely(of: int = 16) -> st.SearchStrategy[bool]:
    """Draw true once in so many times."""
    return st.integers(1, of).map(lambda drawn: drawn == of)


@st.composite
def unknown(draw: Any) -> bytes:
    """A field that no version has, of each of the wire's types; rarely an open group, or a type that is none."""
    values = {
        0: NUMBERS.map(varint),
        1: st.binary(min_size=8, max_size=8),
        2: DATA.map(lambda data: varint(len(data)) + data),
        5: st.binary(min_size=4, max_size=4),
    }
    kind = draw(st.sampled_from([3, 4, 6, 7]) if draw(rarely()) else st.sampled_from(sorted(values)))
    return varint(draw(st.integers(9, 2**29 - 1)) << 3 | kind) + draw(values.get(kind, st.just(b"")))


@st.composite
def message(draw: Any, kind: Descriptor) -> bytes:
    """A message on the wire, its fields of any value that their type has there; rarely of another, or no UTF-8."""
    parts = []
    for field in draw(st.lists(st.sampled_from([*kind.fields, None]), max_size=6)):
        if field is None:
            parts.append(draw(unknown()))
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            parts.append(counted(field.number, draw(message(field.message_type))))
        elif field.type == FieldDescriptor.TYPE_BYTES or draw(rarely()):
            parts.append(counted(field.number, draw(DATA)))
        elif field.type == FieldDescriptor.TYPE_STRING:
            parts.append(counted(field.number, draw(TEXTS).encode()))
        else:
            parts.append(varint(field.number << 3) + varint(draw(NUMBERS)))
    return b"".join(parts)


@st.composite
def handle(draw: Any, client: AgentClient, segment: int, size: int) -> Any:
    """A part of shared memory, in most of its three numbers one that is there."""
    return client.of.SharedMemoryHandle(
        segment_id=draw(st.sampled_from(EDGES)) if draw(rarely(4)) else segment,
        offset=draw(st.sampled_from(EDGES)) if draw(rarely(4)) else 0,
        size=draw(st.sampled_from([0, *EDGES])) if draw(rarely(2)) else size,
    )


@st.composite
def tensor(draw: Any, client: AgentClient, segment: int, name: str, array: np.ndarray) -> Any:
    """A tensor that is wrong in a few ways or none."""
    made = client.tensor(name, array)
    about = made.tensor_metadata
    if draw(rarely(4)):
        about.shape[:] = draw(st.lists(LENGTHS, max_size=18))
    if draw(rarely()):
        about.data_type = draw(LENGTHS)
    if draw(rarely(8)):
        made.ClearField(draw(st.sampled_from(["tensor_metadata", "byte_data"])))
    if draw(rarely(2)):
        made.shared_memory_handle.CopyFrom(draw(handle(client, segment, array.nbytes)))
    return made


@st.composite
def prediction(draw: Any, client: AgentClient, segment: int) -> bytes:
    """A prediction of a model that is there, with as many tensors as it takes."""
    tensors = [draw(tensor(client, segment, name, array)) for name, array in (("x", X), ("y", Y))]
    return bytes(client.of.PredictRequest(tensors=tensors, **client.named("pair")).SerializeToString())


@st.composite
def evidence(draw: Any, client: AgentClient, segment: int) -> bytes:
    """A capture of a model that is there, with what a client may add."""
    made = client.of.AuxiliaryData if client.version == "2022" else client.of.AuxilaryData
    file = made(name=draw(TEXTS), encoding=draw(st.integers(0, 4)), byte_data=draw(DATA))
    if draw(rarely(4)):
        file.shared_memory_handle.CopyFrom(draw(handle(client, segment, 8)))
    when = {"seconds": draw(NUMBERS.filter(is_int64)), "nanos": draw(LENGTHS)} if draw(rarely(4)) else {}
    capture = client.of.CaptureDataRequest(
        capture_id=str(draw(st.uuids())),
        input_tensors=[draw(tensor(client, segment, "x", X))],
        outputs=[file],
        inference_timestamp=when,
        **{named(client): "pair"},
    )
    return bytes(capture.SerializeToString())


def named(client: AgentClient) -> str:
    return "model_handle" if client.version == "2022" else "model_name"


def is_int64(number: int) -> bool:
    return -(2**63) <= number < 2**63


def good(client: AgentClient, call: str) -> bytes:
    """Return a request that is right, where there is what it names."""
    double = client.named("double")
    fields: dict[str, Any] = {
        "Predict": {"tensors": [client.tensor("x", X), client.tensor("y", Y)]} | client.named("pair"),
        "LoadModel": {"url": "double"} | double,
        "UnLoadModel": double,
        "DescribeModel": client.named("pair"),
        "CaptureData": {"capture_id": "taken", named(client): "pair"},
        "GetCaptureDataStatus": {"capture_id": "taken"},
    }
    return bytes(client.of.calls[call][0](**fields.get(call, {})).SerializeToString())


def requests(client: AgentClient, call: str, segment: int) -> st.SearchStrategy[bytes]:
    right, any_fields = good(client, call), message(client.of.calls[call][0].DESCRIPTOR)
    kinds = [
        any_fields,
        any_fields.map(lambda more: right + more),
        st.binary(max_size=200),
        st.tuples(st.just(right) | any_fields, st.integers(0, 400)).map(lambda drawn: drawn[0][: drawn[1]]),
    ]
    if call == "Predict":
        kinds += [prediction(client, segment)] * 4
    if call == "CaptureData":
        kinds += [evidence(client, segment)] * 4
    return st.one_of(kinds)


@pytest.mark.parametrize(
    "call",
    ["Predict", "LoadModel", "UnLoadModel", "ListModels", "DescribeModel", "CaptureData", "GetCaptureDataStatus"],
)
def test_every_request_gets_a_code_that_says_what_it_is(
    client: AgentClient, segment: sysv_ipc.SharedMemory, call: str
) -> None:
    @FUZZ
    @given(requests(client, call, segment.id))
    def ask(body: bytes) -> None:
        code, words = code_of(lambda: client.raw(call, body))
        assert code in ANSWERED, words
        assert code is Code.OK or words

    ask()
    assert segment.number_attached == 1


def test_bytes_that_are_no_http2_harm_nobody(client: AgentClient, service: Any) -> None:
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    noise = np.random.default_rng(9).bytes(4_000)
    for sent in (
        noise,
        preface + noise,
        preface[:10],
        b"GET / HTTP/1.1\r\n\r\n",
        preface + b"\0\0\0\4\0\0\0\0\0" + noise,
    ):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(HANG_S)
            connection.connect(str(service.agent))
            try:
                connection.sendall(sent)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(4_096):
                    pass
            except ConnectionError:
                pass  # it need not hear all of it
    assert client.ListModels().models


def bad(client: AgentClient) -> list[tuple[str, Callable[[int], Any]]]:
    """Return calls that are refused, each for a reason of its own and with names that came never before."""
    of, right = client.of, [client.tensor("x", X), client.tensor("y", Y)]

    def tensors(**about: Any) -> list[Any]:
        metadata = {"name": b"x", "data_type": 5, "shape": [2, 3]} | about
        return [of.Tensor(tensor_metadata=metadata, byte_data=X.tobytes()), right[1]]

    def in_memory(number: int, **handle: int) -> list[Any]:
        handle = {"segment_id": 2**31 - 1 - number} | handle
        return [of.Tensor(tensor_metadata=client.metadata("x", X), shared_memory_handle=handle), right[1]]

    def capture(number: int, **fields: Any) -> Any:
        return of.CaptureDataRequest(**{"capture_id": f"bad-{number}", "model_handle": "pair"} | fields)

    return [
        ("Predict", lambda number: of.PredictRequest(handle="pair", tensors=tensors(name=b"x%d" % number))),
        ("Predict", lambda number: of.PredictRequest(handle="pair", tensors=tensors(data_type=7 + number))),
        ("Predict", lambda number: of.PredictRequest(handle="pair", tensors=tensors(shape=[number + 3, 3]))),
        ("Predict", lambda _number: of.PredictRequest(handle="pair", tensors=tensors(shape=[2**31 - 1] * 9))),
        ("Predict", lambda number: of.PredictRequest(handle="pair", tensors=in_memory(number))),
        ("Predict", lambda number: of.PredictRequest(handle="pair", tensors=in_memory(number, offset=2**64 - 1))),
        ("Predict", lambda number: of.PredictRequest(handle=f"no-{number}", tensors=right)),
        ("LoadModel", lambda number: of.LoadModelRequest(handle=f"no_{number}", url="double")),
        ("LoadModel", lambda number: of.LoadModelRequest(handle=f"no-{number}", url=f"../{number}")),
        ("LoadModel", lambda number: of.LoadModelRequest(handle=f"no-{number}", url=f"nowhere-{number}")),
        ("LoadModel", lambda number: of.LoadModelRequest(handle="pair", url=f"double-{number}")),
        ("UnLoadModel", lambda number: of.UnLoadModelRequest(handle=f"no-{number}")),
        ("DescribeModel", lambda number: of.DescribeModelRequest(handle="pair", name=f"pair-{number}")),
        ("DescribeModel", lambda number: of.DescribeModelRequest(handle=f"no-{number}")),
        ("CaptureData", lambda number: capture(number, capture_id=f"not.{number}")),
        ("CaptureData", lambda number: capture(number, model_handle=f"no-{number}")),
        ("CaptureData", lambda number: capture(number, inference_timestamp={"seconds": 2**62 + number})),
        ("CaptureData", lambda number: capture(number, input_tensors=tensors(shape=[number + 3]))),
        ("GetCaptureDataStatus", lambda number: of.GetCaptureDataStatusRequest(capture_id=f"no-{number}")),
    ]


def test_memory_is_flat_over_thousands_of_bad_calls(service: Any) -> None:
    assert MAX_GROWN_KIB < CALLS, "a leak of 1 KiB a call would not be seen"
    with AgentClient(service.agent) as client:
        makers = bad(client)
        methods = {call: client.method(call) for call, _make in makers}

        def send(numbers: range) -> set[grpc.StatusCode]:
            seen = set()
            for first in numbers[::AT_ONCE]:
                chosen = [(number, *makers[number % len(makers)]) for number in range(first, first + AT_ONCE)]
                calls = [methods[call].future(make(number), timeout=HANG_S) for number, call, make in chosen]
                seen |= {call.code() for call in calls}
            return seen

        assert send(range(WARM)).isdisjoint(NEVER)
        before = service.resident_kib()
        assert send(range(WARM, WARM + CALLS)).isdisjoint(NEVER)
        grown = service.resident_kib() - before
    assert grown < MAX_GROWN_KIB, f"{grown} KiB more"
    assert service.process.poll() is None
