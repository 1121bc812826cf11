"""What reaches the PLC and when: its own words, the handshake of done, parts in line, the heartbeat, nothing at all."""

import hashlib
import re
from typing import Any

import pytest

from lineside.bus.memory import MemoryBroker, MemoryBus
from lineside.contract import (
    OUTCOME_TOPIC,
    RESULT_TOPIC,
    ErrorReport,
    Outcome,
    parse_outcome,
    reported_policy_topic,
    to_json,
    uuid7,
)
from lineside.service import Service
from lineside_opcua_bridge.bridge import Bridge

pytestmark = pytest.mark.asyncio(loop_scope="module")

NODE = "nsu=urn:lineside:test;s=Station1"
CODES = {"ok": 1, "deadline": 2, "overrun": 3, "paused": 4, "camera-timeout": 5, "default": 99}


def trigger_of(steady: Any, written: dict[str, Any], **changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = steady.trigger(1, **changes)
    made["write_back"] |= written
    return made


def code_of(steady: Any, **changes: Any) -> dict[str, Any]:
    return trigger_of(steady, {"code": f"{NODE}.Code", "codes": CODES}, **changes)


async def test_the_plc_gets_its_own_words(steady: Any, line_of: Any, configure: Any, wait_until: Any) -> None:
    await steady.reset()
    words = {
        "verdict": f"{NODE}.Result",
        "values": {"pass": 10, "fail": 20, "unknown": -1},
        "code": f"{NODE}.Code",
        "codes": CODES,
        "findings": f"{NODE}.Findings",
    }
    async with line_of(configure(steady, trigger_of(steady, words, debounce_ms=0))) as line:
        await line.ready()
        await steady.part("Station1", "P-1")
        found = [{"label": "scratch", "confidence": 0.9}, {"label": "dent", "confidence": 0.8}]
        await line.answer(await line.request(), "fail", findings=found, findings_omitted=3)
        await wait_until(lambda: steady.get("Station1", "Done"))
        shown = [steady.get("Station1", tag) for tag in ("Result", "Code", "Findings", "Confidence")]
        assert shown == [20, 1, 5, 0.9]
        await steady.leave("Station1")
        await steady.part("Station1", "P-2")
        failed = {"status": "failed", "code": "camera-timeout", "reason": "no frame"}
        await line.answer(await line.request(2), "unknown", **failed)
        await wait_until(lambda: steady.get("Station1", "Done"))
        assert [steady.get("Station1", tag) for tag in ("Result", "Code", "Findings", "Confidence")] == [-1, 5, 0, 0.0]


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ({"verdict": f"{NODE}.Result"}, "write_back.verdict: node .*Result' is Int16; it must be String"),
        ({"code": f"{NODE}.Code", "codes": {"default": 256}}, "codes.default is 256; .* takes 0 to 255"),
        ({"code": f"{NODE}.Code"}, "write_back.codes must give the number of each code"),
        ({"verdict": f"{NODE}.PartId"}, "write_back.verdict: .*PartId' may not be written"),
    ],
)
async def test_what_does_not_fit_stops_the_start_and_says_where(
    steady: Any, configure: Any, wait_until: Any, written: dict[str, Any], says: str
) -> None:
    await steady.reset()
    service = Service("opcua_bridge")
    bridge = Bridge(configure(steady, trigger_of(steady, written)), service, MemoryBus(MemoryBroker()))
    async with service.life(bridge.life()):
        await wait_until(lambda: service.failed)
    assert re.search(says, service.failed or "")
    assert service.status == 2
    assert steady.dones("Station1") == 0


async def test_an_error_report_answers_the_part_at_once(
    steady: Any, line_of: Any, configure: Any, wait_until: Any
) -> None:
    await steady.reset()
    async with line_of(configure(steady, code_of(steady, deadline_ms=60_000))) as line:
        await line.ready()
        await steady.part("Station1", "P-1")
        request = await line.request()
        await line.bus.publish(f"{RESULT_TOPIC}/error", b"{")
        own = hashlib.sha256(to_json(request)).hexdigest()
        for about, digest in (("somebody-elses", own), (request.id, "0" * 64), (request.id, own)):
            report = ErrorReport(
                id=uuid7(),
                request_id=about,
                code="inference-answer",
                reason="?",
                topic="x",
                excerpt="",
                digest=digest,
            )
            await line.bus.publish(f"{RESULT_TOPIC}/error", to_json(report))
        await wait_until(lambda: steady.get("Station1", "Done"))
        assert (steady.get("Station1", "Verdict"), steady.get("Station1", "Code")) == ("unknown", 99)
        assert line.metric("results_total", kind="error") == 1
        assert line.metric("results_total", kind="foreign_error") == 1
        await wait_until(lambda: line.metric("verdicts_total", trigger="station-1", verdict="unknown", origin="error"))


