"""Observations from Prometheus: the counters and histograms of the boxes' exporters, by device and slice of time.

Each series is asked for over the window by `query_range`, a value at each end of a slice, as Prometheus' own `increase`
from one end to the next: resets of counters are seen by Prometheus, and what it extrapolates at a slice's ends is small
against a slice of minutes. Counts are whole numbers there only on the average, so they are rounded.

Latency's buckets are as the inference service has them, 15, 20, 25, 30, 40 ms: far wider than a margin of 5 %. The gate
widens a quantile's bounds by them, so that a quantile can be shown to be much longer, and not to be as long. How many
parts are over an edge is counted exactly: `gate.slow` compares that, and can show both.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpx
import numpy as np

from lineside_fleet.gate.observations import SLICES, Bins, Cell, Observations, Window
from lineside_fleet.gate.sources.errors import NothingThere, NotObserved

MAX_SERIES: Final = 20_000
MAX_BYTES: Final = 64 * 1024 * 1024
LEAST_SLICE_S: Final = 60.0
"""Seconds of a slice: with scrapes every 15 s a shorter one holds too few of them."""
TIMEOUT_S: Final = 30.0

_REQUESTS = "lineside_inference_requests_total"
_VERDICTS = "lineside_inference_verdicts_total"
_LATENCY = "lineside_inference_stage_seconds_bucket"
_CONFIDENCE = "lineside_inference_confidence_ratio_bucket"

Series = tuple[Mapping[str, str], Mapping[int, float]]
"""Labels, and the increase in each slice that has one."""


@dataclass(frozen=True, slots=True)
class Prometheus:
    """Where to ask, which label names a device, and what else every series must have, as PromQL's matchers."""

    url: str
    device_label: str = "thing"
    matchers: str = ""
    timeout_s: float = TIMEOUT_S
    transport: httpx.BaseTransport | None = None
    """What carries the calls, where it is not the network."""

    def observe(self, window: Window, *, model: str, devices: Sequence[str] = (), version: str = "") -> Observations:
        """Return what Prometheus has of a model on these devices, all where none is named; raises NotObserved.

        Series bear no version of the model, so `version` is what the caller knows to have run in the window.
        """
        step = window.seconds / SLICES
        if step < LEAST_SLICE_S:
            raise NotObserved(
                f"a window of {window.seconds:g} s: its slices of {step:g} s hold too few scrapes",
                remedy=f"choose one of {LEAST_SLICE_S * SLICES / 60:g} minutes or more",
            )
        named = _quoted(model)
        with httpx.Client(
            base_url=self.url, timeout=self.timeout_s, trust_env=False, transport=self.transport
        ) as client:
            asked = _Asked(self, client, window, devices)
            requests = asked.increase(_REQUESTS, f"model={named}", ("status",))
            verdicts = asked.increase(_VERDICTS, f"model={named}", ("verdict",))
            latency = asked.increase(_LATENCY, 'stage="total"', ("le",))
            confidence = asked.increase(_CONFIDENCE, f"model={named}", ("le",))
        cells = tuple(_cells(self.device_label, step, requests, verdicts, latency, confidence))
        if not cells:
            raise NothingThere(
                f"{self.url}: no series {_REQUESTS} of model {model} in the window",
                remedy=f"see the model's name, the label {self.device_label!r} and the matchers",
            )
        remarks = ("latency is that of all models of a device: its series bear no model",)
        return Observations(f"Prometheus at {self.url}", (version,) if version else (), window, cells, remarks=remarks)


