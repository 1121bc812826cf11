"""What judging returns, over a Triton that is made up, however a request ends, and what evidence finds in it."""

import asyncio
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import pytest

from lineside.contract import CameraSource, InlineSource, Policy, Request, Tensor, TensorsSource
from lineside_inference.dataplane.admission import AdmissionGate, Capacity
from lineside_inference.dataplane.judged import Judged
from lineside_inference.dataplane.workers import Workers
from lineside_inference.deadline import Arrival, Deadline, Trigger
from lineside_inference.errors import EngineFailed, IdReused
from lineside_inference.imaging.pixel_formats.layout import Layout
from lineside_inference.models.card import Card
from lineside_inference.models.store import Model, ModelStore
from lineside_inference.settings import InferenceSettings
from lineside_inference.sources import Frame
from lineside_inference.usecases.fetching import Fetcher
from lineside_inference.usecases.input_writer import InputWriter
from lineside_inference.usecases.judging import Judging, refused
from tests.support.image_files import plain_jpeg
from tests.support.waiting import HANG_S, until

IMAGE = cv2.imencode(".png", np.full((8, 12, 3), 200, np.uint8))[1].tobytes()
LOGITS = np.array([[0.0, 9.0, 0.0]], np.float32)
SETTINGS = InferenceSettings.model_validate(
    {
        "default_deadline_ms": HANG_S * 1000,
        "cameras": {"turned": {"url": "http://c", "exif_orientation": "obey"}, "lying": {"url": "http://c"}},
    }
)
_EXIF = b"Exif\0\0MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
_PLAIN = plain_jpeg(40, 30)
LYING = _PLAIN[:2] + b"\xff\xe1" + struct.pack(">H", len(_EXIF) + 2) + _EXIF + _PLAIN[2:]


