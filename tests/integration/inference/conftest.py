"""The inference service as its own process, a camera to look through, and pictures to look at."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.support.inference_service import Camera, Inference


def starter(folder: Path) -> Iterator[Callable[..., Inference]]:
    started: list[Inference] = []

    def start(ready: str = "/readyz", **settings: Any) -> Inference:
        service = Inference(folder, settings)
        started.append(service)
        service.wait_for(ready)
        return service

    yield start
    for service in started:
        service.stop()


@pytest.fixture
def start_inference(tmp_path: Path) -> Iterator[Callable[..., Inference]]:
    """Start a service with settings of its section, or of a shared one by its name; ended with the test."""
    yield from starter(tmp_path)


@pytest.fixture(scope="module")
def start_shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Inference]]:
    """Start a service that the module's tests share."""
    yield from starter(tmp_path_factory.mktemp("inference"))


@pytest.fixture(scope="session")
def part_jpeg() -> bytes:
    """A grey, machined-looking surface, 640 x 480."""
    rng = np.random.default_rng(11)
    lines = np.repeat(rng.normal(150, 12, (480, 1)), 640, axis=1) + rng.normal(0, 3, (480, 640))
    grey = np.clip(lines, 0, 255).astype(np.uint8)
    return cv2.imencode(".jpg", np.dstack([grey] * 3), [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes()


@pytest.fixture(scope="module")
def shared_camera(part_jpeg: bytes) -> Iterator[Camera]:
    """A camera that the module's tests share."""
    camera = Camera(part_jpeg)
    yield camera
    camera.close()


@pytest.fixture
def camera(part_jpeg: bytes) -> Iterator[Camera]:
    camera = Camera(part_jpeg)
    yield camera
    camera.close()