async def test_queue_answers_in_order_and_each_only_after_done_was_lowered(
    steady: Any, line_of: Any, configure: Any, wait_until: Any
) -> None:
    await steady.reset()
    when = {"kind": "counter", "node": f"{NODE}.Counter"}
    trigger = steady.trigger(1, when=when, overrun="queue", debounce_ms=0, deadline_ms=60_000)
    async with line_of(configure(steady, trigger)) as line:
        await line.ready()
        for number in (1, 2, 3):
            await steady.set("Station1", "Counter", number)
            await line.request(number)
        first, second, third = line.requests()
        await line.answer(second, "fail")
        await wait_until(lambda: line.metric("results_total", kind="matched"))
        assert not steady.get("Station1", "Done")
        await line.answer(first, "pass")
        await line.answer(third, "pass")
        await wait_until(lambda: line.metric("looks_total", trigger="station-1", standing="taking") >= 1)
        assert steady.get("Station1", "RequestId") == first.id
        for request, verdict in ((second, "fail"), (third, "pass")):
            await steady.set("Station1", "Done", value=False)
            await wait_until(lambda: steady.get("Station1", "Done"))
            assert steady.get("Station1", "RequestId") == request.id
            assert steady.get("Station1", "Verdict") == verdict
        assert steady.dones("Station1") == 3


async def test_a_plc_that_never_lowers_done_loses_the_parts_after_it_and_they_are_counted(
    steady: Any, line_of: Any, configure: Any, wait_until: Any
) -> None:
    await steady.reset()
    when = {"kind": "counter", "node": f"{NODE}.Counter"}
    trigger = steady.trigger(1, when=when, overrun="queue", debounce_ms=0, deadline_ms=300)
    async with line_of(configure(steady, trigger, grace_ms=100)) as line:
        await line.ready()
        for number in (1, 2):
            await steady.set("Station1", "Counter", number)
            await line.answer(await line.request(number), "pass")
        await wait_until(lambda: line.metric("unanswered_parts_total", trigger="station-1", reason="not_taken"))
        assert steady.dones("Station1") == 1


async def test_skip_writes_unknown_for_the_newer_part_after_the_older(
    steady: Any, line_of: Any, configure: Any, wait_until: Any
) -> None:
    await steady.reset()
    when = {"kind": "counter", "node": f"{NODE}.Counter"}
    async with line_of(configure(steady, code_of(steady, when=when, overrun="skip", debounce_ms=0))) as line:
        await line.ready()
        await steady.set("Station1", "Counter", 1)
        request = await line.request()
        await steady.set("Station1", "Counter", 2)
        await wait_until(lambda: line.metric("triggers_total", trigger="station-1", kind="accepted") == 2)
        await line.answer(request, "pass")
        await wait_until(lambda: steady.get("Station1", "Done"))
        assert (steady.get("Station1", "Verdict"), steady.get("Station1", "Code")) == ("pass", 1)
        await steady.set("Station1", "Done", value=False)
        await wait_until(lambda: steady.get("Station1", "Done"))
        assert (steady.get("Station1", "Verdict"), steady.get("Station1", "Code")) == ("unknown", 3)
        assert steady.get("Station1", "RequestId") == ""
        assert len(line.requests()) == 1


@pytest.mark.parametrize("kind", ["edge", "counter"])
async def test_the_bridge_lowers_done_once_the_plc_has_lowered_its_request(
    steady: Any, line_of: Any, configure: Any, wait_until: Any, kind: str
) -> None:
    await steady.reset()
    asks = "PartPresent" if kind == "edge" else "Request"
    when = {"kind": kind, "node": f"{NODE}.{'PartPresent' if kind == 'edge' else 'Counter'}"}
    hands_back = {"clear_done": "bridge"} | ({} if kind == "edge" else {"request": f"{NODE}.Request"})
    configured = configure(steady, trigger_of(steady, hands_back, when=when, debounce_ms=0))
    async with line_of(configured) as line:
        await line.ready()
        for number in (1, 2):
            await steady.set("Station1", "PartId", f"P-{number}")
            await steady.set("Station1", asks, value=True)
            if kind == "counter":
                await steady.set("Station1", "Counter", number)
            await line.answer(await line.request(number), "pass")
            await wait_until(lambda: steady.get("Station1", "Done"))
            await steady.set("Station1", asks, value=False)
            await wait_until(lambda: not steady.get("Station1", "Done"))
        assert steady.dones("Station1") == 2
        assert len(line.requests()) == 2
    await steady.set("Station1", "Done", value=True)
    async with line_of(configured):  # what a stop left behind is found at the next start
        await wait_until(lambda: not steady.get("Station1", "Done"))


