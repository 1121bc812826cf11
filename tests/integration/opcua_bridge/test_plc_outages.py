"""The PLC's server goes away, comes back different, refuses, hangs: no part is judged twice, none is left alone."""

import asyncio
from typing import Any

import pytest
from asyncua.ua.status_codes import StatusCodes

from lineside.contract import ServiceStatus, parse_status, status_topic


async def test_an_edge_during_an_outage_is_recovered_with_other_namespace_indices(
    plc: Any, line_of: Any, configure: Any, wait_until: Any
) -> None:
    await plc.start()
    async with line_of(configure(plc)) as line:
        await line.ready()
        await plc.stop()
        await wait_until(lambda: not line.service.is_ready)
        await plc.part("Station1", "P-7")
        await plc.start(other_namespaces=3)
        request = await line.request()
        assert request.context.part_id == "P-7"
        await line.answer(request, "pass")
        await wait_until(lambda: plc.get("Station1", "Done"))
        assert plc.get("Station1", "RequestId") == request.id
        assert line.metric("triggers_total", trigger="station-1", kind="recovered") == 1
        assert len(line.requests()) == 1


async def test_the_bus_hears_that_the_plc_is_away_and_that_it_is_back(
    plc: Any, line_of: Any, configure: Any, wait_until: Any
) -> None:
    await plc.start()
    async with line_of(configure(plc)) as line:

        def told() -> list[ServiceStatus]:
            return [parse_status(payload) for topic, payload in line.broker.published if topic == status_topic("bench")]

        await line.ready()
        await wait_until(lambda: told() and told()[-1].ready)
        await plc.stop()
        await wait_until(lambda: not told()[-1].ready)
        away = {link.name: link for link in told()[-1].connections}["opcua"]
        assert away.state in {"BACKOFF", "CONNECTING"}
        assert away.target == plc.endpoint
        await plc.start()
        await wait_until(lambda: told()[-1].ready)


async def test_a_part_already_judged_is_not_asked_about_again(
    plc: Any, line_of: Any, configure: Any, wait_until: Any
) -> None:
    await plc.set("Station1", "PartPresent", value=True)
    await plc.set("Station1", "Done", value=True)
    await plc.start()
    async with line_of(configure(plc)) as line:
        await line.ready()
        await wait_until(lambda: line.metric("looks_total", trigger="station-1", standing="nothing"))
        await plc.leave("Station1")
        await plc.part("Station1", "P-2")
        assert (await line.request()).context.part_id == "P-2"
        assert line.metric("triggers_total", trigger="station-1", kind="recovered") == 0
        await line.answer(await line.request())
        await wait_until(lambda: plc.get("Station1", "Done"))


async def test_the_same_part_after_an_outage_gets_the_verdict_that_was_held(
    plc: Any, line_of: Any, configure: Any, wait_until: Any
) -> None:
    await plc.start()
    async with line_of(configure(plc, plc.trigger(1, deadline_ms=60_000))) as line:
        await line.ready()
        await plc.part("Station1", "P-1")
        request = await line.request()
        await plc.stop()
        await wait_until(lambda: not line.service.is_ready)
        await line.answer(request, "fail")
        await wait_until(lambda: line.metric("results_total", kind="matched"))
        await plc.start(other_namespaces=1)
        await wait_until(lambda: plc.get("Station1", "Done"))
        assert plc.get("Station1", "Verdict") == "fail"
        assert plc.get("Station1", "RequestId") == request.id
        assert len(line.requests()) == 1
        assert plc.dones("Station1") == 1


async def test_a_part_that_still_waits_after_an_outage_keeps_its_request(
    plc: Any, line_of: Any, configure: Any, wait_until: Any
) -> None:
    await plc.start()
    async with line_of(configure(plc, plc.trigger(1, deadline_ms=60_000))) as line:
        await line.ready()
        await plc.part("Station1", "P-1")
        request = await line.request()
        await plc.stop()
        await wait_until(lambda: not line.service.is_ready)
        await plc.start()
        await line.ready()
        await line.answer(request, "pass")
        await wait_until(lambda: plc.get("Station1", "Done"))
        assert plc.get("Station1", "RequestId") == request.id
        assert len(line.requests()) == 1
        assert plc.dones("Station1") == 1


