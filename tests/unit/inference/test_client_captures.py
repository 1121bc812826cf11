"""When a client's capture is refused, with `strict` as Edge Manager's agent did; and what is said of the evidence."""

from typing import Any

import pytest

from lineside.edge_manager.settings import EdgeManagerSettings
from lineside.errors import LinesideError
from lineside.spool import DestinationStatus, SpoolFull, SpoolSettings, SpoolUnusable, Status
from lineside_inference.api.captures import as_problems
from lineside_inference.api.problems import Problem
from lineside_inference.capture.client_captures import refusal_of_agent
from lineside_inference.capture.evidence_status import describe, unknown_status
from lineside_inference.errors import (
    CaptureBufferFull,
    CaptureExists,
    CaptureQueueFull,
    CaptureUnknown,
    DestinationAway,
    NotKept,
)


def state_of(*destinations: DestinationStatus, records: int = 0, **fields: Any) -> Status:
    given = {
        "records": records,
        "bytes": 1000,
        "kept_records": 0,
        "kept_bytes": 0,
        "oldest_ms": 1_000,
        "unsealed": 0,
        "max_bytes": 10_000,
        "free_bytes": 2**40,
        "is_served": True,
        "dropped": {},
        "quarantined": {},
    }
    return Status(**given | fields, destinations=list(destinations))


def to(name: str, state: str, *, waiting: int = 0, dead: int = 0) -> DestinationStatus:
    return DestinationStatus(name, state, "why", 2_000, waiting, 10 * waiting, None, 5, 50, dead)


def em(**fields: Any) -> EdgeManagerSettings:
    return EdgeManagerSettings.model_validate({"strict": True} | fields)


@pytest.mark.parametrize(
    ("settings", "state", "code"),
    [
        (em(), state_of(to("cloud", "ONLINE", waiting=29)), None),
        (em(), state_of(to("cloud", "ONLINE", waiting=30)), "capture-buffer-full"),
        (em(), state_of(to("cloud", "BACKOFF")), "destination-away"),
        (em(), state_of(to("cloud", "BACKOFF"), to("disk", "ONLINE")), "destination-away"),
        (em(), state_of(to("plant", "ONLINE")), None),
        (em(), state_of(to("cloud", "CONNECTING")), None),
        (em(), state_of(to("cloud", "")), "destination-away"),
        (em(), state_of(to("cloud", "ONLINE"), is_served=False), "destination-away"),
        (em(CaptureDataDestination="Disk"), state_of(is_served=False), None),
        (em(), state_of(), "destination-away"),
        (em(CaptureDataDestination="Disk"), state_of(to("disk", "BACKOFF", waiting=3)), None),
        (em(CaptureDataDestination="Disk"), state_of(records=29), None),
        (em(CaptureDataDestination="Disk"), state_of(records=30), "capture-buffer-full"),
        (em(CaptureDataDestination="Disk"), state_of(records=40, kept_records=20), None),
        (em(CaptureDataDestination="Disk", CaptureDataBufferSize=50), state_of(records=30), None),
    ],
)
def test_strict_refuses_where_the_agent_did(settings: EdgeManagerSettings, state: Status, code: str | None) -> None:
    refusal = refusal_of_agent(state, settings)
    assert (refusal and refusal.code) == code


@pytest.mark.parametrize(
    ("error", "status", "is_retried"),
    [
        (CaptureExists("x"), 409, False),
        (CaptureUnknown("x"), 404, False),
        (CaptureBufferFull("x"), 429, True),
        (CaptureQueueFull("x"), 429, True),
        (SpoolFull("x"), 429, True),
        (DestinationAway("x"), 503, True),
        (NotKept("x"), 503, False),
        (SpoolUnusable("x"), 503, True),
    ],
)
def test_what_a_capture_is_refused_with_has_a_status(error: LinesideError, status: int, is_retried: bool) -> None:
    with pytest.raises(Problem) as refused, as_problems("c-1"):
        raise error
    assert (refused.value.status, refused.value.code) == (status, error.code)
    assert ("Retry-After" in refused.value.headers) is is_retried


def test_evidence_says_what_waits_and_what_needs_a_person() -> None:
    state = state_of(
        to("cloud", "BACKOFF", waiting=4, dead=2),
        records=9,
        kept_records=5,
        bytes=9_500,
        kept_bytes=500,
        dropped={"age": 3},
    )
    document = describe(state, SpoolSettings.model_validate({}), quarantined_files=0)
    assert document["waiting"] == {
        "records": 4,
        "bytes": 9_000,
        "oldest": "1970-01-01T00:00:01+00:00",
        "share": 0.95,
        "used_bytes": 9_500,
        "most_bytes": 10_000,
        "free_bytes": 2**40,
    }
    assert document["destinations"][0]["dead"] == 2
    assert document["destinations"][0]["oldest"] is None
    assert document["dropped"] == {"age": 3}
    assert [need["about"].split()[0] for need in document["needs"]] == ["bound", "dead"]


def test_evidence_that_is_not_kept_says_why() -> None:
    assert unknown_status("why")["reason"] == "why"
    assert set(unknown_status("why")) == set(
        describe(state_of(), SpoolSettings.model_validate({}), quarantined_files=0)
    )
