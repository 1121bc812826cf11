"""One part's evidence as an entry for the spool, in the shape of Edge Manager's captures. Call it in a thread."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lineside.capture import Event, Item, compose, tensor_type
from lineside.contract import Outcome, Request, Result, TensorsSource, UrlSource, to_json, utc_now
from lineside.edge_manager.settings import EdgeManagerSettings
from lineside.spool import Entry
from lineside_inference.capture.decide import Decision
from lineside_inference.dataplane.judged import EvidenceInputs, Judged
from lineside_inference.dataplane.request_summary import summarize
from lineside_inference.errors import ImageUndecodable, RequestError, TensorValues
from lineside_inference.imaging import masks
from lineside_inference.imaging.decode import decode_all, decoding_bytes
from lineside_inference.imaging.encode import encode
from lineside_inference.imaging.image_headers import sniff
from lineside_inference.imaging.overlay import draw
from lineside_inference.models.dtypes import DTYPES
from lineside_inference.settings.capture import Rectangle
from lineside_inference.sources import Frame

_WORDS = {np.dtype(dtype): word for word, dtype in DTYPES.items()}
_OUTCOME = "-outcome"
MAX_ID = 128
_LARGE_BYTES = 64 * 1024 * 1024
"""Memory that decoding an image takes, from which on images are decoded for their evidence one at a time."""
_NOT_CONVERTED = "the raw image did not become pixels"
_SUFFIX = {"jpeg": "jpg", "png": "png", "bmp": "bmp", "tiff": "tiff", "pgm": "pgm", "webp": "webp", None: "bin"}


@dataclass(frozen=True, slots=True)
class Seen:
    """What the inference service knows of a part whose outcome is kept; all of it None where it was never asked."""

    verdict: str | None = None
    """What it judged."""
    model_version: str | None = None
    camera: str | None = None
    image: bytes | None = None
    """The image's file as it came, where it is still here."""


def outcome_key(request_id: str) -> str:
    """Return the id under which the record of a request's outcome is kept."""
    return f"{request_id[: MAX_ID - len(_OUTCOME)]}{_OUTCOME}"


