"""The Open Inference Protocol against Triton's own HTTP port: the same question, the same answer, bit for bit."""

import gzip
import http.client
import json
import shutil
import socket
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.identity_models import TYPES, write_identity
from tests.support.paths import ROOT
from tests.support.triton_server import TritonServer, running_triton
from tests.support.waiting import HANG_S, block_until

Start = Callable[..., Any]
WIDE = (3, 224, 224)


@pytest.fixture(scope="module")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """A Triton that has the line's models and two that no card describes."""
    repository = tmp_path_factory.mktemp("repository")
    for model in ("surface-defect", "spindle-anomaly"):
        shutil.copytree(ROOT / "models" / model, repository / model)
    write_identity(repository, "wide", {"x": ("FP32", [1, *WIDE]), "y": ("FP32", [4])})
    write_identity(repository, "mixed", {kind.lower(): (kind, [-1, 2]) for kind in TYPES})
    with running_triton(tmp_path_factory.mktemp("triton"), repository) as server:
        yield server


@pytest.fixture(scope="module", params=["grpc", "http", "grpc-bytes", "http-bytes"])
def service(request: Any, start_shared: Start, triton: TritonServer) -> Any:
    """The service, with each way to Triton, by shared memory and in bytes."""
    to_triton = ways(triton)[request.param.partition("-")[0]]
    if request.param.endswith("bytes"):
        to_triton["shared_memory"] = "off"
    limits = {"client_shared_memory_prefixes": ["camera-"], "json_values": 1000}
    return start_shared(triton=to_triton, limits=limits)


def ways(triton: TritonServer) -> dict[str, dict[str, Any]]:
    """Return the settings of the two ways by which inference calls reach Triton."""
    return {"grpc": {"url": triton.grpc}, "http": {"url": triton.grpc, "http_url": triton.http.removeprefix("http://")}}


@pytest.fixture(scope="module")
def theirs(triton: TritonServer) -> Iterator[httpx.Client]:
    """Triton's own HTTP port."""
    with httpx.Client(base_url=triton.http, timeout=HANG_S, trust_env=False) as client:
        yield client


class Tensors:
    """A request's body from arrays; `binary` False puts the values into the JSON."""

    def __init__(self, arrays: dict[str, Any], *, binary: bool = True, **more: Any) -> None:
        inputs, raw = [], []
        for name, array in arrays.items():
            kind = next(kind for kind, dtype in TYPES.items() if array.dtype == dtype)
            one: dict[str, Any] = {"name": name, "datatype": kind, "shape": list(array.shape)}
            if binary:
                one["parameters"] = {"binary_data_size": array.nbytes}
                raw.append(array.tobytes())
            else:
                one["data"] = array.ravel().tolist()
            inputs.append(one)
        head = json.dumps({"inputs": inputs} | more).encode()
        self.body = head + b"".join(raw)
        self.headers = {"inference-header-content-length": str(len(head))} if binary else {}


def read_answer(answer: httpx.Response) -> tuple[Any, dict[str, bytes]]:
    """Return the JSON and the binary outputs by name."""
    assert answer.status_code == 200, answer.text
    length = int(answer.headers.get("inference-header-content-length", len(answer.content)))
    head, at, raw = json.loads(answer.content[:length]), length, {}
    for output in head["outputs"]:
        size = output.get("parameters", {}).get("binary_data_size")
        if size is not None:
            raw[output["name"]] = answer.content[at : at + size]
            at += size
    assert at == len(answer.content)
    return head, raw


