from datetime import UTC, datetime

import pytest

from lineside.contract import Context, Finding, Result, parse_result
from lineside_topic_bridge.truncate import truncate

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def result(findings: int = 0, scores: int = 0, reason: str = "why", **context) -> Result:
    return Result(
        id="r",
        request_id="q",
        status="ok",
        verdict="fail",
        reason=reason,
        findings=tuple(Finding(label=f"label-{i}", confidence=i / findings) for i in range(findings)),
        scores={f"label-{i}": 0.5 for i in range(scores)},
        context=Context(station="s", part_id="p", **context),
    )


def test_a_small_result_goes_out_whole_and_stamped() -> None:
    sent = parse_result(truncate(result(2, 3), 6144, NOW))
    assert (len(sent.findings), sent.findings_omitted, len(sent.scores), sent.time.published) == (2, 0, 3, NOW)


@pytest.mark.parametrize("big", [{"findings": 500}, {"scores": 500}, {"reason": "x" * 9000}, {"operator": "y" * 9000}])
def test_details_give_way_and_the_verdict_stays(big) -> None:
    payload = truncate(result(**big), 6144, NOW)
    sent = parse_result(payload)
    assert len(payload) <= 6144
    assert (sent.verdict, sent.request_id, sent.context.station, sent.context.part_id) == ("fail", "q", "s", "p")


def test_the_surest_findings_are_kept_and_the_others_counted() -> None:
    sent = parse_result(truncate(result(500), 6144, NOW))
    assert sent.findings_omitted + len(sent.findings) == 500
    assert sent.findings[0].label == "label-499"
    assert len(sent.findings) > 10
