"""From a trigger in the PLC to the verdict in the PLC, over real OPC UA and the in-memory bus."""

from typing import Any

import pytest
from asyncua import ua

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_part_gets_its_verdict(steady: Any, line_of: Any, configure: Any, wait_until: Any) -> None:
    await steady.reset()
    async with line_of(configure(steady)) as line:
        await line.ready()
        await steady.part("Station1", "P-1")
        request = await line.request()
        assert request.model == "surface-defect"
        assert request.source.camera == "station-1"
        assert request.context.station == "station-1"
        assert request.context.part_id == "P-1"
        assert request.context.tags == {"speed": 1200.5}
        assert 2500 <= request.deadline_ms <= 4980  # of the 5000 less the margin, which is for the write-back
        assert request.time.source <= request.time.received <= request.time.published
        assert request.time.server is not None
        await line.answer(request, "fail")
        await wait_until(lambda: steady.get("Station1", "Done"))
        assert steady.get("Station1", "Verdict") == "fail"
        assert steady.get("Station1", "Confidence") == 0.93
        assert steady.get("Station1", "RequestId") == request.id
        written = [path for path, value in steady.writes if value is not False][-4:]
        assert written[-1] == "Station1.Done"
        assert set(written) == {f"Station1.{tag}" for tag in ("Verdict", "Confidence", "RequestId", "Done")}
        await wait_until(lambda: line.metric("verdicts_total", trigger="station-1", verdict="fail", origin="result"))
        assert line.metric("trigger_to_verdict_seconds_count", trigger="station-1") == 1
        assert line.metric("results_total", kind="matched") == 1


async def test_many_parts_one_done_each(steady: Any, line_of: Any, configure: Any, wait_until: Any) -> None:
    await steady.reset()
    async with line_of(configure(steady, steady.trigger(1, debounce_ms=0))) as line:
        await line.ready()
        for number in range(1, 31):
            await steady.part("Station1", f"P-{number}")
            request = await line.request(number)
            assert request.context.part_id == f"P-{number}"
            await line.answer(request, "pass")
            await wait_until(lambda: steady.get("Station1", "Done"))
            assert steady.get("Station1", "RequestId") == request.id
            await steady.leave("Station1")
        assert steady.dones("Station1") == 30
        assert len(line.requests()) == 30


async def test_the_deadline_writes_unknown_and_a_late_result_is_not_written(
    steady: Any, line_of: Any, configure: Any, wait_until: Any
) -> None:
    await steady.reset()
    async with line_of(configure(steady, steady.trigger(1, deadline_ms=2000))) as line:
        await line.ready()
        await steady.part("Station1", "P-1")
        request = await line.request()
        await wait_until(lambda: steady.get("Station1", "Done"))
        assert steady.get("Station1", "Verdict") == "unknown"
        assert steady.get("Station1", "Confidence") == 0.0
        await line.answer(request, "pass")
        await wait_until(lambda: line.metric("results_total", kind="late"))
        await steady.leave("Station1")
        await steady.part("Station1", "P-2")
        second = await line.request(2)
        await line.answer(request, "pass")
        await line.answer(second, "fail")
        await wait_until(lambda: steady.get("Station1", "Done"))
        assert steady.get("Station1", "Verdict") == "fail"
        assert steady.dones("Station1") == 2
        assert "pass" not in [value for path, value in steady.writes if path == "Station1.Verdict"]
        assert line.metric("verdicts_total", trigger="station-1", verdict="unknown", origin="deadline") == 1
        assert line.metric("results_total", kind="late") == 2


async def test_a_newer_part_supersedes_the_one_that_waits(
    steady: Any, line_of: Any, configure: Any, wait_until: Any
) -> None:
    await steady.reset()
    async with line_of(configure(steady)) as line:
        await line.ready()
        await steady.part("Station1", "P-1")
        first = await line.request()
        await steady.leave("Station1")
        await steady.part("Station1", "P-2")
        second = await line.request(2)
        await line.answer(first, "pass")
        await wait_until(lambda: line.metric("results_total", kind="late"))
        assert steady.get("Station1", "Done") is False
        await line.answer(second, "fail")
        await wait_until(lambda: steady.get("Station1", "Done"))
        assert steady.get("Station1", "RequestId") == second.id
        assert line.metric("unanswered_parts_total", trigger="station-1", reason="superseded") == 1


async def test_a_result_that_comes_twice_is_written_once(
    steady: Any, line_of: Any, configure: Any, wait_until: Any
) -> None:
    await steady.reset()
    async with line_of(configure(steady)) as line:
        await line.ready()
        await steady.part("Station1", "P-1")
        request = await line.request()
        await line.answer(request, "pass")
        await line.answer(request, "pass")
        await line.answer(request.model_copy(update={"id": "somebody-elses"}), "pass")
        await line.bus.publish("local/inference/result", b"{")
        await wait_until(lambda: line.metric("results_total", kind="unreadable"))
        await wait_until(lambda: line.metric("results_total", kind="duplicate"))
        assert line.metric("results_total", kind="unasked") == 1
        assert steady.dones("Station1") == 1