async def test_another_part_after_an_outage_gets_a_request_of_its_own(
    plc: Any, line_of: Any, configure: Any, wait_until: Any
) -> None:
    await plc.start()
    async with line_of(configure(plc, plc.trigger(1, deadline_ms=60_000))) as line:
        await line.ready()
        await plc.part("Station1", "P-1")
        first = await line.request()
        await plc.stop()
        await wait_until(lambda: not line.service.is_ready)
        await line.answer(first, "pass")
        await wait_until(lambda: line.metric("results_total", kind="matched"))
        await plc.leave("Station1")
        await plc.part("Station1", "P-2")
        await plc.start()
        second = await line.request(2)
        assert second.context.part_id == "P-2"
        assert plc.get("Station1", "Verdict") == ""
        await line.answer(second, "fail")
        await wait_until(lambda: plc.get("Station1", "Done"))
        assert plc.get("Station1", "Verdict") == "fail"
        assert plc.dones("Station1") == 1


async def test_a_deadline_passed_in_an_outage_ends_with_one_verdict(
    plc: Any, line_of: Any, configure: Any, wait_until: Any
) -> None:
    await plc.start()
    async with line_of(configure(plc, plc.trigger(1, deadline_ms=300))) as line:
        await line.ready()
        await plc.part("Station1", "P-1")
        await line.request()
        await plc.stop()
        await wait_until(lambda: not line.service.is_ready)
        await plc.start()
        await wait_until(lambda: plc.get("Station1", "Done"))
        assert plc.get("Station1", "Verdict") == "unknown"
        assert plc.dones("Station1") == 1


async def test_a_restart_of_the_bridge_finds_the_part_that_waits(
    plc: Any, line_of: Any, configure: Any, wait_until: Any
) -> None:
    await plc.start()
    configured = configure(plc, http={"port": 8082, "drain_s": 0.05})
    async with line_of(configured) as line:
        await line.ready()
        await plc.part("Station1", "P-1")
        first = await line.request()
    assert plc.get("Station1", "Done") is False
    async with line_of(configured) as line:
        await line.answer(first, "pass")
        request = await line.request()
        assert request.id != first.id
        assert request.context.part_id == "P-1"
        await line.answer(request, "fail")
        await wait_until(lambda: plc.get("Station1", "Done"))
        assert plc.get("Station1", "Verdict") == "fail"
        assert plc.dones("Station1") == 1
        assert line.metric("results_total", kind="unasked") == 1


async def test_a_stop_lets_the_part_that_waits_have_its_verdict(
    plc: Any, line_of: Any, configure: Any, wait_until: Any
) -> None:
    await plc.start()
    async with line_of(configure(plc)) as line:
        await line.ready()
        await plc.part("Station1", "P-1")
        request = await line.request()
        answering = asyncio.create_task(_answer_when_draining(line, request, wait_until))
    await answering
    assert plc.get("Station1", "Verdict") == "pass"
    assert plc.get("Station1", "Done") is True


async def _answer_when_draining(line: Any, request: Any, wait_until: Any) -> None:
    await wait_until(lambda: line.service._draining)
    await line.answer(request, "pass")


async def test_a_node_that_is_missing_after_a_restart_is_named_and_the_other_station_works(
    plc: Any, line_of: Any, configure: Any, wait_until: Any
) -> None:
    await plc.start()
    async with line_of(configure(plc, plc.trigger(1), plc.trigger(2))) as line:
        await line.ready()
        await plc.stop()
        await plc.start(leave_out=("Station1.Done",))
        links = line.service.connections
        await wait_until(lambda: "Station1.Done" in links["trigger station-1"].detail)
        await wait_until(lambda: links["trigger station-2"].is_online)
        assert not line.service.is_ready
        await plc.part("Station2", "Q-1")
        await line.answer(await line.request(), "pass")
        await wait_until(lambda: plc.get("Station2", "Done"))
        await plc.stop()
        await plc.start()
        await line.ready()


@pytest.mark.parametrize(
    ("node", "said"),
    [
        ("nsu=urn:lineside:test;s=Station1.PartPresnt", "Station1.PartPresnt"),
        ("nsu=urn:lineside:tset;s=Station1.PartPresent", "urn:lineside:tset"),
        ("nsu=urn:lineside:test;s=Station1.Speed", "must be Boolean"),
    ],
)
async def test_a_node_that_is_missing_or_unfit_at_the_first_meeting_ends_the_process(
    plc: Any, line_of: Any, configure: Any, wait_until: Any, node: str, said: str
) -> None:
    await plc.start()
    trigger = plc.trigger(1, when={"kind": "edge", "node": node})
    async with line_of(configure(plc, trigger, plc.trigger(2)), fails=True) as line:
        await wait_until(lambda: line.service.failed)
        assert line.service.status == 2
        assert "station-1" in line.service.failed
        assert said in line.service.failed