class RecordBuilder:
    """Makes entries of judged requests; holds what is the same for all of this box."""

    def __init__(
        self,
        device: str,
        edge_manager: EdgeManagerSettings,
        masks: Mapping[str, Sequence[Rectangle]],
        *,
        max_pixels: int,
    ) -> None:
        """Make it; `masks` are rectangles by camera or station."""
        self._device = device
        self._edge_manager = edge_manager
        self._masks = masks
        self._max_pixels = max_pixels
        self._large = threading.Lock()

    def entry(self, judged: Judged, decision: Decision, fair_share: float) -> Entry:
        """Return the entry; what cannot be kept as the masks want it is left out, and the record says so.

        `fair_share` is the policy's: of which share of all parts it keeps every one.
        """
        request, result = judged.request, judged.result
        rectangles = masks.masks_of(request, self._masks)
        items: list[Item] = []
        left_out: dict[str, str] = {}
        for name, make in self._pieces(judged, rectangles):
            try:
                items += make()
            except RequestError as error:
                left_out[name] = error.what
        final = result.model_copy(update={"evidence_id": request.id})
        items.append(Item("auxiliary-outputs", "result", "json", to_json(final), "JSON", "json"))
        extra: dict[str, Any] = {
            "kept": decision.kept,
            "why": decision.why,
            "fairShare": fair_share,
            "status": result.status,
            "verdict": result.verdict,
            "context": request.context.model_dump(mode="json", exclude_defaults=True),
            "source": _source(request),
        }
        extra |= {"masked": len(rectangles)} if rectangles else {}
        extra |= {"leftOut": left_out} if left_out else {}
        frame = judged.evidence.frame
        extra |= {"frame": dict(frame.metadata)} if frame is not None and frame.metadata else {}
        event = Event(
            id=request.id,
            fleet=self._edge_manager.DeviceFleetName,
            device=self._device,
            model=request.model,
            model_version=(result.model and result.model.version) or request.model_version or "",
            time=judged.arrival.wall,
            extra=extra,
        )
        return self._compose(event, items, decision)

    def _compose(self, event: Event, items: Sequence[Item], decision: Decision) -> Entry:
        settings = self._edge_manager
        return compose(
            event,
            items,
            embed_limit=settings.embed_limit,
            kept=decision.kept,
            text_as_base64=settings.text_as_base64,
        )

    def outcome(self, outcome: Outcome, seen: "Seen", decision: Decision, fair_share: float) -> Entry:
        """Return the entry of what the PLC got, beside the one of what was judged, with the image where there is one.

        Its id is the request's with `-outcome`, so that neither stands in the other's way; `fair_share` as for `entry`.
        """
        rectangles = masks.masks_for(seen.camera, outcome.station, self._masks)
        items: list[Item] = []
        left_out: dict[str, str] = {}
        if seen.image is not None:
            try:
                items += self._image(Frame(seen.image), rectangles)
            except RequestError as error:
                left_out["image"] = error.what
        items.append(Item("auxiliary-outputs", "outcome", "json", to_json(outcome), "JSON", "json"))
        context = {"station": outcome.station, "part_id": outcome.part_id}
        extra: dict[str, Any] = {
            "kept": decision.kept,
            "why": decision.why,
            "fairShare": fair_share,
            "requestId": outcome.request_id,
            "verdict": outcome.verdict,
            "origin": outcome.origin,
            "cause": outcome.cause,
            "context": {name: value for name, value in context.items() if value is not None},
        }
        extra |= {"judged": seen.verdict} if seen.verdict is not None else {}
        extra |= {"masked": len(rectangles)} if rectangles else {}
        extra |= {"leftOut": left_out} if left_out else {}
        event = Event(
            id=outcome_key(outcome.request_id),
            fleet=self._edge_manager.DeviceFleetName,
            device=self._device,
            model=outcome.model,
            model_version=seen.model_version or "",
            time=outcome.written_at or outcome.time.published or utc_now(),
            extra=extra,
        )
        return self._compose(event, items, decision)

    def _pieces(
        self, judged: Judged, rectangles: Sequence[Rectangle]
    ) -> Iterator[tuple[str, Callable[[], list[Item]]]]:
        """Yield the pieces of evidence that there are, each with what makes its items; those raise RequestError."""
        request, inputs = judged.request, judged.evidence
        keep, frame = inputs.keep, inputs.frame
        if isinstance(request.source, TensorsSource):
            if "input" in keep and inputs.input is not None:
                yield "input", lambda: _input(inputs, ())
            elif "image" in keep or "input" in keep:
                yield "image", lambda: _given(request)
        else:
            if "input" in keep and inputs.input is not None:
                yield "input", lambda: _input(inputs, rectangles)
            if "image" in keep and frame is not None:
                yield "image", lambda: self._image(frame, rectangles)
            if "overlay" in keep and frame is not None:
                yield "overlay", lambda: self._overlay(frame, rectangles, judged.result, inputs)
        if "outputs" in keep:
            yield "outputs", lambda: [_tensor("outputs", name, value) for name, value in inputs.outputs.items()]

    def _image(self, frame: Frame, rectangles: Sequence[Rectangle]) -> list[Item]:
        if frame.layout is not None:
            data, suffix = _raw(frame, rectangles), "bin"
        elif frame.pixels is not None:
            data, suffix = encode(self._pixels(frame, rectangles)), "jpg"
        elif rectangles:
            with self._alone(frame):
                data, suffix = masks.masked_file(frame.data, rectangles, max_pixels=self._max_pixels)
        else:
            data, suffix = frame.data, _SUFFIX[sniff(frame.data)]
        return [Item("auxiliary-inputs", "image", suffix, data, suffix=suffix)]

    def _overlay(
        self, frame: Frame, rectangles: Sequence[Rectangle], result: Result, inputs: EvidenceInputs
    ) -> list[Item]:
        defects = inputs.model.card.defects if inputs.model else ()
        with self._alone(frame):
            pixels = self._pixels(frame, rectangles)
            data = draw(pixels if pixels.ndim > 2 else np.dstack([pixels] * 3), result, defects)  # noqa: PLR2004 - gray
        return [Item("auxiliary-outputs", "overlay", "overlay.jpg", data, suffix="jpg")]

    def _alone(self, frame: Frame) -> AbstractContextManager[object]:
        """Return what a large image waits for before it is decoded: together they would fill the memory."""
        needed = 0 if frame.pixels is not None else decoding_bytes(frame.data, max_pixels=self._max_pixels)
        return self._large if needed > _LARGE_BYTES else nullcontext()

    def _pixels(self, frame: Frame, rectangles: Sequence[Rectangle]) -> NDArray[np.uint8]:
        """Return the masked pixels of a frame, height x width x 3 (BGR) or gray, to be drawn on."""
        if frame.layout is not None:
            raise ImageUndecodable(_NOT_CONVERTED)
        if frame.pixels is None:
            pixels = decode_all(frame.data, max_pixels=self._max_pixels, is_bgr=True)
        else:
            pixels = frame.pixels.copy()
        masks.black_out(pixels, rectangles)
        return pixels


def _input(inputs: EvidenceInputs, rectangles: Sequence[Rectangle]) -> list[Item]:
    tensor, model = inputs.input, inputs.model
    if tensor is None or model is None:
        return []
    if rectangles and model.preparation is not None and inputs.geometry is not None:
        masks.black_out_input(tensor, model.preparation, inputs.geometry, rectangles)
    return [_tensor("inputs", model.card.input.name, tensor[np.newaxis])]


def _raw(frame: Frame, rectangles: Sequence[Rectangle]) -> bytes:
    """Return a raw image as it came, which was refused before it became pixels; with masks there is none to keep."""
    if rectangles:
        raise ImageUndecodable(_NOT_CONVERTED)
    return frame.data


def _given(request: Request) -> list[Item]:
    """Return a request's own tensors, as they came."""
    if not isinstance(request.source, TensorsSource):
        return []
    try:
        return [
            _tensor("inputs", one.name, np.array(one.values, DTYPES[one.datatype]).reshape(1, *one.shape))
            for one in request.source.tensors
        ]
    except (ValueError, OverflowError) as error:
        raise TensorValues(f"the tensors are not what they say: {error}") from None


def _tensor(group: Any, name: str, values: NDArray[Any]) -> Item:
    """Return a tensor, its bytes little-endian in row-major order, as everything that runs this is."""
    return Item(group, name, tensor_type(_WORDS[values.dtype], values.shape), values.tobytes())


def _source(request: Request) -> dict[str, Any]:
    """Return where the image or the numbers came from; of an address not what stands behind its `?`."""
    source: dict[str, Any] = summarize(request)["source"]
    if isinstance(request.source, UrlSource):
        source = {**source, "url": source["url"].partition("?")[0]}
    return source
