"""A disk filled to the last byte, ten times: refusals are explicit, all that was accepted arrives once, without help.

The spool lies on a small disk of its own, which is mounted where nobody else sees it. In every third cycle producers
and forwarder are killed on the way.
"""

import itertools
import json
import subprocess
import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from lineside.spool import SpoolFull, SpoolSettings
from lineside.spool.spool import Spool
from tests.support.forwarding import HOUR, Scripted, forwarding, opened
from tests.support.forwarding import entry as capture
from tests.support.mounts import UNSHARE, needs_mount
from tests.support.paths import ROOT
from tests.support.spooling import drain, entry, seal_all
from tests.support.waiting import until

MIB = 1024 * 1024
CYCLES = 10
BOUND_S = 900


def run(folder: Path, *given: str) -> dict:
    command = [*UNSHARE, sys.executable, "-m", "tests.faults.spool_full_disk", str(folder), *given]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=BOUND_S, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return json.loads(done.stdout) | {"said": done.stderr}


def data_of(item: dict, moved: tuple[Path, Path]) -> int:
    """Return the size of an item's object, which is there, or of what is embedded."""
    if "data-ref" not in item:
        return len(item["data"]) // 4 * 3
    path = Path(unquote(urlsplit(item["data-ref"]).path))
    return (moved[1] / path.relative_to(moved[0])).stat().st_size


def wrong(folder: Path, out: str = "out") -> list[str]:
    """Return what was accepted and did not arrive, or not whole; what arrived twice, or out of order."""
    streams: dict[str, list[str]] = {}
    found: list[str] = []
    for path in sorted((folder / out).rglob("*.jsonl"), key=lambda path: path.name):
        for line in path.read_text().splitlines():
            record = json.loads(line)
            about, (item,) = record["eventMetadata"], record["deviceFleetInputs"]
            streams.setdefault(about["modelName"], []).append(key := about["eventId"])
            size = len(key) * (3500 if int(key[-1]) == 0 else 240)
            if "data-error" in item or data_of(item, (folder / "out", folder / out)) != size:
                found.append(f"{key} is not whole")
    keys = Counter(key for stream in streams.values() for key in stream)
    accepted = {key for path in (folder / "acks").iterdir() for key in path.read_text().split()}
    found += [f"{key} is lost" for key in sorted(accepted - keys.keys())]
    found += [f"{key} is there twice" for key, count in keys.items() if count > 1]
    return found + [f"order of {name}" for name, stream in streams.items() if stream != sorted(stream)]


@needs_mount
@pytest.mark.timeout(BOUND_S + 30)
def test_what_was_accepted_on_a_full_disk_arrives_without_help(tmp_path: Path) -> None:
    report = run(tmp_path, "cycles", str(CYCLES))
    assert report["stuck"] is None, report["said"][-3000:]
    assert len(report["cycles"]) == CYCLES
    for cycle in report["cycles"]:
        assert len(cycle["refused"]) == 4, "each producer was refused, before and after the disk's last byte was taken"
        assert all("disk has" in reason or "is full" in reason for reason in cycle["refused"])
        assert cycle["taken"] > 200
    assert any(cycle["given_up"] for cycle in report["cycles"]), "the space set aside was never needed"
    assert wrong(tmp_path) == []


@needs_mount
def test_the_harness_sees_a_spool_without_its_reserve(tmp_path: Path) -> None:
    assert run(tmp_path, "cycles", "1", "no-reserve")["stuck"] is not None


@needs_mount
def test_the_harness_sees_a_refusal_that_is_kept_quiet(tmp_path: Path) -> None:
    run(tmp_path, "cycles", "1", "ack-refused")
    assert any("is lost" in what for what in wrong(tmp_path))


@needs_mount
def test_a_full_disk_of_the_destination_is_waited_for(tmp_path: Path) -> None:
    report = run(tmp_path, "destination")
    assert "No space left" in report["detail"]
    assert report["parts"] == []
    assert wrong(tmp_path, "kept") == []


async def test_sealing_that_is_cut_off_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later hour that is sealed before the rest of this one would leave that behind for ever."""
    seal, calls = Spool.seal, itertools.count(1)

    def full_at_times(spool: Spool, *given: Any) -> Any:
        if (call := next(calls)) % 3 == 2:
            raise SpoolFull("a test says so")
        return None if call % 5 == 0 else seal(spool, *given)

    monkeypatch.setattr(Spool, "seal", full_at_times)
    destination = Scripted()
    put = [f"k-{number:02}" for number in range(60)]
    with opened(tmp_path / "spool") as spool:
        for number, key in enumerate(put):
            spool.put(capture(key, time=HOUR + timedelta(hours=number // 25)))
        async with forwarding(tmp_path / "spool", destination):
            await until(lambda: spool.status().records == 0)
    assert destination.captures() == put


@pytest.mark.parametrize("when_full", ["drop-delivered", "drop-sampled"])
def test_what_is_given_up_at_the_bound_is_counted_and_all_else_arrives(tmp_path: Path, when_full: str) -> None:
    """Accepted are as many as arrived and were dropped; what must be kept is never dropped, nor is anything refused."""
    settings = SpoolSettings.model_validate(
        {"folder": tmp_path / "spool", "max_bytes": MIB, "when_full": when_full, "keep_delivered_h": 24}
    )
    accepted: list[str] = []
    arrived: list[str] = []
    with Spool.open(settings, producer="test") as spool:
        spool.register(["out"])
        for number in range(60):
            kept = "always" if number % 10 == 0 else "sampled"
            accepted.append(f"{kept}-{number:03}")
            try:
                spool.put(entry(accepted[-1], body=b"x" * 50_000, kept=kept))
            except SpoolFull:
                assert when_full == "drop-delivered"
                accepted.pop()
                seal_all(spool, max_records=5)
                arrived += drain(spool, "out")
        dropped = spool.status().dropped
        outcomes = {key: spool.find(key) for key in accepted}
        seal_all(spool, max_records=5)
        arrived += drain(spool, "out")
    gone = sorted(set(accepted) - set(arrived))
    assert len(arrived) == len(set(arrived))
    if when_full == "drop-delivered":
        assert gone == []
        assert dropped.keys() == {"delivered"}
    else:
        assert dropped == {"sampled": len(gone)}
        assert len(gone) > 10
        assert all(key.startswith("sampled") and outcomes[key] == "dropped" for key in gone)