async def test_a_request_that_the_plc_took_back_gets_no_verdict(
    steady: Any, line_of: Any, configure: Any, wait_until: Any
) -> None:
    await steady.reset()
    trigger = trigger_of(steady, {"clear_done": "bridge"}, deadline_ms=400)
    async with line_of(configure(steady, trigger)) as line:
        await line.ready()
        await steady.part("Station1", "P-1")
        await line.request()
        await steady.leave("Station1")
        await wait_until(lambda: line.metric("unanswered_parts_total", trigger="station-1", reason="gone"))
        assert steady.dones("Station1") == 0


async def test_while_paused_the_plc_gets_unknown_and_why(
    steady: Any, line_of: Any, configure: Any, wait_until: Any
) -> None:
    await steady.reset()
    configured = configure(steady, code_of(steady, debounce_ms=0))
    async with line_of(configured) as line:
        await line.ready()
        await line.bus.publish(reported_policy_topic(configured.thing), b'{"enabled": false}')
        await wait_until(lambda: line.service.connections["trigger station-1"].state == "PAUSED")
        await steady.part("Station1", "P-1")
        await wait_until(lambda: steady.get("Station1", "Done"))
        assert (steady.get("Station1", "Verdict"), steady.get("Station1", "Code")) == ("unknown", 4)
        assert not line.requests()


async def test_simulate_does_everything_but_the_writes(
    steady: Any, line_of: Any, configure: Any, wait_until: Any
) -> None:
    await steady.reset()
    beat = {"node": f"{NODE}.Beat", "every_ms": 50}
    async with line_of(configure(steady, simulate=True, heartbeat=beat)) as line:
        await line.ready()
        steady.writes.clear()
        await steady.part("Station1", "P-1")
        prepared = len(steady.writes)
        await line.answer(await line.request(), "fail")
        await wait_until(lambda: line.metric("verdicts_total", trigger="station-1", verdict="fail", origin="result"))
        assert len(steady.writes) == prepared
        assert line.metric("simulate") == 1
        assert "simulate" in line.service.connections["trigger station-1"].detail


async def test_no_node_is_written_that_the_settings_do_not_list(
    steady: Any, line_of: Any, configure: Any, wait_until: Any
) -> None:
    """The station's other nodes may be written too, so that a write to one would be seen."""
    await steady.reset()
    listed = {"verdict": f"{NODE}.Verdict", "done": f"{NODE}.Done"}
    async with line_of(configure(steady, steady.trigger(1, write_back=listed))) as line:
        await line.ready()
        await steady.part("Station1", "P-1")
        steady.writes.clear()
        await line.answer(await line.request(), "fail")
        await wait_until(lambda: steady.get("Station1", "Done"))
    assert {path for path, _value in steady.writes} == {"Station1.Verdict", "Station1.Done"}


async def test_without_nodes_to_write_the_result_closes_the_part(
    steady: Any, line_of: Any, configure: Any, wait_until: Any
) -> None:
    await steady.reset()
    async with line_of(configure(steady, steady.trigger(1, write_back=None))) as line:
        await line.ready()
        await steady.part("Station1", "P-1")
        await line.answer(await line.request(), "fail")
        await wait_until(lambda: line.metric("verdicts_total", trigger="station-1", verdict="fail", origin="result"))
        assert line.metric("simulate") == 0


@pytest.mark.parametrize("tag", ["Beat", "Alive"])
async def test_the_heartbeat_changes_while_the_bridge_lives(
    steady: Any, line_of: Any, configure: Any, wait_until: Any, tag: str
) -> None:
    await steady.reset()
    if tag == "Beat":
        await steady.set("Station1", "Beat", 254)
    steady.writes.clear()
    beats = [255, 0, 1] if tag == "Beat" else [True, False, True]
    async with line_of(configure(steady, heartbeat={"node": f"{NODE}.{tag}", "every_ms": 50})) as line:
        await line.ready()
        await wait_until(lambda: len(steady.writes) >= 3)
        assert [value for _path, value in steady.writes[:3]] == beats
        assert line.metric("heartbeats_total", outcome="written") >= 2
        await steady.lock("Station1", tag)
        await wait_until(lambda: line.metric("heartbeats_total", outcome="BadUserAccessDenied"))
    await steady.unlock("Station1", tag)