def ask(client: httpx.Client, model: str, tensors: Tensors, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(f"/v2/models/{model}/infer", content=tensors.body, headers=tensors.headers | named)


def refused(answer: httpx.Response, status: int, code: str) -> str:
    """Check the form of a v2 error and return its text."""
    assert answer.status_code == status, answer.text
    document = answer.json()
    assert document["code"] == code, document
    text: str = document["error"]
    return text


@pytest.mark.parametrize(
    "path",
    [
        "/v2/models/surface-defect",
        "/v2/models/surface-defect/versions/1",
        "/v2/models/spindle-anomaly/config",
        "/v2/models/mixed/versions/1/config",
        "/v2/models/mixed/stats",
        "/v2/models/stats",
    ],
)
def test_what_is_told_is_what_triton_tells(service: Any, theirs: httpx.Client, path: str) -> None:
    ours, wanted = service.http.get(path), theirs.get(path)
    assert ours.status_code == wanted.status_code == 200
    assert (ours.content and ours.json()) == (wanted.content and wanted.json())


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v2/health/live", {"live": True}),
        ("/v2/health/ready", {"ready": True}),
        ("/v2/models/wide/ready", {"name": "wide", "ready": True}),
        ("/v2/models/nobody/ready", None),
        ("/v2/models/wide/versions/9/ready", None),
    ],
)
def test_readiness_has_triton_s_status_and_the_protocol_s_body(
    service: Any, theirs: httpx.Client, path: str, body: dict[str, Any] | None
) -> None:
    ours = service.http.get(path)
    assert ours.status_code == theirs.get(path).status_code
    if body is None:
        assert "not ready" in refused(ours, 400, "model-not-ready")
    else:
        assert ours.json() == body


def test_the_index_is_triton_s(service: Any, theirs: httpx.Client) -> None:
    assert service.http.post("/v2/repository/index").json() == theirs.post("/v2/repository/index").json()
    ready = service.http.post("/v2/repository/index", json={"ready": True}).json()
    assert {model["name"] for model in ready} == {"surface-defect", "spindle-anomaly", "wide", "mixed"}


def test_who_answers_says_so(service: Any) -> None:
    about = service.http.get("/v2").json()
    assert about["name"] == "lineside"
    assert {"binary_tensor_data", "statistics", "classification"} <= set(about["extensions"])
    assert not {"model_repository", "trace", "logging"} & set(about["extensions"])


@pytest.mark.parametrize("binary", [True, False], ids=["binary-in", "json-in"])
@pytest.mark.parametrize("back", [True, False], ids=["binary-out", "json-out"])
@pytest.mark.parametrize(
    ("model", "name", "shape"),
    [("surface-defect", "image", (2, 3, 160, 160)), ("spindle-anomaly", "window", (3, 64, 4))],
)
def test_the_line_s_models_answer_bit_for_bit(
    service: Any, theirs: httpx.Client, model: str, name: str, shape: tuple[int, ...], binary: bool, back: bool
) -> None:
    array = np.random.default_rng(7).normal(size=shape).astype(np.float32)
    asked = Tensors({name: array}, binary=binary, id="part 7", parameters={"binary_data_output": back})
    head, raw = read_answer(ask(service.http, model, asked))
    wanted, wanted_raw = read_answer(ask(theirs, model, asked))
    assert raw == wanted_raw
    if not back:  # they write fewer digits; as FP32 the numbers are the same
        for ours, other in zip(head["outputs"], wanted["outputs"], strict=True):
            assert np.float32(ours.pop("data")).tobytes() == np.float32(other.pop("data")).tobytes()
    assert head == wanted
    assert head["id"] == "part 7"


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress], ids=["gzip", "deflate"])
def test_a_compressed_body_is_the_same_question(service: Any, pack: Callable[[bytes], bytes]) -> None:
    asked = Tensors({"window": np.ones((1, 64, 4), np.float32)}, parameters={"binary_data_output": True})
    plain = ask(service.http, "spindle-anomaly", asked).content
    asked.body = pack(asked.body)
    name = "gzip" if pack is gzip.compress else "deflate"
    assert ask(service.http, "spindle-anomaly", asked, content_encoding=name).content == plain


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_every_datatype_comes_back_as_it_went(service: Any, binary: bool) -> None:
    rng = np.random.default_rng(3)
    arrays = {
        kind.lower(): rng.integers(0, 100, (3, 2)).astype(dtype)
        if np.dtype(dtype).kind != "f"
        else rng.normal(size=(3, 2)).astype(dtype)
        for kind, dtype in TYPES.items()
    }
    asked = Tensors(arrays, binary=binary, parameters={"binary_data_output": binary})
    head, raw = read_answer(ask(service.http, "mixed", asked))
    assert {output["name"] for output in head["outputs"]} == {f"{name}_out" for name in arrays}
    for output in head["outputs"]:
        sent = arrays[output["name"].removesuffix("_out")]
        came = raw[output["name"]] if binary else np.array(output["data"], sent.dtype).tobytes()
        assert (output["shape"], came) == ([3, 2], sent.tobytes())


