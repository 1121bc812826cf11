"""`lineside spool` on real spools, as the services leave them."""

import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from lineside.cli.spool import app
from lineside.spool import Blob, Entry, Spool, SpoolSettings

IMAGE = bytes(range(256)) * 20


def entry(number: int, *, model: str = "presses", image: bool = False) -> Entry:
    shown = '{"name":"image","data-ref":"spool:0"}' if image else ""
    body = f'{{"deviceFleetAuxiliaryInputs":[{shown}],"eventMetadata":{{"eventId":"event-{number}"}}}}'
    blobs = (Blob(f"raw-data/auxiliary-inputs/box-event-{number}-0-image.jpg", IMAGE),) if image else ()
    folder = f"line/{model}/2026/11/22/0{number % 2}"
    return Entry(key=f"event-{number}", stream=model, folder=folder, body=body.encode(), blobs=blobs)


def refuse_all(spool: Spool, destination: str, reason: str) -> int:
    """Have a destination refuse what is next in line for good; return the batch's number."""
    while True:
        lease = spool.lease(destination)
        assert lease is not None
        if spool.refuse(lease, reason):
            return lease.batch.number


def seal_all(spool: Spool, most: int = 100) -> None:
    while runs := spool.unsealed():
        for run in runs:
            spool.seal(run, most, 1 << 20)


@pytest.fixture
def settings(tmp_path: Path) -> SpoolSettings:
    return SpoolSettings(folder=tmp_path / "spool", refusals=2)


@pytest.fixture
def config(tmp_path: Path, settings: SpoolSettings) -> Path:
    path = tmp_path / "settings.yaml"
    path.write_text(yaml.safe_dump({"thing": "box", "spool": {"folder": str(settings.folder), "refusals": 2}}))
    return path


@pytest.fixture
def spool(settings: SpoolSettings) -> Iterator[Spool]:
    """A spool that services have open while the commands run."""
    with Spool.open(settings, producer="inference") as spool:
        yield spool


@pytest.fixture
def run(config: Path):
    def command(*arguments: str, text: str | None = None) -> Result:
        return CliRunner().invoke(app, [*arguments, "--config", str(config)], input=text)

    return command


def test_status_of_a_spool_that_is_well(spool: Spool, run) -> None:
    spool.register(["archive"])
    spool.report("archive", "ONLINE", "")
    for number in range(3):
        spool.put(entry(number))
    seal_all(spool)
    lease = spool.lease("archive")
    assert lease is not None
    spool.confirm(lease)
    shown = run("status")
    assert shown.exit_code == 0, shown.output
    assert re.search(r"^waiting +2 records, ", shown.stdout, re.MULTILINE)
    assert re.search(r"^archive +ONLINE +.* 2 \(.*\) +.* 1 \(.*\) +0$", shown.stdout, re.MULTILINE), shown.stdout


def test_status_as_json_for_scripts(spool: Spool, run) -> None:
    spool.register(["archive"])
    spool.put(entry(1, image=True))
    document = json.loads(run("status", "--json").stdout)
    assert (document["ok"], document["records"], document["unsealed"], document["needs"]) == (True, 1, 1, [])
    assert document["bytes"] > len(IMAGE)
    assert [each["name"] for each in document["destinations"]] == ["archive"]


def test_dead_letters_are_a_persons_business(spool: Spool, run) -> None:
    spool.register(["archive", "cloud"])
    spool.put(entry(1, model="presses"))
    spool.put(entry(2, model="spindle"))
    seal_all(spool)
    first = refuse_all(spool, "cloud", "KeyTooLong")
    second = refuse_all(spool, "cloud", "EntityTooLarge")

    state = run("status")
    assert state.exit_code == 1
    assert "cloud refused 2 batches for good" in state.stdout

    letters = json.loads(run("list", "cloud", "--json").stdout)
    assert {(letter["batch"], letter["reason"]) for letter in letters} == {
        (first, "KeyTooLong"),
        (second, "EntityTooLarge"),
    }
    table = run("list").stdout
    assert "KeyTooLong" in table
    assert "presses" in table
    assert run("list", "archive").stdout == "no dead letters\n"

    assert run("retry", "cloud", str(first)).stdout == "1 batch back in line\n"
    again = run("retry", "cloud", str(first))
    assert (again.exit_code, f"no dead letter {first}" in again.stderr) == (1, True)
    assert run("retry", "--all").stdout == "1 batch back in line\n"
    assert run("status").exit_code == 0
    assert spool.lease("cloud") is not None


