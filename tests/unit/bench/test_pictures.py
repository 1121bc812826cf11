"""Whether a picture that was kept is found to show its part, or another."""

from pathlib import Path

import pytest

from lineside_bench.parts.part import encode_jpeg, make_part
from lineside_bench.reporting.pictures import Pictures, glance
from lineside_bench.reporting.records import PictureAccount
from lineside_bench.reporting.report import RunFacts, has_faults, summarise

SEED = 7


@pytest.fixture(scope="module")
def jpegs() -> dict[str, bytes]:
    return {part.part_id: encode_jpeg(part.image) for part in (make_part(SEED, index) for index in range(8))}


def kept(folder: Path, jpegs: dict[str, bytes], shown: dict[str, str]) -> list[tuple[str, Path]]:
    """Return a picture a part in a file; `shown` says whose it is where it is another's."""
    paths = []
    for part in jpegs:
        path = folder / f"{part}.jpg"
        path.write_bytes(jpegs[shown.get(part, part)])
        paths.append((part, path))
    return paths


def test_each_part_is_known_by_its_picture(tmp_path: Path, jpegs: dict[str, bytes]) -> None:
    pictures = Pictures()
    for part, jpeg in jpegs.items():
        pictures.remember(part, jpeg)
    assert pictures.account(kept(tmp_path, jpegs, {})) == PictureAccount(8, ())
    exchanged = pictures.account(kept(tmp_path, jpegs, {"P-000002": "P-000005"}))
    assert exchanged == PictureAccount(8, (("P-000002", "P-000005"),))


def test_parts_that_look_alike_are_no_fault(tmp_path: Path, jpegs: dict[str, bytes]) -> None:
    """Where a run draws few pictures, they come again as other parts."""
    pictures = Pictures()
    alike = jpegs | {"P-000002": jpegs["P-000005"]}
    for part, jpeg in alike.items():
        pictures.remember(part, jpeg)
    assert pictures.account(kept(tmp_path, alike, {})) == PictureAccount(8, ())


def test_the_picture_of_a_part_that_was_not_shown_is_not_compared(tmp_path: Path, jpegs: dict[str, bytes]) -> None:
    pictures = Pictures()
    assert pictures.account(kept(tmp_path, jpegs, {})) == PictureAccount()
    pictures.remember("P-000001", jpegs["P-000001"])
    assert pictures.account(kept(tmp_path, jpegs, {})).compared == 1
    assert glance(b"no picture") is None


def test_a_picture_of_another_part_is_a_fault_of_the_run() -> None:
    def facts(pictures: PictureAccount | None) -> RunFacts:
        return RunFacts(rate=1, seed=SEED, stations=1, ready_s=1.0, pictures=pictures)

    good = summarise([], {}, facts(PictureAccount(5, ())))
    assert good["pictures"] == {"compared": 5, "wrong": 0}
    assert not has_faults(good)
    assert summarise([], {}, facts(None))["pictures"] is None
    bad = summarise([], {}, facts(PictureAccount(5, (("P-1", "P-2"),))))
    assert bad["pictures"] == {"compared": 5, "wrong": 1}
    assert has_faults(bad)
    assert bad["problems"] == [{"part_id": "P-1", "station": "", "what": "its picture is that of part P-2"}]
