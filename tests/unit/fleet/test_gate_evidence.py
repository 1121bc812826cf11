"""Evidence as observations: which parts are a fair sample, and what is refused."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from lineside.contract import TRY_STATION
from lineside_fleet.gate.observations import Observations, Samples, Window
from lineside_fleet.gate.sources.errors import NotObserved
from lineside_fleet.gate.sources.evidence import observe
from tests.support.exported_evidence import BEGAN, Made, lines, many, write


def counts(side: Observations) -> tuple[int, int, int, int]:
    of = [sum(getattr(cell, name) or 0 for cell in side.cells) for name in ("parts", "errors", "unknowns", "fails")]
    return of[0], of[1], of[2], of[3]


def latencies(side: Observations) -> list[float]:
    return [float(v) for cell in side.cells if isinstance(cell.latency, Samples) for v in cell.latency.values]


PARTS = [
    Made("a", at_s=0, latency_ms=11),
    Made("b", at_s=10, verdict="fail", latency_ms=12),
    Made("c", at_s=20, verdict="unknown", latency_ms=13),
    Made("d", at_s=30, verdict="unknown", status="expired", latency_ms=99),
    Made("e", "box-2", at_s=3600, latency_ms=15, told="unknown"),
    Made("f", "box-2", at_s=3600, station=TRY_STATION),
]


def test_every_part_counts_once_by_what_the_plc_got(tmp_path: Path) -> None:
    folder = write(tmp_path, PARTS)
    (tmp_path / "again.jsonl").write_bytes((tmp_path / "box.jsonl").read_bytes())  # delivered twice
    side = observe([folder])
    assert counts(side) == (5, 1, 3, 1)
    assert sorted(latencies(side)) == [11, 12, 13, 15]
    assert side.versions == ("3",)
    assert side.window == Window(BEGAN, BEGAN + timedelta(hours=1))
    assert {cell.device for cell in side.cells} == {"box-1", "box-2"}
    assert side.remarks == ()


@pytest.mark.parametrize("says_share", [True, False])
def test_a_rate_below_one_is_a_fair_sample_although_fails_are_always_kept(tmp_path: Path, says_share: bool) -> None:
    parts = [replace(part, verdict="fail" if n % 4 == 0 else "pass") for n, part in enumerate(many("3", parts=1500))]
    side = observe([write(tmp_path, parts, rate=0.25, says_share=says_share)])
    of_all, _errors, _unknowns, fails = counts(side)
    assert of_all == pytest.approx(12_000 * 0.25, rel=0.06)
    assert fails / of_all == pytest.approx(0.25, abs=0.03)
    kept = len(lines(parts, rate=0.25))
    assert kept / 12_000 == pytest.approx(0.25 + 0.75 * 0.25, abs=0.02), (
        "the control: all that was kept are no fair sample"
    )
    assert "fair sample of 0.25" in side.remarks[0]
    hours = sum(cell.seconds for cell in side.cells) / 3600
    assert of_all / hours == pytest.approx(1500 / 24, rel=0.06)


@pytest.mark.parametrize("says_share", [True, False])
@pytest.mark.parametrize("policy", [{"rate": None}, {"rate": None, "every": 10}])
def test_evidence_of_chosen_parts_only_is_refused(tmp_path: Path, policy: dict[str, object], says_share: bool) -> None:
    with pytest.raises(NotObserved, match="chosen for what they are") as refused:
        observe([write(tmp_path, many("3"), **policy, says_share=says_share)])
    assert "rate" in refused.value.remedy
    assert ("by 'every 10'" in str(refused.value)) == ("every" in policy)


def test_a_version_that_knows_nothing_of_any_part_is_judged(tmp_path: Path) -> None:
    parts = [replace(part, verdict="unknown") for part in many("4", devices=1, parts=60)]
    assert counts(observe([write(tmp_path / "new", parts)])) == (60, 0, 60, 0)
    older = write(tmp_path / "older", parts, says_share=False)  # whose reason is the verdict, whatever the rate was
    with pytest.raises(NotObserved, match="60 parts that were chosen for what they are"):
        observe([older])


def test_parts_from_before_there_was_a_rate_are_left_out_and_other_versions_rates_count_for_nothing(
    tmp_path: Path,
) -> None:
    bad = [replace(part, verdict="fail") for part in many("4", devices=1, parts=50, tag="early-")]
    write(tmp_path / "without", bad, rate=None)
    write(tmp_path / "with", many("4", devices=1, parts=400))
    write(tmp_path / "other", many("3", devices=1, parts=400, tag="other-"), rate=0.05)
    side = observe([tmp_path], version="4")
    of_all, _errors, _unknowns, fails = counts(side)
    assert (of_all, fails < 40) == (400, True)
    assert side.remarks == ("50 parts are left out: when they came, the policy kept no fair share of all",)
    assert counts(observe([tmp_path / "with", tmp_path / "other"]))[0] < 100  # of both, what both hold of all parts


@pytest.mark.parametrize("share", ["1", True, -0.1, 1.5])
def test_a_share_that_is_none_makes_a_record_unreadable(tmp_path: Path, share: object) -> None:
    [line] = lines([Made("a")])
    document = json.loads(line)
    document["eventMetadata"]["fairShare"] = share
    (tmp_path / "box.jsonl").write_text(json.dumps(document))
    with pytest.raises(NotObserved, match="no number from 0 to 1"):
        observe([tmp_path])


def test_versions_models_and_windows_are_told_apart(tmp_path: Path) -> None:
    write(tmp_path / "a", many("3", parts=50))
    write(tmp_path / "b", many("4", parts=60))
    assert observe([tmp_path], version="4").parts == 480
    assert observe([tmp_path]).versions == ("3", "4")
    half = Window(BEGAN, BEGAN + timedelta(hours=12))
    assert observe([tmp_path], version="4", window=half).parts == pytest.approx(240, abs=8)
    with pytest.raises(NotObserved, match="no record of a part of version 5") as refused:
        observe([tmp_path], version="5")
    assert "3, 4" in refused.value.remedy
    write(tmp_path / "c", [Made("x", model="weld")])
    with pytest.raises(NotObserved, match="models surface, weld"):
        observe([tmp_path])
    assert observe([tmp_path], model="weld").parts == 1


def test_a_result_that_is_an_object_is_read_beside_the_file(tmp_path: Path) -> None:
    [line] = lines([Made("a", latency_ms=17)], embed_limit=10)
    reference = json.loads(line)["deviceFleetAuxiliaryOutputs"][0]["data-ref"]
    (tmp_path / "box.jsonl").write_bytes(line + b"\n")
    with pytest.raises(NotObserved, match="cannot be read"):
        observe([tmp_path])
    name = reference.removeprefix("s3://bucket/")
    (tmp_path / name).parent.mkdir(parents=True)
    [whole] = lines([Made("a", latency_ms=17)])
    (tmp_path / name).write_text(json.loads(whole)["deviceFleetAuxiliaryOutputs"][0]["data"])
    assert latencies(observe([tmp_path])) == [17]


@pytest.mark.parametrize(
    "reference", ["s3://b/raw-data/../../secret.json", "/etc/passwd", "raw-data//etc/passwd", "s3://b/other/x.json"]
)
def test_an_object_elsewhere_is_not_read(tmp_path: Path, reference: str) -> None:
    [line] = lines([Made("a")], embed_limit=10)
    document = json.loads(line)
    document["deviceFleetAuxiliaryOutputs"][0]["data-ref"] = reference
    (tmp_path / "box.jsonl").write_text(json.dumps(document))
    with pytest.raises(NotObserved, match="at no place beside the file"):
        observe([tmp_path])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no record of a part"),
        (b"not json\n", "1 of 1 records are unreadable"),
        (b"[1]\n", "no JSON object"),
        (b'{"eventMetadata": 3}\n', "no eventMetadata"),
        (b'{"a": 1, "a": 2}\n', "given twice"),
        (b"\xff\xfe\n", "unreadable"),
    ],
)
def test_what_is_no_evidence_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "box.jsonl").write_bytes(content)
    with pytest.raises(NotObserved, match=says):
        observe([tmp_path])


def test_one_damaged_record_in_thousands_is_a_remark_and_more_are_refused(tmp_path: Path) -> None:
    good = b"".join(line + b"\n" for line in lines(many("3")))
    (tmp_path / "box.jsonl").write_bytes(good + b'{"eventMeta')
    assert "1 records are unreadable" in observe([tmp_path]).remarks[0]
    (tmp_path / "box.jsonl").write_bytes(good + b"half\n" * 40)
    with pytest.raises(NotObserved, match="40 of 3240 records"):
        observe([tmp_path])


def test_a_missing_path_and_an_empty_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(NotObserved, match=r"no\.jsonl: No such file"):
        observe([tmp_path / "no.jsonl"])
    with pytest.raises(NotObserved, match="no file of records"):
        observe([tmp_path])