async def test_a_bridge_whose_triggers_need_no_plc_opens_no_session(steady: Any, line_of: Any, configure: Any) -> None:
    trigger = steady.trigger(1, when={"kind": "period", "every_ms": 20}, sample={}, write_back=None)
    async with line_of(configure(steady, trigger)) as line:
        await line.ready()
        await line.request(2)
        assert "opcua" not in line.service.connections


@pytest.mark.parametrize(("then", "written"), [("P-1", True), ("P-2", False)])
async def test_without_a_level_the_part_id_tells_whose_verdict_it_is_after_an_outage(
    steady: Any, line_of: Any, configure: Any, wait_until: Any, then: str, written: bool
) -> None:
    await steady.reset()
    await steady.set("Station1", "PartId", "P-1")
    when = {"kind": "counter", "node": f"{NODE}.Counter"}
    async with line_of(configure(steady, steady.trigger(1, when=when, deadline_ms=60_000))) as line:
        await line.ready()
        await steady.set("Station1", "Counter", 1)
        request = await line.request()
        await steady.stop()
        await wait_until(lambda: not line.service.is_ready)
        await line.answer(request, "fail")
        await wait_until(lambda: line.metric("results_total", kind="matched"))
        await steady.set("Station1", "PartId", then)
        await steady.start()
        if written:
            await wait_until(lambda: steady.get("Station1", "Done"))
            assert steady.get("Station1", "Verdict") == "fail"
        else:
            await wait_until(lambda: line.metric("unanswered_parts_total", trigger="station-1", reason="gone"))
            assert not steady.get("Station1", "Done")
        assert len(line.requests()) == 1


async def test_parts_in_line_keep_their_order_and_verdicts_over_an_outage(
    steady: Any, line_of: Any, configure: Any, wait_until: Any
) -> None:
    await steady.reset()
    when = {"kind": "counter", "node": f"{NODE}.Counter"}
    trigger = steady.trigger(1, when=when, overrun="queue", debounce_ms=0, deadline_ms=60_000)
    async with line_of(configure(steady, trigger)) as line:
        await line.ready()
        for number in (1, 2):
            await steady.set("Station1", "Counter", number)
            await line.request(number)
        await steady.stop()
        await wait_until(lambda: not line.service.is_ready)
        first, second = line.requests()
        await line.answer(second, "fail")
        await line.answer(first, "pass")
        await wait_until(lambda: line.metric("results_total", kind="matched") == 2)
        await steady.start()
        for request, verdict in ((first, "pass"), (second, "fail")):
            await wait_until(lambda: steady.get("Station1", "Done"))
            assert (steady.get("Station1", "RequestId"), steady.get("Station1", "Verdict")) == (request.id, verdict)
            await steady.set("Station1", "Done", value=False)
        assert steady.dones("Station1") == 2
        assert len(line.requests()) == 2


async def test_done_that_an_outage_kept_up_is_lowered_after_it(
    steady: Any, line_of: Any, configure: Any, wait_until: Any
) -> None:
    await steady.reset()
    async with line_of(configure(steady, trigger_of(steady, {"clear_done": "bridge"}))) as line:
        await line.ready()
        await steady.part("Station1", "P-1")
        await line.answer(await line.request(), "pass")
        await wait_until(lambda: steady.get("Station1", "Done"))
        await steady.stop()
        await wait_until(lambda: not line.service.is_ready)
        await steady.leave("Station1")
        await steady.start()
        await wait_until(lambda: not steady.get("Station1", "Done"))
        assert len(line.requests()) == 1


async def test_lowering_done_is_tried_again_until_the_plc_takes_it(
    steady: Any, line_of: Any, configure: Any, wait_until: Any
) -> None:
    await steady.reset()
    async with line_of(configure(steady, trigger_of(steady, {"clear_done": "bridge"}))) as line:
        await line.ready()
        await steady.part("Station1", "P-1")
        await line.answer(await line.request(), "pass")
        await wait_until(lambda: steady.get("Station1", "Done"))
        await steady.lock("Station1", "Done")
        await steady.leave("Station1")
        refused = {"trigger": "station-1", "node": "done", "reason": "BadUserAccessDenied"}
        await wait_until(lambda: line.metric("write_failures_total", **refused) >= 2)
        assert steady.get("Station1", "Done")
        await steady.unlock("Station1", "Done")
        await wait_until(lambda: not steady.get("Station1", "Done"))