async def test_a_node_that_may_not_be_written_is_left_out_and_the_rest_is_written(
    plc: Any, line_of: Any, configure: Any, wait_until: Any
) -> None:
    plc.read_only = {"Station1.Confidence"}
    await plc.start()
    async with line_of(configure(plc)) as line:
        await line.ready()
        assert "confidence is not written" in line.service.connections["trigger station-1"].detail
        await plc.part("Station1", "P-1")
        await line.answer(await line.request(), "fail")
        await wait_until(lambda: plc.get("Station1", "Done"))
        assert plc.get("Station1", "Verdict") == "fail"
        assert plc.get("Station1", "Confidence") == 0.0
        assert line.metric("write_failures_total", trigger="station-1", node="confidence", reason="left_out") == 1


async def test_a_write_refused_at_run_time_is_counted_and_tried_again(
    plc: Any, line_of: Any, configure: Any, wait_until: Any
) -> None:
    await plc.start()
    async with line_of(configure(plc, plc.trigger(1), plc.trigger(2))) as line:
        await line.ready()
        await plc.lock("Station1", "Verdict")
        await plc.part("Station1", "P-1")
        await plc.part("Station2", "Q-1")
        await line.request(2)
        for request in line.requests():
            await line.answer(request, "pass")
        labels = {"trigger": "station-1", "node": "verdict", "reason": "BadUserAccessDenied"}
        await wait_until(lambda: line.metric("write_failures_total", **labels) >= 2)
        await wait_until(lambda: plc.get("Station2", "Done"))
        assert plc.get("Station1", "Done") is False
        await plc.unlock("Station1", "Verdict")
        await wait_until(lambda: plc.get("Station1", "Done"))
        assert plc.get("Station1", "Verdict") == "pass"


async def test_a_write_refused_for_good_is_given_up_after_the_grace(
    plc: Any, line_of: Any, configure: Any, wait_until: Any
) -> None:
    await plc.start()
    async with line_of(configure(plc, plc.trigger(1, deadline_ms=100), grace_ms=200)) as line:
        await line.ready()
        await plc.lock("Station1", "Verdict")
        await plc.part("Station1", "P-1")
        await wait_until(lambda: line.metric("unanswered_parts_total", trigger="station-1", reason="write_failed"))
        assert plc.get("Station1", "Done") is False
        await plc.unlock("Station1", "Verdict")
        await plc.leave("Station1")
        await plc.part("Station1", "P-2")
        await wait_until(lambda: plc.get("Station1", "Done"))
        assert plc.get("Station1", "Verdict") == "unknown"


async def test_a_verdict_held_over_a_cut_connection_is_written_to_the_same_rise(
    plc: Any, proxy: Any, line_of: Any, configure: Any, wait_until: Any
) -> None:
    await plc.start()
    async with line_of(configure(plc, plc.trigger(1, deadline_ms=300), endpoint=proxy.endpoint)) as line:
        await line.ready()
        await plc.part("Station1", "P-1")
        request = await line.request()
        await proxy.down()
        await wait_until(lambda: not line.service.is_ready)
        await line.answer(request, "fail")
        await wait_until(lambda: line.metric("results_total", kind="matched"))
        past_the_deadline = asyncio.get_running_loop().time() + 0.3
        await wait_until(lambda: asyncio.get_running_loop().time() > past_the_deadline)
        await proxy.up()
        await wait_until(lambda: plc.get("Station1", "Done"))
        assert plc.get("Station1", "Verdict") == "fail"
        assert len(line.requests()) == 1
        assert plc.dones("Station1") == 1


async def test_a_write_whose_answer_is_lost_is_not_repeated(
    plc: Any, proxy: Any, line_of: Any, configure: Any, wait_until: Any
) -> None:
    def lose_the_answer(path: str, value: Any) -> None:
        if path == "Station1.Done" and value is True:
            proxy.mode = "lose-replies"

    await plc.start()
    async with line_of(configure(plc, endpoint=proxy.endpoint)) as line:
        await line.ready()
        plc.on_write = lose_the_answer
        await plc.part("Station1", "P-1")
        await line.answer(await line.request(), "fail")
        await wait_until(lambda: not line.service.is_ready)
        plc.on_write = lambda _path, _value: None
        proxy.mode = "pass"
        await wait_until(lambda: line.metric("verdicts_total", trigger="station-1", verdict="fail", origin="result"))
        assert plc.dones("Station1") == 1
        assert len(line.requests()) == 1


