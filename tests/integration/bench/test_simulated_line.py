"""The whole line as processes: judged well. What the death of each of them costs is in tests/faults/test_kill.py."""

import shutil
from collections import Counter
from collections.abc import AsyncIterator

import httpx
import numpy as np
import pytest
import pytest_asyncio
import yaml
from asyncua import Client

from lineside.contract import TensorsSource
from lineside_bench import config
from lineside_bench.config import SPINDLE, SPINDLE_MODEL
from lineside_bench.errors import BenchError
from lineside_bench.options import Options
from lineside_bench.parts.spindle import TAGS, WINDOW, SpindleSimulator
from lineside_bench.plcs.station import NAMESPACE
from lineside_bench.processes.ports import DEFAULTS
from lineside_bench.reporting.records import VERDICTS, Exchange
from lineside_bench.reporting.report import has_faults
from lineside_bench.runner.simulated_line import SimulatedLine
from tests.support.paths import ROOT
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

MODELS = ROOT / "models"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def line() -> AsyncIterator[SimulatedLine]:
    ports = {name: 18330 + number for number, name in enumerate(DEFAULTS)}
    async with SimulatedLine(Options(parts=None, rate=10, seed=11, port_defaults=ports)) as line:
        yield line


async def test_every_part_is_judged_once_in_time_and_right(line: SimulatedLine) -> None:
    await line.run(40)
    summary = await line.summary()
    assert summary["parts"] == sum(summary["verdicts"].values()) == 40
    assert (summary["missing"], summary["duplicates"], summary["wrong_write_backs"]) == (0, 0, 0)
    assert summary["accuracy"] >= 0.9
    assert summary["engine"]["server"] == "triton"
    assert summary["engine"]["transport"] == "shared-memory"
    stages = {stage: quantiles["p50"] for stage, quantiles in summary["stages_ms"].items()}
    assert None not in stages.values()
    # The stages are measured one by one, on both sides of three processes: together they must be the whole way.
    assert sum(stages.values()) == pytest.approx(summary["latency_ms"]["p50"], rel=0.4)


async def test_the_evidence_of_every_fail_arrives_once_with_its_picture(line: SimulatedLine) -> None:
    await line.run(12)
    summary = await line.summary()
    assert summary["evidence"]["captured"] >= summary["verdicts"]["fail"] > 0
    assert {**summary["evidence"], "captured": 0} == {
        "captured": 0,
        "delivered": summary["evidence"]["captured"],
        "repeated": 0,
        "lost": 0,
        "missed": 0,
    }
    fails = {part.write_backs[0].request_id for part in line.records if part.verdict == "fail"}
    assert fails <= line.files.events.keys()
    pictures = list((line.work / config.CAPTURE).rglob("*.jpg"))
    assert len(pictures) >= len(fails)


async def spindle_score(line: SimulatedLine, window: np.ndarray) -> float:
    """Return what the model says of a window, asked past the whole line."""
    tensor = {"name": "window", "datatype": "FP32", "shape": [1, *window.shape], "data": window.ravel().tolist()}
    async with httpx.AsyncClient() as client:
        url = f"{line.state['endpoints']['triton_http']}/v2/models/{SPINDLE_MODEL}/infer"
        answer = await client.post(url, json={"inputs": [tensor]})
    return answer.json()["outputs"][0]["data"][0]


async def test_the_spindles_windows_are_the_simulators_own_history_and_judged(line: SimulatedLine) -> None:
    def judged() -> list[Exchange]:
        seen = line.observer.exchanges().values()
        return [each for each in seen if each.request and each.request.context.station == SPINDLE and each.results]

    await until(lambda: bool(judged()))
    exchange = judged()[0]
    assert exchange.request is not None
    result = exchange.results[0].result
    assert result.status == "ok", result.reason
    assert result.model is not None
    assert result.model.name == SPINDLE_MODEL
    assert isinstance(exchange.request.source, TensorsSource)
    (tensor,) = exchange.request.source.tensors
    sent = np.array(tensor.values).reshape(WINDOW, len(TAGS))
    simulator = SpindleSimulator(line.options.seed)
    history = np.array([simulator.step() for _ in range(3000)])
    places = [int(np.argmin(np.abs(history - row).max(axis=1))) for row in sent]
    np.testing.assert_allclose(sent, history[places], rtol=5e-7)
    # The PLC is no metronome: a sample may stand twice or be skipped, and none comes out of its turn.
    assert np.diff(places).min() >= 0
    assert WINDOW / 2 < places[-1] - places[0] <= WINDOW + 2
    # The verdict is the model's of these samples. A sound spindle's pass; one that stands still is none.
    limit = yaml.safe_load((MODELS / SPINDLE_MODEL / "card.yaml").read_text())["thresholds"]["default"]
    score = await spindle_score(line, sent)
    assert result.verdict == ("fail" if score >= limit else "pass"), (score, result.reason)
    assert await spindle_score(line, history[places[0] : places[0] + WINDOW]) < limit
    assert await spindle_score(line, np.repeat(history[places[:1]], WINDOW, axis=0)) >= limit
    windows = (await line.summary())["windows"]
    verdicts = Counter(each.results[0].result.verdict for each in judged())
    assert (windows["asked"], windows["unanswered"]) == (verdicts.total(), 0)
    assert windows["verdicts"] == {verdict: verdicts[verdict] for verdict in VERDICTS}


async def test_the_state_names_what_really_runs(line: SimulatedLine) -> None:
    async with httpx.AsyncClient() as client:
        for name in ("inference", "topic_bridge", "opcua_bridge"):
            answer = await client.get(f"{line.state['endpoints'][name]}/readyz")
            assert answer.json()["service"] == name
    assert all(process["pid"] for process in line.state["processes"].values())


async def write_done(line: SimulatedLine, station: int, **values: object) -> None:
    """Write as a bridge gone wrong would."""
    async with Client(line.plc.url) as client:
        index = await client.get_namespace_index(NAMESPACE)
        for tag, value in {**values, "Done": True}.items():
            await client.get_node(f"ns={index};s=Station{station}.{tag}").write_value(value)


async def test_the_report_catches_a_bridge_gone_wrong(line: SimulatedLine) -> None:
    """The negative control: without it the zeroes above would prove nothing. Spoils the figures: keep it last."""
    await write_done(line, 1)
    assert (await line.summary())["duplicates"] == 1
    await write_done(line, 2, Verdict="pass", RequestId="made-up", Confidence=1.0)
    summary = await line.summary()
    assert (summary["duplicates"], summary["wrong_write_backs"]) == (2, 1)
    assert has_faults(summary)


async def test_a_service_that_cannot_start_is_named_its_log_kept_and_nothing_left_running(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = config.settings_document

    def misspelt(*given: object, **named: object) -> dict:
        document = real(*given, **named)
        document["topic_bridge"]["inference_ulr"] = "http://127.0.0.1:1"
        return document

    monkeypatch.setattr(config, "settings_document", misspelt)
    line = SimulatedLine(Options(parts=1, port_defaults={name: 18350 + number for number, name in enumerate(DEFAULTS)}))
    with pytest.raises(BenchError, match=r"(?s)topic-bridge ended with exit status 2.*inference_ulr.*inference_url"):
        await line.__aenter__()
    try:
        assert "inference_ulr" in (line.work / "topic-bridge.log").read_text()
        assert [process.pid for process in line.processes.values() if process.pid] == []
    finally:
        shutil.rmtree(line.work)