class Slot:
    """A slot that is used again as soon as it is released."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.memory = np.zeros(shape, np.float32)

    def keep_for(self, _call: Any) -> None:
        raise AssertionError("nothing writes into it any more")

    def release(self) -> None:
        self.memory[...] = np.nan


class Triton:
    """Answers always the same, or fails."""

    def __init__(self) -> None:
        self.error: Exception | None = None

    async def slot(self, model: Model, _deadline: Deadline) -> Slot:
        return Slot(model.card.input.shape)

    def input(self, _model: Model, slot: Slot) -> Any:
        return slot.memory

    async def infer(self, _model: Model, _slot: Slot, _deadline: Deadline) -> dict[str, Any]:
        if self.error is not None:
            raise self.error
        return {"logits": LOGITS}


class Cameras:
    """Cameras of which most give pixels; two give a JPEG that lies on its side, one raw pixels."""

    async def grab_for(self, camera: str, _trigger: Trigger, _deadline: Deadline) -> Frame:
        if camera in {"turned", "lying"}:
            return Frame(LYING)
        if camera == "raw":
            return Frame(bytes([90] * 96), layout=Layout.of("BayerGB8", 12, 8))
        return Frame(pixels=np.full((8, 12, 3), 90, np.uint8))


class Rig:
    def __init__(self, card: Card) -> None:
        self.triton = Triton()
        self.workers = Workers(1)
        self.places = AdmissionGate(1, 8, kept=0, bounds="x", is_draining=lambda: False)
        self.model = Model.of(card)
        none: Any = None
        cameras: Any = Cameras()
        engine: Any = self.triton
        self.judging = Judging(
            SETTINGS,
            store=ModelStore([self.model]),
            engine=engine,
            fetcher=Fetcher(cameras, none, none, self.workers),
            writer=InputWriter(SETTINGS, self.workers, Capacity(10**9, kept=0)),
            workers=self.workers,
            places=self.places,
        )

    async def judge(self, *, keep: tuple[str, ...] = (), **fields: Any) -> Judged:
        source = InlineSource(content_type="image/png", data=IMAGE)
        request = Request.new(**({"model": "surface-defect", "source": source} | fields))
        return await self.judging.judge(request, Arrival(), keep=keep)


@pytest.fixture
def rig(make_card: Callable[..., Card]) -> Iterator[Rig]:
    rig = Rig(make_card())
    yield rig
    rig.workers.close()


async def test_a_judged_request_has_its_result_its_image_and_what_evidence_wants(rig: Rig) -> None:
    judged = await rig.judge(keep=("input", "outputs"))
    result, evidence = judged.result, judged.evidence
    assert (result.status, result.verdict, result.request_id) == ("ok", "fail", judged.request.id)
    spent = result.timing_ms
    assert None not in {spent.queued, spent.decode, spent.infer, spent.interpret, spent.total}
    assert spent.source is None, "it came with the request"
    assert judged.image == IMAGE
    assert evidence.frame is not None
    assert evidence.frame.data == IMAGE
    assert evidence.model is rig.model
    assert evidence.geometry is not None
    assert evidence.input is not None
    assert np.isfinite(evidence.input).all(), "a copy: the slot is used again"
    assert evidence.input.max() > 10
    assert evidence.outputs["logits"] is LOGITS
    assert evidence.size > len(IMAGE) + evidence.input.nbytes
    assert not rig.places.room.used


async def test_what_nobody_keeps_is_not_copied(rig: Rig) -> None:
    evidence = (await rig.judge()).evidence
    assert (evidence.input, evidence.geometry, dict(evidence.outputs)) == (None, None, {})


async def test_a_frame_of_pixels_is_shown_as_a_jpeg(rig: Rig) -> None:
    judged = await rig.judge(source=CameraSource(camera="c"))
    assert judged.result.timing_ms.source is not None
    assert judged.result.frame_age_ms is not None
    assert judged.image is not None
    assert judged.image.startswith(b"\xff\xd8")


@pytest.mark.parametrize(("camera", "shape"), [("turned", (40, 30)), ("lying", (30, 40)), ("raw", (8, 12))])
async def test_what_is_shown_and_kept_are_the_pixels_that_were_judged(
    rig: Rig, camera: str, shape: tuple[int, int]
) -> None:
    judged = await rig.judge(source=CameraSource(camera=camera), keep=("image",))
    assert judged.result.status == "ok"
    assert judged.image is not None
    shown = cv2.imdecode(np.frombuffer(judged.image, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    assert shown.shape[:2] == shape
    frame = judged.evidence.frame
    assert frame is not None
    assert frame.layout is None
    assert (frame.data == LYING) == (camera == "lying")


async def test_raw_pixels_that_are_refused_are_no_file_to_show(rig: Rig) -> None:
    source = InlineSource(content_type="application/x-pfnc; format=Mono8; width=8; height=8", data=LYING)
    judged = await rig.judge(source=source, keep=("image",))
    assert (judged.result.code, judged.image) == ("image-undecodable", b"")
    assert judged.evidence.frame is not None
    assert judged.evidence.frame.layout is not None


async def test_what_fails_keeps_what_was_seen_until_then(rig: Rig) -> None:
    rig.triton.error = EngineFailed("no output")
    judged = await rig.judge(keep=("input", "outputs"))
    result, evidence = judged.result, judged.evidence
    assert (result.status, result.code, result.verdict) == ("failed", "engine-failed", "unknown")
    assert result.timing_ms.infer is not None
    assert (judged.image, dict(evidence.outputs)) == (IMAGE, {})
    assert evidence.input is not None
    assert not rig.places.room.used


async def test_a_fault_of_our_own_is_an_answer_too(rig: Rig) -> None:
    rig.triton.error = ZeroDivisionError()
    judged = await rig.judge()
    assert (judged.result.status, judged.result.code) == ("failed", "internal")
    assert not rig.places.room.used


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"model": "other"}, "model-unknown"),
        ({"model_version": "7"}, "version-unknown"),
        ({"source": InlineSource(content_type="text/html", data=b"x")}, "source-unsupported"),
        (
            {"source": TensorsSource(tensors=(Tensor(name="x", datatype="FP32", shape=(1,), values=[1.0]),))},
            "source-mismatch",
        ),
    ],
)
async def test_a_wrong_request_takes_no_place(rig: Rig, fields: dict[str, Any], code: str) -> None:
    async with rig.places.place(Deadline(time.monotonic() + HANG_S), line=True):
        judged = await rig.judge(**fields)
    assert (judged.result.status, judged.result.code, judged.image) == ("rejected", code, None)


async def test_switched_off_nobody_is_judged_nor_waits(rig: Rig) -> None:
    async with rig.places.place(Deadline(time.monotonic() + HANG_S), line=True):
        waiting = asyncio.create_task(rig.judge())
        await until(lambda: rig.places.room.waiting(line=True))
        rig.judging.policy = Policy(enabled=False)
        for judged in (await waiting, await rig.judge()):
            assert (judged.result.status, judged.result.code) == ("disabled", "disabled")
            assert "policy.enabled" in judged.result.reason


def test_a_request_refused_beforehand_has_no_evidence() -> None:
    request = Request.new(model="m", source=CameraSource(camera="c"))
    judged = refused(request, IdReused("used before", remedy="Give another"), Arrival())
    assert (judged.result.status, judged.result.code, judged.result.reason) == (
        "rejected",
        "id-reused",
        "used before. Give another",
    )
    assert (judged.deadline, judged.image, judged.evidence.size) == (None, None, 0)