def test_a_destination_that_is_unknown_is_answered_with_the_nearest(spool: Spool, run) -> None:
    spool.register(["archive"])
    for command in (["list", "archiv"], ["retry", "archiv"], ["forget", "archiv", "--yes"]):
        shown = run(*command)
        assert shown.exit_code == 2
        assert "did you mean 'archive'" in shown.stderr


@pytest.mark.parametrize("arguments", [["retry"], ["retry", "cloud", "--all"], ["list", "cloud", "--waiting"]])
def test_what_contradicts_itself_is_refused(spool: Spool, run, arguments: list[str]) -> None:
    spool.register(["cloud"])
    assert run(*arguments).exit_code == 2


def test_the_oldest_that_wait(spool: Spool, run) -> None:
    assert run("list", "--waiting").stdout == "nothing waits\n"
    for number in range(5):
        spool.put(entry(number))
    shown = run("list", "--waiting", "--most", "2").stdout
    assert "event-0" in shown
    assert "event-1" in shown
    assert "event-2" not in shown
    assert "and 3 more" in shown
    keys = [record["key"] for record in json.loads(run("list", "--waiting", "--json").stdout)]
    assert keys == [f"event-{number}" for number in range(5)]


def test_forget_asks_and_says_what_is_held(spool: Spool, run) -> None:
    spool.register(["archive", "old"])
    spool.put(entry(1))
    seal_all(spool)
    lease = spool.lease("archive")
    assert lease is not None
    spool.confirm(lease)
    asked = run("forget", "old", text="n\n")
    assert asked.exit_code == 1
    assert "old has not taken 1 records" in asked.stdout
    assert [each.name for each in spool.status().destinations] == ["archive", "old"]
    done = run("forget", "old", "--yes")
    assert (done.exit_code, "old is forgotten" in done.stdout) == (0, True)
    assert [each.name for each in spool.status().destinations] == ["archive"]
    assert spool.status().records == 0


def exported(folder: Path) -> dict[str, dict]:
    """Return the records of an export by event, each with all its objects there and whole."""
    found: dict[str, dict] = {}
    for path in folder.rglob("*.jsonl"):
        for line in path.read_bytes().splitlines():
            record = json.loads(line)
            for item in record["deviceFleetAuxiliaryInputs"]:
                assert (path.parent / item["data-ref"]).read_bytes() == IMAGE
            event = record["eventMetadata"]["eventId"]
            assert event not in found
            found[event] = record
    return found


def test_export_writes_all_that_waits_and_then_what_came_since(spool: Spool, run, tmp_path: Path) -> None:
    stick = tmp_path / "stick"
    for number in range(6):
        spool.put(entry(number, image=number % 2 == 0, model=("presses", "spindle")[number % 2]))
    first = run("export", str(stick))
    assert first.exit_code == 0, first.output
    assert first.stdout.startswith("6 records in ")
    assert set(exported(stick)) == {f"event-{number}" for number in range(6)}
    assert (stick / "sme-capture/line/spindle/2026/11/22/01/box.event-1-export.jsonl").is_file()
    assert spool.status().records == 6

    assert "0 records in 0 files" in run("export", str(stick)).stdout
    spool.put(entry(6, image=True))
    again = json.loads(run("export", str(stick), "--json").stdout)
    assert (again["records"], again["before"], again["damaged"]) == (1, 6, 0)
    assert set(exported(stick)) == {f"event-{number}" for number in range(7)}