@dataclass(frozen=True, slots=True)
class _Asked:
    source: Prometheus
    client: httpx.Client
    window: Window
    devices: Sequence[str]

    def increase(self, name: str, matcher: str, by: Sequence[str]) -> list[Series]:
        """Return the increase of a counter in each slice, by device and some labels."""
        source, step = self.source, self.window.seconds / SLICES
        matchers = [matcher, *([source.matchers] if source.matchers else [])]
        if self.devices:
            matchers.append(f"{source.device_label}=~{_quoted('|'.join(map(_literal, self.devices)))}")
        seconds = max(1, round(step))
        query = (
            f"sum by ({', '.join((source.device_label, *by))}) (increase({name}{{{', '.join(matchers)}}}[{seconds}s]))"
        )
        start = self.window.start.timestamp()
        ends = {"start": f"{start + step:.3f}", "end": f"{start + step * SLICES:.3f}", "step": f"{step:.3f}"}
        return [_series(each, start, step) for each in self._ask({"query": query, **ends})]

    def _ask(self, parameters: Mapping[str, str]) -> list[Any]:
        where = f"{self.source.url}: query_range"
        try:
            with self.client.stream("POST", "/api/v1/query_range", data=dict(parameters)) as answer:
                body = bytearray()
                for piece in answer.iter_bytes():
                    body += piece
                    if len(body) > MAX_BYTES:
                        raise NotObserved(f"{where}: more than {MAX_BYTES} bytes", remedy="narrow it by matchers")
        except httpx.HTTPError as error:
            raise NotObserved(
                f"{where}: {type(error).__name__}: {error}", remedy="see that Prometheus runs there", transient=True
            ) from None
        try:
            document = httpx.Response(200, content=bytes(body)).json()
            result = document["data"]["result"] if document["status"] == "success" else None
        except (ValueError, KeyError, TypeError):
            raise NotObserved(
                f"{where}: {answer.status_code}, and no answer of Prometheus: {bytes(body[:80])!r}",
                remedy="see that the address is Prometheus' own",
            ) from None
        if result is None:
            raise NotObserved(f"{where}: {document.get('error', answer.status_code)}", remedy="see the matchers")
        if len(result) > MAX_SERIES:
            raise NotObserved(f"{where}: {len(result)} series, of {MAX_SERIES} at most", remedy="narrow it by matchers")
        return list(result)


def _series(given: Mapping[str, Any], start: float, step: float) -> Series:
    found: dict[int, float] = {}
    for moment, value in given["values"]:
        number = round((float(moment) - start) / step) - 1
        if 0 <= number < SLICES and math.isfinite(float(value)):
            found[number] = float(value)
    return given["metric"], found


def _cells(
    label: str,
    step: float,
    requests: list[Series],
    verdicts: list[Series],
    latency: list[Series],
    confidence: list[Series],
) -> list[Cell]:
    counted = _by_cell(label, "status", requests)
    judged = _by_cell(label, "verdict", verdicts)
    slow, sure = _by_cell(label, "le", latency), _by_cell(label, "le", confidence)
    cells = []
    for (device, number), by_status in sorted(counted.items()):
        # A wrong request is about no part, and a paused line judges none.
        parts = {status: count for status, count in by_status.items() if status not in {"rejected", "disabled"}}
        fails = round(judged.get((device, number), {}).get("fail", 0.0))
        passes = round(judged.get((device, number), {}).get("pass", 0.0))
        all_ = max(round(sum(parts.values())), fails + passes)
        errors = min(round(sum(count for status, count in parts.items() if status != "ok")), all_ - fails - passes)
        bins = [_bins(each.get((device, number))) for each in (slow, sure)]
        milliseconds = Bins(bins[0].edges * 1000, bins[0].counts) if bins[0] else None
        unknowns = all_ - fails - passes
        cells.append(Cell(device, number, step, all_, max(0, errors), unknowns, fails, milliseconds, bins[1]))
    return cells


def _by_cell(label: str, by: str, series: list[Series]) -> dict[tuple[str, int], dict[str, float]]:
    found: dict[tuple[str, int], dict[str, float]] = {}
    for labels, values in series:
        for number, value in values.items():
            found.setdefault((labels.get(label, ""), number), {})[labels.get(by, "")] = value
    return found


def _bins(cumulative: Mapping[str, float] | None) -> Bins | None:
    """Return a histogram's buckets, which count all values up to their bound, as counts between bounds."""
    if not cumulative:
        return None
    bounds = sorted((float(bound), count) for bound, count in cumulative.items() if bound)
    edges = np.array([0.0, *(bound for bound, _count in bounds)])
    counts = np.diff([0.0, *(count for _bound, count in bounds)])
    # Prometheus extrapolates each bucket by itself, so that one may come out a trifle below the one before it.
    return Bins(edges, np.maximum(counts, 0.0)) if counts.sum() > 0 else None


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _literal(text: str) -> str:
    """Return a text as a regular expression of RE2 that matches it alone."""
    return "".join(each if each.isalnum() or each in "_- :" else f"\\{each}" for each in text)
