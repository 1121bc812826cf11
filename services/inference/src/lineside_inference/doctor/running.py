"""What the inference service that runs here says of its engine and its cameras."""

import http.client
import json
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self

from prometheus_client.parser import text_string_to_metric_families

from lineside.checks import ask
from lineside.threads import run_abandonable
from lineside_inference.settings import InferenceHttpSettings

_OK = 200
_SECTION = "inference"


@dataclass(frozen=True)
class Running:
    """The engine as /v1/engine has it; each camera's frames since the start, and the age of its newest in seconds."""

    engine: dict[str, Any] = field(default_factory=dict)
    frames: dict[str, int] = field(default_factory=dict)
    ages: dict[str, float] = field(default_factory=dict)

    @classmethod
    async def ask(cls, settings: InferenceHttpSettings) -> Self:
        """Ask the service; what it does not tell us, for instance without a token, is left out."""
        try:
            return await run_abandonable(partial(cls._ask, settings))
        except (OSError, ValueError, http.client.HTTPException):
            return cls()

    @classmethod
    def _ask(cls, settings: InferenceHttpSettings) -> Self:
        _where, status, body = ask(_SECTION, settings, "/v1/engine")
        engine = json.loads(body) if status == _OK else {}
        _where, status, body = ask(_SECTION, settings, "/metrics")
        return cls.of(engine if isinstance(engine, dict) else {}, body.decode() if status == _OK else "")

    @classmethod
    def of(cls, engine: dict[str, Any], metrics: str) -> Self:
        """Read the metrics; raises ValueError where they are none."""
        frames: dict[str, int] = {}
        ages: dict[str, float] = {}
        for family in text_string_to_metric_families(metrics):
            for sample in family.samples:
                if sample.name == "lineside_inference_camera_frames_total" and sample.labels["outcome"] == "kept":
                    frames[sample.labels["camera"]] = int(sample.value)
                elif sample.name == "lineside_inference_camera_frame_age_seconds":
                    ages[sample.labels["camera"]] = sample.value
        return cls(engine, frames, ages)
