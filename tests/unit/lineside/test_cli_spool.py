import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from lineside.cli.spool.location import locate
from lineside.errors import LinesideError, SettingsError
from lineside.spool import SpoolSettings
from lineside.spool.findings import Need, mebibytes, needs
from lineside.spool.store.values import DestinationStatus, Status
from lineside.tables import table

GIB = 1024**3
SETTINGS = SpoolSettings(folder=Path("/spool"), max_bytes=GIB, reserve_bytes=64 * 1024 * 1024)
CLOUD = DestinationStatus(
    name="cloud",
    state="BACKOFF",
    detail="no answer",
    since_ms=int(time.time() * 1000) - 7_200_000,
    waiting_records=3,
    waiting_bytes=4096,
    oldest_ms=int(time.time() * 1000) - 300_000,
    delivered_records=1200,
    delivered_bytes=5 * 1024 * 1024,
    dead=0,
)
STATUS = Status(
    records=5,
    bytes=10_000,
    kept_records=2,
    kept_bytes=5904,
    oldest_ms=CLOUD.oldest_ms,
    unsealed=1,
    max_bytes=GIB,
    free_bytes=20 * GIB,
    is_served=True,
    dropped={},
    quarantined={},
    destinations=[CLOUD],
)


def wanted(status: Status, files: int = 0) -> list[Need]:
    return needs(status, SETTINGS, quarantined_files=files)


def test_a_destination_that_is_away_needs_nobody() -> None:
    assert wanted(replace(STATUS, dropped={"sampled": 3}, quarantined={"blob": 1})) == []


@pytest.mark.parametrize(
    ("change", "about", "said"),
    [
        ({"free_bytes": 63 * 1024 * 1024}, "disk", "63.0 MiB free"),
        ({"bytes": int(0.95 * GIB)}, "bound", "95% of spool.max_bytes"),
        ({"destinations": [replace(CLOUD, dead=2)]}, "dead letters cloud", "cloud refused 2 batches"),
    ],
)
def test_what_needs_a_person_is_said_with_what_to_do(change: dict, about: str, said: str) -> None:
    (need,) = wanted(replace(STATUS, **change))
    assert need.about == about
    assert said in need.what
    assert need.remedy


def test_a_full_spool_says_what_happens_at_the_bound() -> None:
    (need,) = wanted(replace(STATUS, bytes=GIB))
    assert "what is delivered and only kept goes, then new evidence is refused" in need.what


def test_damaged_files_need_a_person_until_they_are_taken_away() -> None:
    assert [need.about for need in wanted(STATUS, files=1)] == ["quarantine"]
    assert wanted(STATUS, files=0) == []


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1024 * 1024, "1.0 MiB"),
        (1536 * 1024**2, "1.5 GiB"),
        (5 * 1024**4, "5120.0 GiB"),
    ],
)
def test_a_size_is_said_in_units_that_people_read(size: int, said: str) -> None:
    assert mebibytes(size) == said


def test_a_table_is_as_wide_as_its_cells_and_cuts_nothing() -> None:
    text = table(("NAME", "COUNT"), [["a" * 200, "1"], ["b", "1000"]], right=("COUNT",))
    assert text.splitlines() == [
        f"{'NAME':<200}  COUNT",
        f"{'a' * 200}      1",
        f"{'b':<200}   1000",
    ]


def settings_file(where: Path, **spool: object) -> Path:
    path = where / "settings.yaml"
    path.write_text(yaml.safe_dump({"thing": "box-1", "spool": spool, "inference": {"model_repository": "models"}}))
    return path


def test_the_spool_is_the_settings_one(tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / "records.db").touch()
    found = locate(settings_file(tmp_path, folder=str(tmp_path / "spool"), max_bytes=2 * GIB), None)
    assert (found.folder, found.thing, found.prefix) == (tmp_path / "spool", "box-1", "sme-capture")
    assert found.spool.max_bytes == 2 * GIB
    assert found.quarantined_files == 0


def test_a_folder_that_is_named_comes_before_the_settings(tmp_path: Path) -> None:
    (tmp_path / "records.db").touch()
    (tmp_path / "quarantine").mkdir()
    (tmp_path / "quarantine" / "blob").touch()
    found = locate(settings_file(tmp_path, folder="/elsewhere", max_bytes=2 * GIB), tmp_path)
    assert (found.folder, found.spool.folder, found.spool.max_bytes) == (tmp_path, tmp_path, 2 * GIB)
    assert found.quarantined_files == 1


@pytest.mark.parametrize(
    ("folder", "said"), [("gone", "there is no such folder"), (".", "it has no records.db"), (None, "is not set")]
)
def test_a_place_without_a_spool_says_what_to_do(tmp_path: Path, folder: str | None, said: str) -> None:
    with pytest.raises(LinesideError) as error:
        locate(settings_file(tmp_path), None if folder is None else tmp_path / folder)
    assert said in error.value.what
    assert error.value.remedy


def test_wrong_settings_are_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="did you mean 'folder'"):
        locate(settings_file(tmp_path, foldr="/spool"), None)
