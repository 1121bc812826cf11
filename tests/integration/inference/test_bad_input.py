"""Whatever is wrong is named, in time; nothing restarts and memory stays flat."""

import http.client
import json
import socket
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import pytest

from tests.support import image_files as files
from tests.support.inference_service import inline
from tests.support.waiting import HANG_S, block_until

Start = Callable[..., Any]

HUGE = b"IHDR" + struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
HUGE_PNG = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + HUGE + struct.pack(">I", zlib.crc32(HUGE))


def window(**fields: Any) -> dict[str, Any]:
    tensor = {"name": "window", "datatype": "FP32", "shape": [64, 4], "values": [1.0] * 256} | fields
    return {"kind": "tensors", "tensors": [tensor]}


@pytest.fixture(scope="module")
def shared_service(
    start_shared: Start, triton_server: Any, shared_camera: Any, closed_port: int, tmp_path_factory: Any
) -> Any:
    modes = (
        "good",
        "truncated",
        "page",
        "error",
        "silent",
        "trickle",
        "cut",
        "endless",
        "packed",
        "closed",
        "deep",
        "shallow",
    )
    return start_shared(
        triton={"url": triton_server.grpc},
        cameras={mode: {"url": f"{shared_camera.url}/{mode}"} for mode in modes}
        | {
            "gone": {"url": f"http://127.0.0.1:{closed_port}/"},
            "closed-stream": {"kind": "mjpeg", "url": f"{shared_camera.url}/closed_stream"},
            "deep-12": {"url": f"{shared_camera.url}/deep", "significant_bits": 12},
        },
        file_roots=[str(tmp_path_factory.mktemp("images"))],
        limits={"body_bytes": 2_000_000, "json_bytes": 1_000_000, "body_s": 1.0},
    )


@pytest.fixture
def service(shared_service: Any) -> Iterator[Any]:
    yield shared_service
    assert shared_service.process.poll() is None
    assert "Traceback" not in shared_service.log.read_text()


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"model": "surface-defects", "source": inline(b"x")}, "model-unknown"),
        ({"model_version": "2", "source": inline(b"x")}, "version-unknown"),
        ({"source": inline(b"not an image")}, "image-undecodable"),
        ({"source": inline(b"")}, "image-undecodable"),
        ({"source": inline(HUGE_PNG)}, "image-too-large"),
        ({"source": inline(b"x", "text/html")}, "source-unsupported"),
        ({"source": {"kind": "url", "url": "http://127.0.0.1/x.jpg"}}, "url-not-allowed"),
        ({"source": {"kind": "file", "path": "../../etc/passwd"}}, "path-outside-root"),
        ({"source": {"kind": "file", "path": "nothing.jpg"}}, "file-not-found"),
        ({"source": {"kind": "camera", "camera": "station-9"}}, "camera-unknown"),
        ({"source": window()}, "source-mismatch"),
        ({"model": "spindle-anomaly", "source": inline(b"x")}, "source-mismatch"),
        ({"model": "spindle-anomaly", "source": window(shape=[4, 64])}, "tensor-shape"),
        ({"model": "spindle-anomaly", "source": window(values=[1.0])}, "tensor-shape"),
        ({"model": "spindle-anomaly", "source": window(name="x")}, "tensor-name"),
        ({"model": "spindle-anomaly", "source": window(datatype="INT8")}, "tensor-datatype"),
        ({"model": "spindle-anomaly", "source": window(values=[1e300] * 256)}, "tensor-values"),
    ],
)
def test_a_wrong_request_is_rejected_by_name(service: Any, fields: dict[str, Any], code: str) -> None:
    counted = service.metric(f'lineside_inference_refusals_total{{code="{code}"}}')
    result = service.infer(**fields)
    assert (result["status"], result["verdict"], result["code"]) == ("rejected", "unknown", code)
    assert len(result["reason"]) > 20
    assert service.metric(f'lineside_inference_refusals_total{{code="{code}"}}') == counted + 1


