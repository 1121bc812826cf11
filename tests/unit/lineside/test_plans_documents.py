import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from lineside.plans.device import Device
from lineside.plans.documents import Ask, Build, BuilderState, Damaged, Outcome, Plan, Refusal, read, write
from lineside.plans.key import Options, key_of

DEVICE = Device("10.3.0", "12.6", "Orin", "8.7", 8)
KEY = key_of("a" * 64, DEVICE, Options())
BUILD = Build("1", KEY, "surface-defect/1/model.onnx", "a" * 64, Options(), 600.0, 1000)


@pytest.mark.parametrize(
    "document",
    [
        Ask(),
        Ask(BUILD, go=True, delete=(KEY,), used=(KEY,), refused={KEY: Refusal("it is wrong", 0.02)}),
        BuilderState(),
        BuilderState(DEVICE, "", KEY, paused=True, last=Outcome("1", KEY, "no", 1.5), failed={KEY: 2}),
        Plan("a" * 64, DEVICE, Options(), "b" * 64, 10, 1.5),
    ],
)
def test_a_document_is_the_same_from_the_disk(tmp_path: Path, document: Any) -> None:
    write(tmp_path / "it.json", document.as_document())
    assert type(document).of_document(read(tmp_path / "it.json")) == document


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model": "/etc/passwd"}, "no path below the model repository"),
        ({"model": "a/../../b"}, "no path below the model repository"),
        ({"model": 1}, "no path below"),
        ({"key": "../x"}, "are not a plan's"),
        ({"sha256": "x"}, "are not a plan's"),
        ({"limit_s": 0}, "limit_s is 0"),
        ({"limit_s": True}, "limit_s is True"),
        ({"limit_s": 1e300}, "limit_s is"),
        ({"max_bytes": 0}, "max_bytes is 0"),
        ({"number": ""}, "number"),
        ({"options": {}}, "expected options"),
        ({"more": 1}, "expected a build with"),
    ],
)
def test_a_build_that_is_not_one_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(Damaged, match=says):
        Build.of_document(BUILD.as_document() | changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"go": 1},
        {"delete": ["../.."]},
        {"delete": "x"},
        {"used": [1]},
        {"refused": []},
        {"refused": {"x": 1}},
        {"schema": "x"},
        {"more": 1},
    ],
)
def test_an_ask_that_is_not_one_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(Damaged):
        Ask.of_document(Ask(BUILD).as_document() | changes)


@pytest.mark.parametrize(
    "changes", [{"device": {}}, {"last": {"number": 1}}, {"failed": {"x": "1"}}, {"building": 1}, {"schema": "x"}]
)
def test_a_builder_that_is_not_one_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(Damaged):
        BuilderState.of_document(BuilderState(DEVICE).as_document() | changes)


@pytest.mark.parametrize("changes", [{"sha256": "x"}, {"bytes": 1.5}, {"device": None}, {"options": {}}, {"schema": 1}])
def test_a_plan_that_is_not_one_is_refused(changes: dict[str, Any]) -> None:
    plan = Plan("a" * 64, DEVICE, Options(), "b" * 64, 10, 1.5)
    with pytest.raises(Damaged):
        Plan.of_document(plan.as_document() | changes)


def test_a_plans_key_is_that_of_its_parts() -> None:
    plan = Plan("a" * 64, DEVICE, Options(), "b" * 64, 10, 1.5)
    assert plan.key == KEY
    assert dataclasses.replace(plan, device=dataclasses.replace(DEVICE, sms=16)).key != KEY


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[" * 100_000, b"x" * (2**20 + 1)])
def test_what_cannot_be_read_is_damaged(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "it.json").write_bytes(content)
    with pytest.raises(Damaged):
        read(tmp_path / "it.json")


def test_what_is_not_there_is_none(tmp_path: Path) -> None:
    assert read(tmp_path / "it.json") is None
    with pytest.raises(Damaged, match="cannot be read"):
        read(tmp_path)
    assert json.loads(json.dumps(Ask().as_document()))["build"] is None
