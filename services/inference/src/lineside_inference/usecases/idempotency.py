"""The same id asked again gets the same answer, byte for byte, and runs once, also while the first is under way."""

import asyncio
import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass

from lineside.contract import InlineSource, Request, TensorsSource
from lineside_inference.errors import IdReused

_EXACT = 2**53
"""Up to here a double tells whole numbers apart."""


@dataclass(frozen=True)
class _Kept:
    fingerprint: bytes
    answer: bytes


@dataclass(frozen=True)
class _Running:
    fingerprint: bytes
    task: asyncio.Task[bytes]


class AnswerCache:
    """The last answers by the request's id; the oldest is forgotten first, above `max_count` or `max_bytes` of them.

    Requests that run are bounded by admission, and are never forgotten.
    """

    def __init__(self, *, max_count: int, max_bytes: int) -> None:
        self._max_count = max_count
        self._max_bytes = max_bytes
        self._bytes = 0
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._running: dict[str, _Running] = {}

    def __len__(self) -> int:
        return len(self._kept)

    async def answer(
        self, request: Request, fingerprint: bytes, run: Callable[[], Coroutine[None, None, bytes]]
    ) -> tuple[bytes, bool]:
        """Return the answer, and whether it is a repeat; raises IdReused where the content is another one.

        `run` goes on when the caller goes away, so that its answer is there when
        the caller asks again.
        """
        known = self._kept.get(request.id) or self._running.get(request.id)
        if known is not None and known.fingerprint != fingerprint:
            raise IdReused(
                f"id {request.id!r} was used before, for a request with other content",
                remedy="Give every request an id of its own",
            )
        if isinstance(known, _Kept):
            self._kept.move_to_end(request.id)
            return known.answer, True
        if known is not None:
            return await asyncio.shield(known.task), True
        task = asyncio.get_running_loop().create_task(run(), name=f"request {request.id}")
        self._running[request.id] = _Running(fingerprint, task)
        task.add_done_callback(lambda done: self._ended(request.id, fingerprint, done))
        return await asyncio.shield(task), False

    def _ended(self, request_id: str, fingerprint: bytes, task: asyncio.Task[bytes]) -> None:
        del self._running[request_id]
        if task.cancelled() or task.exception() is not None:
            return
        self._kept[request_id] = _Kept(fingerprint, task.result())
        self._bytes += _weight(request_id, task.result())
        while len(self._kept) > self._max_count or self._bytes > self._max_bytes:
            oldest, kept = self._kept.popitem(last=False)
            self._bytes -= _weight(oldest, kept.answer)


def fingerprint(request: Request) -> bytes:
    """Return a digest of what a request asks: model, version, source, context, and whether to keep the evidence.

    Not when, nor how long it waits.
    """
    digest = hashlib.sha256()  # which processors have instructions for: half the time of BLAKE2 on an image
    digest.update(f"{request.model}\0{request.model_version or ''}\0{request.capture:d}\0".encode())
    source = request.source
    if isinstance(source, InlineSource):
        digest.update(source.content_type.encode() + b"\0")
        digest.update(source.data)
    elif isinstance(source, TensorsSource):
        digest.update(source.model_dump_json(exclude={"tensors": {"__all__": {"values"}}}).encode())
        for tensor in source.tensors:
            digest.update(_numbers(tensor.values))
    else:
        digest.update(source.model_dump_json().encode())
    digest.update(b"\0" + request.context.model_dump_json().encode())
    return digest.digest()


def _numbers(values: Sequence[bool | int | float]) -> bytes:
    """Return bytes that are the same for the same numbers; fast, because it is done for every one of many."""
    is_exact = min(values, default=0) >= -_EXACT and max(values, default=0) <= _EXACT
    if bool in set(map(type, values)) or not is_exact:
        return repr(values).encode()
    return array("d", values).tobytes()


def _weight(request_id: str, answer: bytes) -> int:
    return len(answer) + len(request_id) + 200  # and about what the containers take