def test_an_export_that_was_cut_is_completed(spool: Spool, run, tmp_path: Path) -> None:
    stick = tmp_path / "stick"
    for number in range(4):
        spool.put(entry(number, image=True))
    run("export", str(stick))
    (mark,) = stick.glob(".lineside-export-*")
    mark.unlink()  # the stick was pulled before this was written
    lines = sorted(stick.rglob("*.jsonl"))
    lines[0].unlink()
    image = next(stick.rglob("*.jpg"))
    image.write_bytes(IMAGE[:100])
    run("export", str(stick))
    assert set(exported(stick)) == {f"event-{number}" for number in range(4)}
    assert sorted(stick.rglob("*.jsonl")) == lines


def test_an_export_of_another_spool_begins_anew(settings: SpoolSettings, run, tmp_path: Path) -> None:
    stick = tmp_path / "stick"
    for first, folder in ((0, settings.folder), (10, tmp_path / "other")):
        with Spool.open(settings.model_copy(update={"folder": folder}), producer="inference") as spool:
            spool.put(entry(first))
        assert "1 records" in run("export", str(stick), "--folder", str(folder)).stdout
    assert set(exported(stick)) == {"event-0", "event-10"}


def test_a_damaged_object_is_left_out_of_an_export_and_said(spool: Spool, run, tmp_path: Path) -> None:
    spool.put(entry(0, image=True))
    spool.put(entry(2))
    (blob,) = (tmp_path / "spool" / "blobs").rglob("*.blob")
    blob.write_bytes(bytes([IMAGE[0] ^ 1]) + IMAGE[1:])
    shown = run("export", str(tmp_path / "stick"))
    assert shown.exit_code == 1
    assert "1 damaged objects were left out" in shown.stdout
    (path,) = (tmp_path / "stick").rglob("*.jsonl")
    assert b"data-error" in path.read_bytes()
    state = run("status")
    assert state.exit_code == 1
    assert "quarantine" in state.stdout


def test_an_export_is_for_its_owner_and_group_as_the_spool_is(spool: Spool, run, tmp_path: Path) -> None:
    spool.put(entry(0, image=True))
    before = os.umask(0o022)
    try:
        assert run("export", str(tmp_path / "new" / "stick")).exit_code == 0
    finally:
        os.umask(before)
    written = [path for path in (tmp_path / "new").rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in written} == {0o640}
    assert {stat.S_IMODE(path.parent.stat().st_mode) for path in written} == {0o750}


def test_an_export_that_cannot_be_written_says_so(spool: Spool, run, tmp_path: Path) -> None:
    spool.put(entry(0))
    (tmp_path / "file").touch()
    shown = run("export", str(tmp_path / "file" / "stick"))
    assert shown.exit_code == 1
    assert "cannot be written: Not a directory" in shown.stderr
    inside = run("export", str(tmp_path / "spool" / "stick"))
    assert inside.exit_code == 2
    assert "inside the spool itself" in inside.stderr


def test_a_command_mends_and_makes_nothing(tmp_path: Path, run) -> None:
    shown = run("status")
    assert shown.exit_code == 2
    assert "there is no such folder" in shown.stderr
    assert not (tmp_path / "spool").exists()


def test_verify_of_a_spool_that_is_whole_and_of_one_that_is_not(spool: Spool, run, tmp_path: Path) -> None:
    for number in range(3):
        spool.put(entry(number, image=True))
    shown = run("verify")
    assert shown.exit_code == 0, shown.output
    blob = next((tmp_path / "spool" / "blobs").rglob("*.blob"))
    blob.write_bytes(IMAGE[:-1])
    shown = run("verify")
    assert shown.exit_code == 1
    assert blob.name in shown.stdout
    assert json.loads(run("verify", "--json").stdout)["ok"] is False


def test_what_is_delivered_and_only_kept_does_not_wait(settings: SpoolSettings, run) -> None:
    with Spool.open(settings.model_copy(update={"keep_delivered_h": 1.0}), producer="inference") as spool:
        spool.register(["cloud"])
        spool.put(entry(1))
        for one in spool.unsealed():
            spool.seal(one, 10, 10**9)
        lease = spool.lease("cloud")
        assert lease
        spool.confirm(lease)
        spool.put(entry(2))
        shown = run("list", "--waiting", "--most", "1").stdout
    assert "event-2" in shown
    assert "more" not in shown