async def test_stations_do_not_wait_for_each_other(steady: Any, line_of: Any, configure: Any, wait_until: Any) -> None:
    await steady.reset()
    async with line_of(configure(steady, steady.trigger(1), steady.trigger(2))) as line:
        await line.ready()
        await steady.part("Station1", "P-1")
        await steady.part("Station2", "Q-1")
        await line.request(2)
        of = {request.context.station: request for request in line.requests()}
        await line.answer(of["station-2"], "pass")
        await wait_until(lambda: steady.get("Station2", "Done"))
        assert steady.get("Station1", "Done") is False
        assert steady.get("Station1", "Verdict") == ""
        await line.answer(of["station-1"], "fail")
        await wait_until(lambda: steady.get("Station1", "Done"))
        assert steady.get("Station2", "Verdict") == "pass"


async def test_edges_within_the_debounce_are_counted_not_asked(
    steady: Any, line_of: Any, configure: Any, wait_until: Any
) -> None:
    await steady.reset()
    async with line_of(configure(steady, steady.trigger(1, debounce_ms=10_000))) as line:
        await line.ready()
        await steady.part("Station1", "P-1")
        await steady.leave("Station1")
        await steady.set("Station1", "PartPresent", value=True)
        await wait_until(lambda: line.metric("triggers_total", trigger="station-1", kind="debounced"))
        await line.answer(await line.request(), "pass")
        await wait_until(lambda: steady.get("Station1", "Done"))
        assert len(line.requests()) == 1


async def test_a_part_that_arrives_within_the_debounce_is_found_after_it(
    steady: Any, line_of: Any, configure: Any, wait_until: Any
) -> None:
    await steady.reset()
    async with line_of(configure(steady, steady.trigger(1, debounce_ms=300))) as line:
        await line.ready()
        await steady.part("Station1", "P-1")
        await line.answer(await line.request(), "pass")
        await wait_until(lambda: steady.get("Station1", "Done"))
        await steady.leave("Station1")
        await steady.part("Station1", "P-2")
        assert (await line.request(2)).context.part_id == "P-2"
        assert line.metric("triggers_total", trigger="station-1", kind="debounced") == 1
        assert line.metric("triggers_total", trigger="station-1", kind="recovered") == 1


async def test_bad_quality_never_triggers_and_what_it_hid_is_recovered(
    steady: Any, line_of: Any, configure: Any, wait_until: Any
) -> None:
    await steady.reset()
    async with line_of(configure(steady)) as line:
        await line.ready()
        await steady.set("Station1", "PartPresent", value=True, status=ua.StatusCodes.BadSensorFailure)
        await wait_until(lambda: line.metric("triggers_total", trigger="station-1", kind="bad_quality"))
        assert not line.requests()
        await steady.part("Station1", "P-1")
        assert (await line.request()).context.part_id == "P-1"
        assert line.metric("triggers_total", trigger="station-1", kind="recovered") == 1


async def test_a_tag_of_bad_quality_is_absent_from_the_request(steady: Any, line_of: Any, configure: Any) -> None:
    await steady.reset()
    async with line_of(configure(steady)) as line:
        await line.ready()
        await steady.set("Station1", "Speed", 3.0, status=ua.StatusCodes.BadOutOfService)
        await steady.part("Station1", "P-1")
        request = await line.request()
        assert request.context.tags == {}
        assert request.context.part_id == "P-1"
        assert line.metric("sample_failures_total", trigger="station-1", reason="quality") == 1


async def test_the_broker_away_still_gives_unknown_in_time(
    steady: Any, line_of: Any, configure: Any, wait_until: Any
) -> None:
    await steady.reset()
    async with line_of(configure(steady, steady.trigger(1, deadline_ms=200))) as line:
        await line.ready()
        line.broker.online = False
        await steady.part("Station1", "P-1")
        await wait_until(lambda: steady.get("Station1", "Done"))
        assert steady.get("Station1", "Verdict") == "unknown"
        await wait_until(lambda: line.metric("requests_total", trigger="station-1", outcome="unsent"))


async def test_a_result_without_findings_carries_its_highest_score(
    steady: Any, line_of: Any, configure: Any, wait_until: Any
) -> None:
    await steady.reset()
    async with line_of(configure(steady)) as line:
        await line.ready()
        await steady.part("Station1", "P-1")
        await line.answer(await line.request(), "pass", findings=[], scores={"good": 0.97, "scratch": 0.03})
        await wait_until(lambda: steady.get("Station1", "Done"))
        assert steady.get("Station1", "Confidence") == 0.97
