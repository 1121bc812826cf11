"""What is written before done, in the PLC's own words."""

from typing import Any

import pytest
from asyncua import ua

from lineside_opcua_bridge.settings.write_back import WriteBackSettings
from lineside_opcua_bridge.station.parts import Answer, Part
from lineside_opcua_bridge.station.write_back import content_of

T = ua.VariantType


def content(kinds: dict[str, T], *, part_id: str | None = "P-1", asked: bool = True, **settings: Any) -> dict[str, Any]:
    written = WriteBackSettings.model_validate({"verdict": "nsu=u;s=v", "done": "nsu=u;s=d"} | settings)
    part = Part.arrived("r-1", seen=0.0, deadline_s=1.0, margin_s=0.1, part_id=part_id, risen=None, asked=asked)
    answer = Answer("fail", 0.5, "result", "scratch", code="ok", findings=300)
    return {role: variant.Value for role, variant in content_of(written, part, answer, kinds).items()}


@pytest.mark.parametrize(
    ("kind", "part_id", "written"),
    [
        (T.String, "P-1", "P-1"),
        (T.String, None, ""),
        (T.UInt16, "4711", 4711),
        (T.UInt16, None, 0),
        (T.UInt16, "P-1", 0),
        (T.UInt16, "70000", 0),
        (T.Int32, "-5", -5),
    ],
)
def test_the_part_id_is_the_part_s_own_or_nobody_s(kind: T, part_id: str | None, written: object) -> None:
    assert content({"part_id": kind}, part_id=part_id) == {"part_id": written}


def test_the_plc_s_own_codes() -> None:
    kinds = {"verdict": T.Int16, "code": T.Byte, "findings": T.Byte, "request_id": T.String}
    words = {
        "values": {"pass": 1, "fail": 2, "unknown": 3},
        "code": "nsu=u;s=c",
        "codes": {"deadline": 7, "default": 9},
    }
    assert content(kinds, **words) == {"verdict": 2, "code": 9, "findings": 255, "request_id": "r-1"}


def test_a_part_that_was_not_asked_about_has_no_request_id() -> None:
    assert content({"request_id": T.String}, asked=False) == {"request_id": ""}
