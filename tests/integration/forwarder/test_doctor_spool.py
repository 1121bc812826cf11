"""What the doctor says about evidence, on real spools."""

from pathlib import Path

import pytest
import yaml

from lineside.checks import Check, Mark
from lineside.spool import Entry, Spool, SpoolSettings
from lineside_forwarder.doctor import checks


@pytest.fixture
def settings(tmp_path: Path) -> SpoolSettings:
    return SpoolSettings(folder=tmp_path / "spool", refusals=1)


async def found(tmp_path: Path, *names: str) -> dict[str, Check]:
    path = tmp_path / "settings.yaml"
    destinations = [{"name": name, "kind": "disk", "path": str(tmp_path)} for name in names]
    document = {"spool": {"folder": str(tmp_path / "spool")}, "forwarder": {"destinations": destinations}}
    path.write_text(yaml.safe_dump(document))
    return {check.name: check async for check in checks(path, {})}


def fill(spool: Spool, count: int) -> None:
    for number in range(count):
        spool.put(Entry(key=f"k{number}", stream="presses", folder="line/presses/2026/11/22/00", body=b"{}"))


async def test_a_spool_in_use_that_is_well(tmp_path: Path, settings: SpoolSettings) -> None:
    with Spool.open(settings, producer="inference") as spool:
        spool.register(["archive"])
        spool.report("archive", "ONLINE", "")
        fill(spool, 2)
        shown = await found(tmp_path, "archive")
    assert {name: check.mark for name, check in shown.items()} == {
        "evidence": Mark.OK,
        "spool folder": Mark.OK,
        "evidence waiting": Mark.OK,
        "destination archive": Mark.OK,
    }
    assert "2 records" in shown["evidence waiting"].what


async def test_dead_letters_fail_and_a_destination_that_left_is_named(tmp_path: Path, settings: SpoolSettings) -> None:
    with Spool.open(settings, producer="inference") as spool:
        spool.register(["archive", "old"])
        fill(spool, 1)
        (run,) = spool.unsealed()
        spool.seal(run, 10, 1 << 20)
        lease = spool.lease("archive")
        assert lease is not None
        assert spool.refuse(lease, "too large")
    (tmp_path / "spool" / "quarantine" / "a.blob").touch()
    shown = await found(tmp_path, "archive")
    assert shown["spool dead letters archive"].mark is Mark.FAIL
    assert shown["spool quarantine"].mark is Mark.FAIL
    assert shown["destination old"].mark is Mark.WARN
    assert "lineside spool forget old" in shown["destination old"].remedy


async def test_a_folder_without_a_spool_is_told(tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    shown = await found(tmp_path, "archive")
    assert shown["spool folder"].mark is Mark.WARN
    assert "holds no spool yet" in shown["spool folder"].what
    assert shown["evidence waiting"].mark is Mark.SKIP
