"""A new version's warm-up: made-up parts through the real preparation, the real Triton and the real interpretation.

What it proves: the images reach the model, the outputs are finite and shaped as the card says. Not that its verdicts
are right: the parts are noise.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import cv2
import numpy as np

from lineside.contract import InlineSource, Request, Source, Tensor, TensorsSource
from lineside_inference.imaging.encode import encode
from lineside_inference.models.card import Card
from lineside_inference.models.dtypes import DTYPES
from lineside_inference.models.store import Model

_LARGEST_SIDE = 4096
_SEED = 20


async def warm_up(
    model: Model, dry_run: Callable[[Request, Model], Awaitable[object]], *, times: int, within_s: float
) -> None:
    """Judge so many different made-up parts, one after another; raises the RequestError of the first that fails."""
    async for part in parts(model, times=times, within_s=within_s):
        await dry_run(part, model)


async def parts(model: Model, *, times: int, within_s: float) -> AsyncIterator[Request]:
    """Yield so many different made-up parts, always the same ones, each with `within_s` as its deadline."""
    deadline_ms = max(1.0, min(within_s * 1000, 600_000.0))
    for number in range(times):
        part = await asyncio.to_thread(made_up, model.card, _SEED + number)
        yield Request.new(model=model.card.name, source=part, deadline_ms=deadline_ms)


def made_up(card: Card, seed: int) -> Source:
    """Return a part that fits a card's input: a JPEG of smooth noise twice its size, or numbers between 0 and 1."""
    rng = np.random.default_rng(seed)
    image = card.input.image
    if image is not None:
        width, height = min(image.width * 2, _LARGEST_SIDE), min(image.height * 2, _LARGEST_SIDE)
        coarse = rng.integers(0, 256, (max(1, height // 16), max(1, width // 16), 3), dtype=np.uint8)
        pixels = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
        return InlineSource(content_type="image/jpeg", data=encode(pixels, quality=95))
    dtype = np.dtype(DTYPES[card.input.datatype])
    values = rng.random(card.input.shape).astype(dtype).reshape(-1).tolist()
    tensor = Tensor(name=card.input.name, datatype=card.input.datatype, shape=card.input.shape, values=values)
    return TensorsSource(tensors=(tensor,))
