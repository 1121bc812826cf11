"""Raw buffers of cameras as sources: each way gives the verdict of the same pixels in a file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.support import image_files as files
from tests.support.inference_service import inline

Start = Callable[..., Any]
WIDTH, HEIGHT, STRIDE = 96, 64, 300
RAW = f"application/x-pfnc; format=BGR8; width={WIDTH}; height={HEIGHT}; stride={STRIDE}"


@pytest.fixture
def pixels() -> np.ndarray:
    return files.part(WIDTH, HEIGHT)


@pytest.fixture
def raw(pixels: np.ndarray) -> bytes:
    return b"".join(row.tobytes().ljust(STRIDE, b"\xff") for row in pixels)


def test_raw_pixels_mean_the_same_from_every_source(
    start_inference: Start, triton_server: Any, pixels: np.ndarray, raw: bytes, tmp_path: Path
) -> None:
    (tmp_path / "part.raw").write_bytes(raw)
    service = start_inference(
        triton={"url": triton_server.grpc},
        cameras={
            "folder": {
                "kind": "directory",
                "path": str(tmp_path),
                "since": "any",
                "allow_older_ms": 600_000,
                "raw": {"format": "BGR8", "width": WIDTH, "height": HEIGHT, "stride": STRIDE},
            }
        },
        file_roots=[str(tmp_path)],
    )
    wanted = service.infer(source=inline(cv2.imencode(".png", pixels)[1].tobytes(), "image/png"))
    assert wanted["status"] == "ok"
    for result in (
        service.infer(source=inline(raw, RAW)),
        service.predict(raw, content_type=RAW),
        service.infer(source={"kind": "file", "path": "part.raw", "content_type": RAW}),
        service.infer(source={"kind": "camera", "camera": "folder"}),
    ):
        assert result["status"] == "ok", result
        assert (result["scores"], result["reason"]) == (wanted["scores"], wanted["reason"])
    shown = service.http.get(f"/v1/parts/{result['request_id']}/image")
    assert shown.headers["content-type"] == "image/jpeg"
    found = cv2.imdecode(np.frombuffer(shown.content, np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(found.astype(int) - pixels).mean() < 4


def test_raw_pixels_that_are_not_what_was_said(start_inference: Start, triton_server: Any, raw: bytes) -> None:
    service = start_inference(triton={"url": triton_server.grpc}, limits={"pixels": 10_000})
    for content_type, data, code, said in (
        (RAW, raw[:-50], "image-truncated", f"are {STRIDE * HEIGHT} bytes, and there are {len(raw) - 50}"),
        (RAW, raw + b"\0", "image-undecodable", f"there are {len(raw) + 1}"),
        (RAW.replace("BGR8", "BGR9"), raw, "image-undecodable", "'BGR9' is not known"),
        ("application/x-pfnc", raw, "image-undecodable", "no format and no width and no height"),
        (RAW.replace("width=96", "width=97"), raw[:1], "image-truncated", "97 x 64 pixels"),
        ("application/x-pfnc; format=Mono8; width=101; height=100", b"", "image-too-large", "101 x 100"),
    ):
        for result in (
            service.infer(source=inline(data, content_type)),
            service.predict(data, content_type=content_type),
        ):
            assert (result["status"], result["code"], result["verdict"]) == ("rejected", code, "unknown"), result
            assert said in result["reason"]