async def test_while_nobody_can_tell_which_part_is_there_nothing_is_written(
    plc: Any, proxy: Any, line_of: Any, configure: Any, wait_until: Any
) -> None:
    await plc.start()
    trigger = plc.trigger(1, deadline_ms=60_000)
    async with line_of(configure(plc, trigger, endpoint=proxy.endpoint)) as line:
        await line.ready()
        await plc.part("Station1", "P-1")
        first = await line.request()
        await proxy.down()
        await wait_until(lambda: not line.service.is_ready)
        await plc.set("Station1", "PartId", "P-2")
        await plc.set("Station1", "PartPresent", value=True, status=StatusCodes.BadSensorFailure)
        await proxy.up()
        await wait_until(lambda: line.metric("triggers_total", trigger="station-1", kind="bad_quality"))
        await line.answer(first, "pass")
        await wait_until(lambda: line.metric("looks_total", trigger="station-1", standing="unreadable") >= 2)
        assert plc.get("Station1", "Verdict") == ""
        assert plc.get("Station1", "Done") is False
        await plc.set("Station1", "PartPresent", value=True)
        second = await line.request(2)
        assert second.context.part_id == "P-2"
        await line.answer(second, "fail")
        await wait_until(lambda: plc.get("Station1", "Done"))
        assert plc.get("Station1", "Verdict") == "fail"
        assert plc.dones("Station1") == 1


def in_line(plc: Any) -> dict[str, Any]:
    """A trigger by an edge whose parts are answered in line, and whose PLC lowers done as soon as it took a verdict."""
    made: dict[str, Any] = plc.trigger(1, overrun="queue", deadline_ms=60_000)
    return made


async def test_a_part_that_rose_in_an_outage_behind_done_of_the_part_before_is_asked_about_once_done_is_low(
    plc: Any, line_of: Any, configure: Any, wait_until: Any
) -> None:
    await plc.start()
    async with line_of(configure(plc, in_line(plc), plc.trigger(2))) as line:
        await line.ready()
        await plc.part("Station1", "P-1")
        await line.answer(await line.request(), "pass")
        await wait_until(lambda: line.metric("verdicts_total", trigger="station-1", verdict="pass", origin="result"))
        await plc.stop()
        await wait_until(lambda: not line.service.is_ready)
        await plc.leave("Station1")
        await plc.set("Station1", "PartId", "P-2")
        await plc.set("Station1", "PartPresent", value=True)
        views = line.metric("looks_total", trigger="station-1", standing="nothing")
        await plc.start()
        await wait_until(lambda: line.metric("looks_total", trigger="station-1", standing="nothing") > views)
        await line.ready()
        await plc.part("Station2", "Q-1")  # by the time that it is answered, the first station's values were handled
        await line.answer(await line.request(2), "pass")
        await wait_until(lambda: plc.get("Station2", "Done"))
        assert len(line.requests()) == 2
        await plc.set("Station1", "Done", value=False)
        request = await line.request(3)
        assert request.context.part_id == "P-2"
        await line.answer(request, "fail")
        await wait_until(lambda: plc.get("Station1", "Done"))
        assert (plc.get("Station1", "JudgedId"), plc.get("Station1", "Verdict")) == ("P-2", "fail")
        assert plc.dones("Station1") == 2


async def test_a_trigger_that_stays_high_after_done_was_lowered_is_no_new_part(
    plc: Any, proxy: Any, line_of: Any, configure: Any, wait_until: Any
) -> None:
    await plc.start()
    async with line_of(configure(plc, in_line(plc), endpoint=proxy.endpoint)) as line:
        await line.ready()
        await plc.part("Station1", "P-1")
        await line.answer(await line.request(), "pass")
        await wait_until(lambda: line.metric("verdicts_total", trigger="station-1", verdict="pass", origin="result"))
        await plc.set("Station1", "Done", value=False)
        await proxy.down()
        await wait_until(lambda: not line.service.is_ready)
        views = line.metric("looks_total", trigger="station-1", standing="nothing")
        await proxy.up()
        await wait_until(lambda: line.metric("looks_total", trigger="station-1", standing="nothing") > views)
        assert len(line.requests()) == 1
        await plc.leave("Station1")
        await plc.set("Station1", "PartId", "P-2")
        await plc.set("Station1", "PartPresent", value=True)
        assert (await line.request(2)).context.part_id == "P-2"
        assert line.metric("triggers_total", trigger="station-1", kind="recovered") == 0
        assert plc.dones("Station1") == 1
