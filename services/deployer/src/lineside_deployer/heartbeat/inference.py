"""What the inference service says of its models: versions, Triton's statistics, and how many captures were kept."""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families
from pydantic import BaseModel, ValidationError

from lineside.connections import Connection
from lineside.secret_files import SecretFileError, read_token

ANSWER_S = 5.0
_MAX_BYTES = 8 * 1024 * 1024
_CAPTURES = "lineside_inference_captures_total"


class _Spent(BaseModel):
    count: int = 0
    ns: int = 0


class _Times(BaseModel):
    success: _Spent = _Spent()
    fail: _Spent = _Spent()


class Statistics(BaseModel):
    """Triton's statistics of one version."""

    name: str
    version: str
    last_inference: int = 0
    """Milliseconds since 1970; 0 where it was never asked."""
    inference_count: int = 0
    inference_stats: _Times = _Times()


class _AllStatistics(BaseModel):
    model_stats: list[Statistics]


class _Model(BaseModel):
    name: str
    version: str | None = None


class _Models(BaseModel):
    models: list[_Model]


@dataclass(frozen=True)
class Seen:
    """What was read at once: versions in force by model, statistics by model and version, captures by model."""

    versions: dict[str, str]
    statistics: dict[tuple[str, str], Statistics]
    captures: dict[str, float]


class InferenceReader:
    """Asks the service; while it does not answer nothing is known, and nothing old is told."""

    def __init__(self, client: httpx.AsyncClient, connection: Connection, token_file: Path | None) -> None:
        self._client = client
        self._connection = connection
        self._token_file = token_file
        self._captured: dict[str, float] = {}
        self.sampled: dict[str, float] = {}
        """When the captures of a model were last seen to have become more, by this box's clock."""

    async def read(self) -> Seen | None:
        """Return what it says; None where it cannot be asked."""
        try:
            models = _Models.model_validate_json(await self._get("/v1/models"))
            statistics = _AllStatistics.model_validate_json(await self._get("/v2/models/stats"))
            captures = _captures((await self._get("/metrics")).decode())
        except (httpx.HTTPError, ValidationError, SecretFileError, ValueError, TimeoutError) as error:
            self._connection.backoff(error if str(error) else type(error).__name__)
            return None
        self._connection.online()
        for name, count in captures.items():
            before = self._captured.get(name)
            if before is not None and count > before:
                self.sampled[name] = time.time()
        self._captured = captures
        return Seen(
            {each.name: each.version for each in models.models if each.version is not None},
            {(each.name, each.version): each for each in statistics.model_stats},
            captures,
        )

    async def _get(self, path: str) -> bytes:
        headers = {"Authorization": f"Bearer {read_token(self._token_file)}"} if self._token_file else {}
        async with asyncio.timeout(ANSWER_S), self._client.stream("GET", path, headers=headers) as answer:
            answer.raise_for_status()
            body = b""
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > _MAX_BYTES:
                    raise ValueError(f"{path} answers more than {_MAX_BYTES} bytes")
        return body


def _captures(text: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == _CAPTURES:
                model = sample.labels.get("model", "")
                found[model] = found.get(model, 0.0) + sample.value
    return found