def test_a_truncated_image_is_rejected(service: Any, part_jpeg: bytes) -> None:
    result = service.predict(part_jpeg[: len(part_jpeg) // 2])
    assert (result["status"], result["code"]) == ("rejected", "image-truncated")


@pytest.mark.parametrize(
    ("camera_name", "code", "said"),
    [
        ("error", "camera-failed", "answered 500"),
        ("page", "camera-failed", "text/html"),
        ("packed", "camera-failed", "'gzip'"),
        ("gone", "camera-failed", "cannot be reached"),
        ("cut", "camera-failed", "broke the connection"),
        ("endless", "camera-failed", "more than 2000000 bytes"),
        ("truncated", "image-truncated", "camera 'truncated': the JPEG"),
        ("closed", "image-truncated", "camera 'closed': the JPEG is damaged"),
        ("closed-stream", "image-truncated", "camera 'closed-stream': the JPEG is damaged"),
        ("deep", "image-bit-depth", "camera 'deep': the PNG has 16 bits a value"),
        ("silent", "camera-timeout", "no frame within"),
        ("trickle", "camera-timeout", "no frame within"),
    ],
)
def test_a_broken_camera_is_named_within_the_deadline(service: Any, camera_name: str, code: str, said: str) -> None:
    # Only what would never end is held to a short deadline; a busy machine may take its time over the rest.
    short = {"deadline_ms": 400} if code == "camera-timeout" else {}
    result = service.infer(source={"kind": "camera", "camera": camera_name}, **short)
    assert (result["status"], result["verdict"], result["code"]) == ("failed", "unknown", code), result["reason"]
    assert said in result["reason"]
    assert service.infer(source={"kind": "camera", "camera": "good"})["status"] == "ok"


def test_a_camera_of_12_bits_is_judged_where_its_settings_say_so(service: Any) -> None:
    deep, shallow = (service.infer(source={"kind": "camera", "camera": name}) for name in ("deep-12", "shallow"))
    assert deep["status"] == "ok"
    assert (deep["verdict"], deep["scores"]) == (shallow["verdict"], shallow["scores"])


@pytest.mark.parametrize(
    ("make", "content_type", "shown"),
    [
        (files.tiff, "image/tiff", "image/jpeg"),
        (lambda pixels: files.tiff(pixels, packed=True), "application/octet-stream", "image/jpeg"),
        (lambda pixels: files.pgm(pixels, 255), "image/x-portable-anymap", "image/jpeg"),
        (
            lambda pixels: cv2.imencode(".webp", pixels, [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes(),
            "image/webp",
            None,
        ),
        (lambda pixels: files.bmp(pixels, (0x3FF00000, 0xFFC00, 0x3FF)), "image/bmp", None),
    ],
)
def test_every_kind_of_picture_is_judged_alike_and_can_be_seen(
    service: Any, part_jpeg: bytes, make: Callable[[Any], bytes], content_type: str, shown: str | None
) -> None:
    pixels = cv2.imdecode(np.frombuffer(part_jpeg, np.uint8), cv2.IMREAD_COLOR)
    wanted = service.predict(files.png(pixels), content_type="image/png")
    found = service.predict(make(pixels), content_type=content_type)
    assert (found["status"], found["verdict"], found["scores"]) == ("ok", wanted["verdict"], wanted["scores"])
    picture = service.http.get(f"/v1/parts/{found['id']}/image")
    assert (picture.status_code, picture.headers["content-type"]) == (200, shown or content_type)
    assert service.http.get(f"/v1/parts/{found['id']}/image?width=100").headers["content-type"] == "image/jpeg"


def test_a_kept_connection_that_the_camera_closes_costs_no_part(
    start_inference: Start, triton_server: Any, camera: Any
) -> None:
    service = start_inference(triton={"url": triton_server.grpc}, cameras={"closing": {"url": f"{camera.url}/closing"}})
    for _ in range(4):
        assert service.infer(source={"kind": "camera", "camera": "closing"})["status"] == "ok"
    assert camera.asked == 7


def test_a_deadline_that_has_passed_is_expired(service: Any, part_jpeg: bytes) -> None:
    result = service.infer(source=inline(part_jpeg), deadline_ms=100, time={"received": "2026-01-01T00:00:00Z"})
    assert (result["status"], result["code"]) == ("expired", "deadline-passed")
    assert result["timing_ms"]["infer"] is None


@pytest.mark.parametrize(
    ("content", "headers", "status", "code"),
    [
        (b"no json", {}, 400, "not-json"),
        (b"[]", {}, 400, "not-json"),
        (b"", {}, 400, "not-json"),
        (b'{"schema":"lineside/request/2","id":"a"}', {}, 400, "schema-unsupported"),
        (b'{"schema":"lineside/request/1","id":"a"}', {}, 422, "message-invalid"),
        (b"[" * 100_000, {}, 400, "not-json"),
        (b" " * 1_000_001, {}, 413, "body-too-large"),
        (b"{}", {"content-type": "text/html"}, 415, "content-type-unsupported"),
        (b"{}", {"content-encoding": "gzip"}, 415, "encoding-unsupported"),
    ],
)
def test_what_cannot_be_understood_is_a_problem(
    service: Any, content: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    counted = service.metric(f'lineside_inference_refusals_total{{code="{code}"}}')
    answer = service.http.post("/v1/infer", content=content, headers={"content-type": "application/json"} | headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == code
    assert answer.json()["status"] == status
    assert service.metric(f'lineside_inference_refusals_total{{code="{code}"}}') == counted + 1


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/v1/models/surface-defect/predict", {"content-type": "text/html"}, 415),
        ("/v1/models/surface-defect/predict", {"x-request-id": "no spaces allowed"}, 422),
        ("/v1/models/surface-defect/predict", {"x-deadline-ms": "soon"}, 422),
        ("/v1/models/surface-defect/predict", {"x-deadline-ms": "-1"}, 422),
        ("/v1/models/%20/predict", {}, 422),
        ("/v1/nothing", {}, 404),
        ("/v1/engine", {}, 405),
    ],
)
def test_wrong_calls_are_problems(service: Any, path: str, headers: dict[str, str], status: int) -> None:
    answer = service.http.post(path, content=b"x", headers={"content-type": "image/png"} | headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]


def test_a_chunked_body_is_bounded_too(service: Any) -> None:
    answer = service.http.post("/v1/infer", content=(b" " * 50_000 for _ in range(100)))
    assert answer.status_code == 413


def test_a_body_that_never_comes_is_given_up(service: Any) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=HANG_S)
    connection.putrequest("POST", "/v1/infer")
    connection.putheader("Content-Length", "100")
    connection.endheaders(b"{")
    answer = connection.getresponse()
    assert answer.status == 408
    assert json.loads(answer.read())["code"] == "body-timeout"
    connection.close()


def test_a_client_that_goes_away_harms_nobody(service: Any, part_jpeg: bytes) -> None:
    for _ in range(20):
        connection = socket.create_connection(("127.0.0.1", service.port))
        connection.sendall(b"POST /v1/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        connection.close()
    assert service.predict(part_jpeg)["status"] == "ok"


def test_above_the_queue_is_429_with_retry_after(start_inference: Start, triton_server: Any, camera: Any) -> None:
    service = start_inference(
        triton={"url": triton_server.grpc},
        cameras={"silent": {"url": f"{camera.url}/silent", "timeout_ms": 60_000}},
        limits={"concurrency": 1, "queue": 1},
    )
    body = {"schema": "lineside/request/1", "model": "surface-defect", "deadline_ms": 500_000}
    body |= {"source": {"kind": "camera", "camera": "silent"}}
    held = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(2)]
    for number, connection in enumerate(held):
        payload = json.dumps(body | {"id": str(number)}).encode()
        head = b"POST /v1/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(payload)
        connection.sendall(head + payload)
    block_until(lambda: service.metric('lineside_inference_load_requests{state="waiting"}') >= 1)
    answer = service.http.post("/v1/infer", json=body | {"id": "one-more"})
    assert (answer.status_code, answer.json()["code"]) == (429, "overloaded")
    assert int(answer.headers["retry-after"]) >= 1
    for connection in held:
        connection.close()


def test_a_request_that_waits_in_the_queue_expires_in_time(
    start_inference: Start, triton_server: Any, camera: Any
) -> None:
    service = start_inference(
        triton={"url": triton_server.grpc},
        cameras={"silent": {"url": f"{camera.url}/silent", "timeout_ms": 1500}},
        limits={"concurrency": 1},
    )
    body = {"schema": "lineside/request/1", "id": "long", "model": "surface-defect", "deadline_ms": 1500}
    payload = json.dumps(body | {"source": {"kind": "camera", "camera": "silent"}}).encode()
    with socket.create_connection(("127.0.0.1", service.port)) as first:
        head = b"POST /v1/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(payload)
        first.sendall(head + payload)
        block_until(lambda: camera.asked)
        result = service.infer(source={"kind": "camera", "camera": "silent"}, deadline_ms=100)
    assert (result["status"], result["code"]) == ("expired", "deadline-passed")


def test_memory_stays_flat(service: Any, part_jpeg: bytes) -> None:
    bad: list[Callable[[], Any]] = [
        lambda: service.predict(part_jpeg[:-5000]),
        lambda: service.predict(HUGE_PNG),
        lambda: service.predict(b"noise" * 2000),
        lambda: service.infer(model="nobody", source=window()),
        lambda: service.infer(model="spindle-anomaly", source=window(shape=[1])),
        lambda: service.http.post("/v1/infer", content=b"no json" * 1000),
        lambda: service.infer(source={"kind": "file", "path": "../x"}, context={"note": "x" * 2000}),
    ]

    def send(rounds: int) -> None:
        for _ in range(rounds):
            for ask in bad:
                ask()

    send(100)
    before = service.resident_kib()
    send(400)
    grown = service.resident_kib() - before
    # 2,800 bad requests; their answers are remembered, about 1 KiB each and at most limits.remembered of them.
    assert grown < 12_000, f"{grown} KiB more"