@pytest.mark.parametrize("outputs", [None, [{"name": "x_out"}], [{"name": "y_out"}, {"name": "x_out"}]])
def test_a_large_tensor_goes_both_ways(service: Any, outputs: list[Any] | None) -> None:
    x = np.random.default_rng(5).normal(size=(1, *WIDE)).astype(np.float32)
    assert x.nbytes == 602_112
    y = np.arange(4, dtype=np.float32)
    more = {"outputs": outputs} if outputs else {}
    asked = Tensors({"x": x, "y": y}, parameters={"binary_data_output": True}, **more)
    _head, raw = read_answer(ask(service.http, "wide", asked))
    assert raw["x_out"] == x.tobytes()
    assert set(raw) == ({output["name"] for output in outputs} if outputs else {"x_out", "y_out"})


def test_json_and_binary_in_one_answer(service: Any) -> None:
    asked = Tensors(
        {"x": np.zeros((1, *WIDE), np.float32), "y": np.arange(4, dtype=np.float32)},
        outputs=[{"name": "x_out", "parameters": {"binary_data": True}}, {"name": "y_out"}],
    )
    head, raw = read_answer(ask(service.http, "wide", asked))
    assert raw == {"x_out": bytes(602_112)}
    assert head["outputs"][1]["data"] == [0, 1, 2, 3]


@pytest.mark.parametrize("binary", [True, False])
def test_classification_is_triton_s(service: Any, theirs: httpx.Client, binary: bool) -> None:
    wanted = {"name": "logits", "parameters": {"classification": 2, "binary_data": binary}}
    image = np.random.default_rng(7).normal(size=(1, 3, 160, 160)).astype(np.float32)
    asked = Tensors({"image": image}, outputs=[wanted])
    ours, other = (read_answer(ask(client, "surface-defect", asked)) for client in (service.http, theirs))
    assert ours == other
    assert ours[0]["outputs"][0]["datatype"] == "BYTES"


