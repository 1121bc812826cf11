"""SIGKILL of producer and forwarder at random moments: nothing lost, nothing twice, order kept.

In the short form 300 kills; with TESTS_FAULTS=long (`make faults`) 3,000 and a million records.
"""

import hashlib
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.support.variables import LONG

RIG = str(Path(__file__).with_name("spool_rig.py"))
KILLS, RECORDS = (3000, 1_000_000) if LONG else (300, 15_000)
BOUND_S = 3 * 3600 if LONG else 900


def run(folder: Path, *, kills: int, records: int, broken: str = "") -> dict:
    command = [sys.executable, RIG, str(folder), "--kills", str(kills), "--records", str(records), "--broken", broken]
    done = subprocess.run(command, capture_output=True, text=True, timeout=BOUND_S, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return json.loads(done.stdout)


def acknowledged(folder: Path) -> set[str]:
    return {key for path in (folder / "acks").iterdir() for key in path.read_text().split()}


def delivered(folder: Path) -> dict[str, list[str]]:
    """Return the keys of every stream as they lie at the destination: files by name, lines in order."""
    streams: dict[str, list[str]] = {}
    for path in sorted((folder / "out").rglob("*.jsonl"), key=lambda path: path.name):
        for line in path.read_text().splitlines():
            record = json.loads(line)
            about = record["eventMetadata"]
            check_data(record["deviceFleetInputs"][0], about["eventId"])
            streams.setdefault(about["modelName"], []).append(about["eventId"])
    return streams


def check_data(item: dict, key: str) -> None:
    """A line's object is there, whole."""
    if "data-ref" in item:
        data = Path(unquote(urlsplit(item["data-ref"]).path)).read_bytes()
        assert hashlib.sha256(data).digest() == hashlib.sha256(key.encode() * 400).digest()


def wrong(folder: Path) -> list[str]:
    """Return what was lost after its acknowledgement, arrived twice, or out of order."""
    streams = delivered(folder)
    keys = Counter(key for stream in streams.values() for key in stream)
    lost = sorted(acknowledged(folder) - keys.keys())
    twice = sorted(key for key, count in keys.items() if count > 1)
    mixed = [name for name, stream in streams.items() if stream != sorted(stream)]
    return [f"lost {key}" for key in lost] + [f"twice {key}" for key in twice] + [f"order of {name}" for name in mixed]


@pytest.mark.timeout(BOUND_S + 600)
def test_nothing_is_lost_doubled_or_mixed_up_by_kills(tmp_path: Path) -> None:
    kills = run(tmp_path, kills=KILLS, records=RECORDS)["kills"]
    assert kills["writer"] + kills["forwarder"] >= KILLS
    assert kills["writer"] > KILLS // 10, "the writer was not done before the kills were"
    assert len(acknowledged(tmp_path)) == RECORDS
    assert wrong(tmp_path) == []


@pytest.mark.parametrize(("broken", "seen"), [("ack-early", "lost"), ("confirm-early", "lost"), ("new-names", "twice")])
def test_the_harness_sees_a_broken_promise(tmp_path: Path, broken: str, seen: str) -> None:
    run(tmp_path, kills=30, records=3000, broken=broken)
    assert any(what.startswith(seen) for what in wrong(tmp_path))
