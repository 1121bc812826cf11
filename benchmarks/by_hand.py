"""The alternative that the service is measured against: decode, prepare and call Triton, by hand, in one process.

No HTTP, no limits, no deadline, no policy, no retries, no metrics: what an engineer writes in an hour, written well.
Two ways of it, and the quicker one counts: `Threads` has a thread a caller with Triton's synchronous gRPC client
(OpenCV leaves the interpreter's lock, so that they decode side by side), `Loop` is one asyncio loop that decodes in
line.
"""

import asyncio
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio

LABELS = ("good", "scratch", "pit", "stain", "dent")
MODEL = "surface-defect"
SIZE = 160
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)


def prepare(jpeg: bytes) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    image = cv2.cvtColor(cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)
    return np.ascontiguousarray(((image.astype(np.float32) / 255 - MEAN) / STD).transpose(2, 0, 1)[np.newaxis])


def verdict(logits: np.ndarray) -> str:
    scores = np.exp(logits - logits.max())
    best = int((scores / scores.sum()).argmax())
    return "pass" if LABELS[best] == "good" else "fail"


class Threads:
    def __init__(self, url: str, threads: int) -> None:
        self._url = url
        self._local = threading.local()
        self._pool = ThreadPoolExecutor(threads)
        self._threads = threads

    def judge(self, jpeg: bytes) -> str:
        client = getattr(self._local, "client", None)
        if client is None:
            client = self._local.client = triton.InferenceServerClient(self._url)
        tensor = prepare(jpeg)
        wanted = triton.InferInput("image", list(tensor.shape), "FP32")
        wanted.set_data_from_numpy(tensor)
        return verdict(client.infer(MODEL, [wanted]).as_numpy("logits")[0])

    async def ask(self, jpeg: bytes) -> str:
        return await asyncio.get_running_loop().run_in_executor(self._pool, self.judge, jpeg)

    async def rate(self, jpegs: Sequence[bytes], seconds: float) -> float:
        """Return requests/s of all threads together."""

        def work(first: int) -> int:
            done = 0
            until = time.perf_counter() + seconds
            while time.perf_counter() < until:
                self.judge(jpegs[(first + done) % len(jpegs)])
                done += 1
            return done

        loop = asyncio.get_running_loop()
        start = time.perf_counter()
        done = await asyncio.gather(*(loop.run_in_executor(self._pool, work, first) for first in range(self._threads)))
        return sum(done) / (time.perf_counter() - start)

    async def close(self) -> None:
        self._pool.shutdown()


class Loop:
    def __init__(self, url: str, tasks: int) -> None:
        self._client = triton_aio.InferenceServerClient(url)
        self._tasks = tasks

    async def ask(self, jpeg: bytes) -> str:
        tensor = prepare(jpeg)
        wanted = triton.InferInput("image", list(tensor.shape), "FP32")
        wanted.set_data_from_numpy(tensor)
        return verdict((await self._client.infer(MODEL, [wanted])).as_numpy("logits")[0])

    async def rate(self, jpegs: Sequence[bytes], seconds: float) -> float:
        """Return requests/s of all tasks together."""
        start = time.perf_counter()

        async def work(first: int) -> int:
            done = 0
            while time.perf_counter() < start + seconds:
                await self.ask(jpegs[(first + done) % len(jpegs)])
                done += 1
            return done

        done = await asyncio.gather(*(work(first) for first in range(self._tasks)))
        return sum(done) / (time.perf_counter() - start)

    async def close(self) -> None:
        await self._client.close()