@pytest.mark.parametrize(
    ("model", "size"), [("spindle-anomaly", 1024), ("spindle-anomaly", 16), ("mixed", 16), ("nobody", 16)]
)
def test_a_raw_request_is_the_model_s_one_input(service: Any, theirs: httpx.Client, model: str, size: int) -> None:
    window = np.linspace(-1, 1, size // 4, dtype=np.float32).tobytes()
    asked = {"url": f"/v2/models/{model}/infer", "content": window, "headers": {"inference-header-content-length": "0"}}
    ours, wanted = service.http.post(**asked), theirs.post(**asked)
    assert ours.status_code == wanted.status_code
    if wanted.status_code == 200:
        assert read_answer(ours)[1] == read_answer(wanted)[1]


@pytest.mark.parametrize("accept", ["gzip", "deflate", "identity", "br"])
@pytest.mark.parametrize("binary", [True, False])
def test_the_answer_is_compressed_as_triton_compresses_it(
    service: Any, theirs: httpx.Client, accept: str, binary: bool
) -> None:
    asked = Tensors({"window": np.ones((1, 64, 4), np.float32)}, parameters={"binary_data_output": binary})
    headers = {"accept-encoding": accept}
    ours, wanted = (ask(client, "spindle-anomaly", asked, **headers) for client in (service.http, theirs))
    assert ours.headers.get("content-encoding") == wanted.headers.get("content-encoding")
    assert read_answer(ours)[1] == read_answer(wanted)[1]


@pytest.mark.parametrize("where", ["inputs", "outputs", "request"])
def test_a_null_parameter_is_taken_where_triton_takes_it(service: Any, theirs: httpx.Client, where: str) -> None:
    inputs = {"name": "window", "datatype": "FP32", "shape": [1, 64, 4], "data": [0.5] * 256}
    document: dict[str, Any] = {"inputs": [inputs], "outputs": [{"name": "score"}]}
    (document if where == "request" else document[where][0])["parameters"] = {"more": None}
    ours, wanted = (client.post("/v2/models/spindle-anomaly/infer", json=document) for client in (service.http, theirs))
    assert ours.status_code == wanted.status_code


@pytest.mark.parametrize("value", [2**63, 2**64 - 1])
def test_a_sequence_id_of_64_bits_is_taken(service: Any, value: int) -> None:
    def asked(number: int) -> Tensors:
        parameters = {"sequence_id": number, "sequence_start": True, "sequence_end": True}
        return Tensors({"window": np.ones((1, 64, 4), np.float32)}, parameters=parameters)

    assert ask(service.http, "spindle-anomaly", asked(value)).status_code == 200
    refused(ask(service.http, "spindle-anomaly", asked(-1)), 400, "v2-request-invalid")


def test_too_many_values_for_json_can_be_had_in_binary(service: Any) -> None:
    asked = Tensors({"x": np.zeros((1, *WIDE), np.float32), "y": np.zeros(4, np.float32)})
    assert "binary_data_output" in refused(ask(service.http, "wide", asked), 400, "output-too-large")


def test_what_json_cannot_say_can_be_had_in_binary(service: Any) -> None:
    arrays = {
        kind.lower(): np.full((1, 2), np.nan if np.dtype(dtype).kind == "f" else 1, dtype)
        for kind, dtype in TYPES.items()
    }
    assert "binary_data" in refused(ask(service.http, "mixed", Tensors(arrays)), 400, "output-not-finite")
    _head, raw = read_answer(ask(service.http, "mixed", Tensors(arrays, parameters={"binary_data_output": True})))
    assert raw["fp64_out"] == arrays["fp64"].tobytes()


@pytest.mark.parametrize(
    ("model", "arrays", "status", "code"),
    [
        ("nobody", {"x": np.zeros(2, np.float32)}, 404, "model-unknown"),
        ("wide/versions/7", {"x": np.zeros(2, np.float32)}, 404, "model-unknown"),
        ("wide/versions/x", {"x": np.zeros(2, np.float32)}, 404, "version-unknown"),
        ("spindle-anomaly", {"x": np.zeros(2, np.float32)}, 400, "engine-refused"),
        ("spindle-anomaly", {"window": np.zeros((1, 64, 4), np.float64)}, 400, "engine-refused"),
        ("spindle-anomaly", {"window": np.zeros((9, 64, 4), np.float32)}, 400, "engine-refused"),
        ("spindle-anomaly", {"window": np.zeros((64, 4), np.float32)}, 400, "engine-refused"),
    ],
)
def test_a_question_that_the_model_cannot_answer(
    service: Any, theirs: httpx.Client, model: str, arrays: dict[str, Any], status: int, code: str
) -> None:
    asked = Tensors(arrays)
    refused(ask(service.http, model, asked), status, code)
    assert ask(theirs, model, asked).status_code == status


@pytest.mark.parametrize(
    "path",
    [
        "/v2/repository/models/wide/load",
        "/v2/repository/models/wide/unload",
        "/v2/trace/setting",
        "/v2/models/wide/trace/setting",
        "/v2/logging",
    ],
)
def test_models_are_not_controlled_through_v2(service: Any, path: str) -> None:
    refused(service.http.post(path, json={}), 403, "model-control-refused")


def test_shared_memory_is_the_service_s_own(service: Any) -> None:
    path = "/v2/cudasharedmemory/region/camera-1/register"
    assert "CUDA" in refused(service.http.post(path, json={}), 403, "shared-memory-refused")
    one = {"name": "window", "datatype": "FP32", "shape": [1, 64, 4]}
    one["parameters"] = {"shared_memory_region": "lineside_1", "shared_memory_byte_size": 1024}
    answer = service.http.post("/v2/models/spindle-anomaly/infer", json={"inputs": [one]})
    assert "client_shared_memory_prefixes" in refused(answer, 403, "shared-memory-refused")


def test_a_region_on_the_list_is_read_by_triton(service: Any, theirs: httpx.Client) -> None:
    window = np.random.default_rng(1).normal(size=(1, 64, 4)).astype(np.float32)
    region = Path("/dev/shm/camera-test-v2")
    region.write_bytes(window.tobytes())
    try:
        registered = {"key": f"/{region.name}", "offset": 0, "byte_size": window.nbytes}
        path = f"/v2/systemsharedmemory/region/{region.name}"
        assert theirs.post(f"{path}/register", json=registered).status_code == 200
        place = {"shared_memory_region": region.name, "shared_memory_byte_size": window.nbytes}
        one = {"name": "window", "datatype": "FP32", "shape": [1, 64, 4], "parameters": place}
        answer = service.http.post("/v2/models/spindle-anomaly/infer", json={"inputs": [one]})
        wanted = ask(service.http, "spindle-anomaly", Tensors({"window": window}))
        assert answer.json() == wanted.json()
        # Triton answers a request before it lets go of its memory, and refuses to forget the region until then.
        block_until(lambda: theirs.post(f"{path}/unregister").status_code == 200)
    finally:
        region.unlink()


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v2/nothing", 404, "path-unknown"),
        ("GET", "/v2/models/wide/nothing", 404, "path-unknown"),
        ("POST", "/v2/models/wide/versions/1/2/infer", 404, "path-unknown"),
        ("GET", "/v2/models/wide/infer", 405, "method-not-allowed"),
        ("POST", "/v2/models/wide/config", 405, "method-not-allowed"),
        ("GET", "/v2/models/nobody/config", 404, "model-unknown"),
    ],
)
def test_paths(service: Any, method: str, path: str, status: int, code: str) -> None:
    refused(service.http.request(method, path), status, code)


