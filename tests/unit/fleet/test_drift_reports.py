import json

import pytest

from lineside_fleet.drift.comparing import Said
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
    more = {"components": {"inference": "0.2.0"}, "models": {"surface": "2"}, "enabled": True}
    (tmp_path / "z.json").write_text(json.dumps({"thing": "d4", "reported": more}), encoding="utf-8")
    assert read(str(tmp_path)) == {
        "d0": Said({"inference": HASH}),
        "d1": Said({"inference": HASH}),
        "d2": Said({"forwarder": HASH}),
        "d3": Said(),
        "d4": Said(services={"inference": "0.2.0"}, models={"surface": frozenset({"2"})}),
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [("{", "r.json:1: not JSON"), ('{"reported": {}}', "names no thing"), ("[1]", "names no thing")],
)
def test_what_is_no_report_is_refused(tmp_path, text, words):
    (tmp_path / "r.json").write_text(text, encoding="utf-8")
    with pytest.raises(Refused, match=words):
        read(str(tmp_path))


def test_a_place_without_reports_is_refused(tmp_path):
    with pytest.raises(Refused, match=r"holds no \.json"):
        read(str(tmp_path))
    with pytest.raises(Refused, match="cannot be read"):
        read(str(tmp_path / "none.json"))
