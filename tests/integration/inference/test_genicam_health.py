"""How a GenICam camera does, as the service tells it: temperature, packets, rates, by fake cameras over loopback."""

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from lineside.connections import State
from lineside_inference.sources.cameras.genicam import vitals
from lineside_inference.sources.cameras.genicam.device import BUFFERS
from tests.support.cameras import watched
from tests.support.deadlines import within
from tests.support.genicam_fakes import ADDRESS, aravis_camera, viva_camera
from tests.support.waiting import HANG_S, block_until, until

CAMERA = {"kind": "genicam", "device": ADDRESS, "timeout_ms": 20_000}


@pytest.fixture
async def watch() -> AsyncIterator[Any]:
    """Make and start one camera; ended with the test."""
    async with watched(max_bytes=1_000_000, max_pixels=640 * 480, **CAMERA) as make:
        yield make


@pytest.mark.parametrize("acquisition", ["software", "free"])
async def test_its_temperature_is_told_while_it_is_there(watch: Any, acquisition: str) -> None:
    with viva_camera() as fake:
        camera = watch(acquisition=acquisition)
        await until(lambda: camera.temperature is not None)
        assert 0 < camera.temperature < 100
        await camera.grab(time.monotonic(), within(HANG_S))
        assert camera.transport["received_packets"] > 0
        fake.stop()
        await until(lambda: camera.temperature is None)


async def test_a_camera_that_tells_no_temperature_has_none(watch: Any) -> None:
    with aravis_camera():
        camera = watch(acquisition="free")
        await camera.grab(time.monotonic(), within(HANG_S))
        trigger = time.monotonic()
        await camera.grab(trigger, within(HANG_S))
        assert camera.temperature is None


async def test_what_no_camera_has_is_no_temperature(watch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vitals, "TEMPERATURES", ("ExposureTimeAbs", "GainRaw"))
    with aravis_camera():
        camera = watch(acquisition="free", features={"ExposureTimeAbs": 30_000.0, "GainRaw": 3})
        await until(lambda: camera.temperature is not None)
        assert camera.temperature == 3.0, "30000 degrees are none"


async def test_a_silent_camera_that_sends_by_itself_is_not_asked(watch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked_at: list[int] = []
    monkeypatch.setattr(vitals.Vitals, "is_due", lambda _self, *, is_idle: is_idle)
    with aravis_camera() as fake:
        camera = watch(acquisition="free", timeout_ms=100)
        monkeypatch.setattr(vitals, "temperature", lambda _: asked_at.append(camera.transport["received_packets"]))
        await until(lambda: len(asked_at) > 1)
        fake.stop()
        await until(lambda: camera.connection.state is State.BACKOFF, lambda: camera.connection.detail)
    assert asked_at.count(asked_at[-1]) <= BUFFERS, "frames that had come already, and nothing in the silence"


def test_the_service_tells_how_it_does(start_inference: Any, triton_server: Any) -> None:
    with viva_camera(packet_resend=False, drop_packets=[(frame, 3) for frame in range(1, 10_000)]) as fake:
        camera = {**CAMERA, "acquisition": "free", "hot_celsius": 5.0}
        service = start_inference(triton={"url": triton_server.grpc}, cameras={"c": camera})

        def told() -> dict[str, Any]:
            answer = service.http.get("/v1/cameras")
            assert answer.status_code == 200
            (only,) = answer.json()["cameras"]
            return dict(only)

        def needs() -> str:
            return "; ".join(need["what"] for need in told()["needs"])

        block_until(lambda: "were not whole" in needs() and "°C hot" in needs())
        seen = told()
        assert seen["state"] == "ONLINE"
        assert (seen["incomplete_share"], seen["frames_a_second"]) == (1.0, 0.0)
        assert service.metric('lineside_inference_camera_temperature_celsius{camera="c"}') > 5.0
        assert service.metric('lineside_inference_camera_temperature_limit_celsius{camera="c"}') == 5.0
        assert service.metric('lineside_inference_camera_transport_total{camera="c",event="received_packets"}') > 0
        fake.stop()
        block_until(lambda: told()["state"] == "BACKOFF")
        assert (told()["temperature_celsius"], told()["lost_control"] > 0) == (None, True)
        assert "lineside camera list" in told()["remedy"]