def test_deadlines(service: Any) -> None:
    window = {"window": np.zeros((1, 64, 4), np.float32)}
    late = ask(service.http, "spindle-anomaly", Tensors(window), x_deadline_ms="0.001")
    refused(late, 504, "deadline-passed")
    late = ask(service.http, "spindle-anomaly", Tensors(window, parameters={"timeout": 1}))
    refused(late, 504, "deadline-passed")
    refused(ask(service.http, "spindle-anomaly", Tensors(window), x_deadline_ms="soon"), 400, "v2-request-invalid")


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    flip=st.integers(0, 300),
    to=st.integers(0, 255),
    drop=st.integers(0, 30),
    length=st.integers(-3, 3),
    seed=st.binary(),
)
def test_damaged_bodies_are_answered_with_4xx(
    service: Any, flip: int, to: int, drop: int, length: int, seed: bytes
) -> None:
    asked = Tensors({"window": np.zeros((1, 64, 4), np.float32)}, parameters={"binary_data_output": True})
    body = bytearray(asked.body)
    body[flip] = to
    headers = {"inference-header-content-length": str(int(asked.headers["inference-header-content-length"]) + length)}
    answer = service.http.post(
        "/v2/models/spindle-anomaly/infer", content=bytes(body[: len(body) - drop]) + seed[:drop], headers=headers
    )
    assert answer.status_code < 500, answer.text
    if answer.status_code != 200:
        assert set(answer.json()) == {"error", "code"}


def large() -> bytes:
    """Return a request of the wide model as it goes over a connection; its body is read straight into a slot."""
    tensors = {"x": np.zeros((1, *WIDE), np.float32), "y": np.arange(4, dtype=np.float32)}
    asked = Tensors(tensors, parameters={"binary_data_output": True}, outputs=[{"name": "y_out"}])
    lines = [
        "POST /v2/models/wide/infer HTTP/1.1",
        "Host: localhost",
        *(f"{name}: {value}" for name, value in asked.headers.items()),
        f"Content-Length: {len(asked.body)}",
        "",
        "",
    ]
    return "\r\n".join(lines).encode() + asked.body