async def test_after_the_deadline_a_refused_verdict_without_a_level_becomes_unknown(
    steady: Any, line_of: Any, configure: Any, wait_until: Any
) -> None:
    await steady.reset()
    when = {"kind": "counter", "node": f"{NODE}.Counter"}
    trigger = code_of(steady, when=when, deadline_ms=400)
    async with line_of(configure(steady, trigger, grace_ms=20_000)) as line:
        await line.ready()
        await steady.lock("Station1", "Verdict")
        await steady.set("Station1", "Counter", 1)
        await line.answer(await line.request(), "pass")
        refused = {"trigger": "station-1", "node": "verdict", "reason": "BadUserAccessDenied"}
        await wait_until(lambda: line.metric("write_failures_total", **refused) >= 4)
        seen = line.metric("write_failures_total", **refused)
        await wait_until(lambda: line.metric("write_failures_total", **refused) >= seen + 3)
        await steady.unlock("Station1", "Verdict")
        await wait_until(lambda: steady.get("Station1", "Done"))
        assert (steady.get("Station1", "Verdict"), steady.get("Station1", "Code")) == ("unknown", 99)


async def test_the_verdict_bears_the_id_of_its_part(steady: Any, line_of: Any, configure: Any, wait_until: Any) -> None:
    await steady.reset()
    trigger = trigger_of(steady, {"part_id": f"{NODE}.JudgedId"}, debounce_ms=0)
    async with line_of(configure(steady, trigger)) as line:
        await line.ready()
        for number, part_id in enumerate(("P-1", ""), start=1):
            await steady.part("Station1", part_id)
            await line.answer(await line.request(number), "pass")
            await wait_until(lambda: steady.get("Station1", "Done"))
            assert steady.get("Station1", "JudgedId") == part_id
            await steady.leave("Station1")
        await steady.lock("Station1", "JudgedId")  # a verdict that the PLC cannot tell the part of is no verdict
        await steady.part("Station1", "P-3")
        await line.answer(await line.request(3), "pass")
        await wait_until(
            lambda: line.metric(
                "write_failures_total", trigger="station-1", node="part_id", reason="BadUserAccessDenied"
            )
        )
        assert steady.get("Station1", "Done") is False
        await steady.unlock("Station1", "JudgedId")
        await wait_until(lambda: steady.get("Station1", "Done"))
        assert steady.get("Station1", "JudgedId") == "P-3"


async def test_the_bus_hears_what_the_plc_got_and_what_it_did_not(
    steady: Any, line_of: Any, configure: Any, wait_until: Any
) -> None:
    await steady.reset()

    def told() -> list[Outcome]:
        return [parse_outcome(payload) for topic, payload in line.broker.published if topic == OUTCOME_TOPIC]

    async with line_of(configure(steady, trigger_of(steady, {}, deadline_ms=400), grace_ms=0)) as line:
        await line.ready()
        await steady.part("Station1", "P-1")
        await line.answer(await line.request(), "pass", findings=[])
        await wait_until(told)
        assert steady.get("Station1", "Verdict") == "pass"
        await steady.leave("Station1")
        await steady.part("Station1", "P-2")  # nobody answers
        await wait_until(lambda: len(told()) == 2)
        assert steady.get("Station1", "Verdict") == "unknown"
        await steady.leave("Station1")
        await steady.lock("Station1", "Verdict")
        await steady.part("Station1", "P-3")
        await line.answer(await line.request(3), "fail")
        try:
            await wait_until(lambda: len(told()) == 3)
        finally:
            await steady.unlock("Station1", "Verdict")
        await steady.leave("Station1")
    good, silent, refused = told()
    assert (good.part_id, good.verdict, good.origin, good.late, good.write_error) == (
        "P-1",
        "pass",
        "judged",
        False,
        None,
    )
    assert good.written_at is not None
    assert (silent.part_id, silent.verdict, silent.origin, silent.cause) == ("P-2", "unknown", "deadline", "deadline")
    assert (refused.part_id, refused.verdict, refused.written_at) == ("P-3", None, None)
    assert "the PLC refused verdict (BadUserAccessDenied)" in (refused.write_error or "")
    assert [one.request_id for one in told()] == [one.id for one in line.requests()]
