from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from lineside.checks import Check, Mark
from lineside.spool import SpoolSettings
from lineside.spool.store.values import DestinationStatus, Status
from lineside_forwarder.doctor import checks, clock, destination, waiting

GIB = 1024**3
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
STATE = DestinationStatus("cloud", "ONLINE", "", int(NOW.timestamp() * 1000), 3, 4096, None, 12, 8192, 0)
STATUS = Status(
    records=5,
    bytes=10_000,
    kept_records=2,
    kept_bytes=5904,
    oldest_ms=int((NOW - timedelta(hours=3)).timestamp() * 1000),
    unsealed=1,
    max_bytes=GIB,
    free_bytes=20 * GIB,
    is_served=True,
    dropped={"sampled": 4, "age": 0},
    quarantined={},
    destinations=[STATE],
)


def judged(status: Status) -> Check:
    return waiting(status, SpoolSettings(folder=Path("/spool"), max_bytes=GIB), NOW)


async def found(folder: Path, **settings: object) -> dict[str, Check]:
    path = folder / "settings.yaml"
    path.write_text(yaml.safe_dump(settings))
    return {check.name: check async for check in checks(path, {})}


def test_what_waits_is_said_with_what_was_dropped() -> None:
    check = judged(STATUS)
    assert check.mark is Mark.OK
    assert check.what == "3 records, 4 KiB of 1.0 GiB; dropped so far: sampled 4"


def test_a_bound_that_the_disk_cannot_hold_is_warned_of() -> None:
    check = judged(replace(STATUS, free_bytes=GIB // 2))
    assert check.mark is Mark.WARN
    assert "spool.max_bytes" in check.remedy


def test_evidence_from_the_future_is_a_clock_that_was_set_back() -> None:
    check = judged(replace(STATUS, oldest_ms=int((NOW + timedelta(hours=1)).timestamp() * 1000)))
    assert check.mark is Mark.WARN
    assert "60 minutes in the future" in check.what


@pytest.mark.parametrize(
    ("state", "mark", "said"),
    [
        (STATE, Mark.OK, "ONLINE; 12 records delivered, 3 wait"),
        (replace(STATE, state="PAUSED", detail="quiet until 06:00"), Mark.OK, "PAUSED: quiet until 06:00"),
        (replace(STATE, state="BACKOFF", detail="AccessDenied"), Mark.WARN, "away since 2026-11-22T12:00:00+00:00"),
        (replace(STATE, state=""), Mark.OK, "no word yet"),
        (None, Mark.WARN, "not known"),
    ],
)
def test_a_destination_says_how_it_stands(state: DestinationStatus | None, mark: Mark, said: str) -> None:
    check = destination("cloud", state)
    assert (check.name, check.mark) == ("destination cloud", mark)
    assert said in check.what


@pytest.mark.parametrize(
    ("seconds", "mark", "said"),
    [
        (0, Mark.OK, "0 s"),
        (59, Mark.OK, "59 s ahead of"),
        (-61, Mark.WARN, "61 s behind"),
        (899, Mark.WARN, "ahead"),
        (-900, Mark.FAIL, "refuses what differs by 15 minutes"),
    ],
)
def test_clocks_are_compared(seconds: float, mark: Mark, said: str) -> None:
    check = clock(NOW, NOW + timedelta(seconds=seconds), "https://store")
    assert check.mark is mark
    assert said in check.what


def test_a_store_without_a_clock_is_skipped() -> None:
    assert clock(None, NOW, "https://store").mark is Mark.SKIP


async def test_a_box_that_keeps_no_evidence_has_one_line(tmp_path: Path) -> None:
    checks_found = await found(tmp_path, thing="box")
    assert {name: check.mark for name, check in checks_found.items()} == {"evidence": Mark.SKIP}


async def test_evidence_without_a_bucket_is_wrong(tmp_path: Path) -> None:
    checks_found = await found(tmp_path, spool={"folder": str(tmp_path / "spool")})
    assert checks_found["evidence"].mark is Mark.FAIL
    assert "BucketName" in checks_found["evidence"].what


async def test_without_the_folder_the_rest_is_not_asked(tmp_path: Path) -> None:
    checks_found = await found(
        tmp_path, spool={"folder": str(tmp_path / "spool")}, edge_manager={"CaptureDataDestination": "Disk"}
    )
    assert {name: check.mark for name, check in checks_found.items()} == {
        "evidence": Mark.OK,
        "spool folder": Mark.WARN,
        "evidence waiting": Mark.SKIP,
    }