def connect(service: Any) -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.port), timeout=HANG_S)


def nothing_is_held(service: Any) -> None:
    """Wait until every slot and place is free again."""
    for sample in ('arena_slots{state="used"}', 'arena_slots{state="quarantined"}'):
        block_until(lambda sample=sample: service.metric(f"lineside_inference_{sample}") == 0, sample)


@pytest.mark.parametrize("share", [0.001, 0.02, 0.5, 0.999])
def test_a_client_that_stops_in_the_middle_holds_nothing_once_it_is_gone(service: Any, share: float) -> None:
    sent = large()
    with connect(service) as client:
        client.sendall(sent[: int(len(sent) * share)])
        shared = 'lineside_inference_engine_transport_info{transport="shared-memory"}'
        if share > 0.02 and service.metric(shared):  # it got as far as the body
            used = 'lineside_inference_arena_slots{state="used"}'
            block_until(lambda: service.metric(used) == 1, used)
    nothing_is_held(service)


def test_a_client_that_closes_while_triton_works_holds_nothing(service: Any) -> None:
    for _ in range(5):
        with connect(service) as client:
            client.sendall(large())
    nothing_is_held(service)


def test_two_requests_in_one_packet_are_answered_one_behind_the_other(service: Any) -> None:
    with connect(service) as client:
        client.sendall(large() * 2)
        with client.makefile("rb") as stream:
            for _ in range(2):
                assert stream.readline().startswith(b"HTTP/1.1 200")
                length = int(http.client.parse_headers(stream)["content-length"])
                assert np.frombuffer(stream.read(length)[-16:], np.float32).tolist() == [0, 1, 2, 3]
    nothing_is_held(service)


@pytest.mark.parametrize("more", [1, 100_000])
def test_a_body_with_more_or_less_than_its_tensors_is_refused(service: Any, more: int) -> None:
    tensors = {"x": np.zeros((1, *WIDE), np.float32), "y": np.zeros(4, np.float32)}
    asked = Tensors(tensors)
    for body in (asked.body + bytes(more), asked.body[:-more]):
        answer = service.http.post("/v2/models/wide/infer", content=body, headers=asked.headers)
        assert "binary part has" in refused(answer, 400, "v2-request-invalid")
    nothing_is_held(service)


def test_who_announces_too_much_is_refused_before_it_is_sent(service: Any) -> None:
    head, _, _body = large().partition(b"\r\n\r\n")
    with connect(service) as client:
        client.sendall(head[: head.rindex(b" ")] + b" 99999999999\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 413")
    nothing_is_held(service)


def test_slots_are_all_free_again(service: Any) -> None:
    assert service.metric('lineside_inference_arena_slots{state="used"}') == 0
    assert service.metric('lineside_inference_arena_slots{state="quarantined"}') == 0
    assert service.metric('lineside_inference_v2_requests_total{model="spindle-anomaly",status="200"}') > 0


@pytest.mark.parametrize("way", ["grpc", "http"])
def test_triton_killed_in_the_middle(start_inference: Start, own_triton: TritonServer, way: str) -> None:
    own_triton.start()
    own_triton.wait_ready()
    service = start_inference(triton=ways(own_triton)[way] | {"health_ms": 100, "timeout_ms": 500})
    asked = Tensors({"window": np.ones((1, 64, 4), np.float32)}, parameters={"binary_data_output": True})
    expected = ask(service.http, "spindle-anomaly", asked).content
    answers: list[httpx.Response] = []
    stop = threading.Event()

    def go_on() -> None:
        with httpx.Client(base_url=service.http.base_url, timeout=HANG_S, trust_env=False) as client:
            while not stop.is_set():
                answers.append(ask(client, "spindle-anomaly", asked, x_deadline_ms="20000"))

    asking = threading.Thread(target=go_on)
    asking.start()
    try:
        own_triton.kill()
        own_triton.start()
        own_triton.wait_ready()
        service.wait_for("/readyz")
    finally:
        stop.set()
        asking.join(HANG_S)
    assert answers
    assert {answer.status_code for answer in answers} == {200}, {answer.text for answer in answers}
    assert {answer.content for answer in answers} == {expected}


