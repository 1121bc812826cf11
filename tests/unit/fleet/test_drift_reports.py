import json

import pytest

from lineside_fleet.drift.reports import read
from lineside_fleet.errors import Refused

HASH = "0" * 32


def test_reports_are_read_in_each_form(tmp_path):
    (tmp_path / "lines.jsonl").write_text(
        "".join(
            json.dumps({"thing": f"d{number}", "reported": {"settings_hash": {"inference": HASH}}}) + "\n"
            for number in range(2)
        ),
        encoding="utf-8",
    )
    shadow = {"name": {"lineside": {"reported": {"settings_hash": {"forwarder": HASH}}}}}
    index = {"things": [{"thingName": "d2", "shadow": json.dumps(shadow)}, {"thingName": "d3", "shadow": "{}"}]}
    (tmp_path / "index.json").write_text(json.dumps(index), encoding="utf-8")
    assert read(tmp_path) == {
        "d0": {"inference": HASH},
        "d1": {"inference": HASH},
        "d2": {"forwarder": HASH},
        "d3": {},
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [("{", "r.json:1: not JSON"), ('{"reported": {}}', "names no thing"), ("[1]", "names no thing")],
)
def test_what_is_no_report_is_refused(tmp_path, text, words):
    (tmp_path / "r.json").write_text(text, encoding="utf-8")
    with pytest.raises(Refused, match=words):
        read(tmp_path)


def test_a_place_without_reports_is_refused(tmp_path):
    with pytest.raises(Refused, match=r"holds no \.json"):
        read(tmp_path)
    with pytest.raises(Refused, match="cannot be read"):
        read(tmp_path / "none.json")