def test_while_triton_is_away_the_answer_says_so_in_time(start_inference: Start, own_triton: TritonServer) -> None:
    service = start_inference(ready="/livez", triton={"url": own_triton.grpc, "health_ms": 100, "timeout_ms": 500})
    asked = Tensors({"window": np.ones((1, 64, 4), np.float32)})
    refused(ask(service.http, "spindle-anomaly", asked, x_deadline_ms="200"), 503, "engine-unavailable")
    refused(service.http.get("/v2/models/spindle-anomaly"), 503, "engine-unavailable")
    assert service.http.get("/v2/health/live").status_code == 200
    assert service.http.get("/v2/health/ready").status_code == 503
    own_triton.start()
    assert ask(service.http, "spindle-anomaly", asked, x_deadline_ms="30000").status_code in {200, 503}
    own_triton.wait_ready()
    service.wait_for("/readyz")
    assert ask(service.http, "spindle-anomaly", asked).status_code == 200


def test_a_slow_v2_body_holds_no_place(start_inference: Start, triton: TritonServer, part_jpeg: bytes) -> None:
    limits = {"v2_concurrency": 1, "queue": 0, "body_s": 30}
    service = start_inference(triton={"url": triton.grpc}, limits=limits)
    asked = Tensors({"window": np.ones((1, 64, 4), np.float32)})
    going, goes_on = threading.Event(), threading.Event()

    def slowly() -> Iterator[bytes]:
        yield asked.body[:-1]
        going.set()
        goes_on.wait(HANG_S)
        yield asked.body[-1:]

    slow: list[httpx.Response] = []
    path = "/v2/models/spindle-anomaly/infer"
    asking = threading.Thread(
        target=lambda: slow.append(service.http.post(path, content=slowly(), headers=asked.headers))
    )
    asking.start()
    try:
        going.wait(HANG_S)
        with httpx.Client(base_url=service.http.base_url, timeout=HANG_S, trust_env=False) as client:
            assert ask(client, "spindle-anomaly", asked).status_code == 200, "the only place was free"
            image = client.post(
                "/v1/models/surface-defect/predict", content=part_jpeg, headers={"content-type": "image/jpeg"}
            )
            assert image.json()["status"] == "ok"
    finally:
        goes_on.set()
        asking.join(HANG_S)
    assert slow[0].status_code == 200


def test_triton_s_http_port_is_found_beside_its_grpc_port(start_inference: Start, own_triton: TritonServer) -> None:
    own_triton.http_port = own_triton.grpc_port - 1
    own_triton.start()
    own_triton.wait_ready()
    asked = Tensors({"window": np.ones((1, 64, 4), np.float32)}, parameters={"binary_data_output": True})
    answers = []
    for way in ({}, {"shared_memory": "off"}):
        service = start_inference(triton={"url": own_triton.grpc} | way)
        answers.append(ask(service.http, "spindle-anomaly", asked).content)
        assert (f'"port": "127.0.0.1:{own_triton.http_port}"' in service.log.read_text()) == (not way)
    assert answers[0] == answers[1]


def test_who_answers_beside_the_grpc_port_and_is_not_this_triton_is_left_alone(
    start_inference: Start, own_triton: TritonServer
) -> None:
    own_triton.start()
    own_triton.wait_ready()
    with socket.create_server(("127.0.0.1", own_triton.grpc_port - 1)):  # takes connections, and says nothing
        service = start_inference(triton={"url": own_triton.grpc, "timeout_ms": 500})
        asked = Tensors({"window": np.ones((1, 64, 4), np.float32)})
        assert ask(service.http, "spindle-anomaly", asked).status_code == 200
