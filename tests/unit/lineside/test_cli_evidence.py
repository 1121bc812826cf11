"""`lineside evidence to-model-monitor`: records of ours as SageMaker Model Monitor's lines."""

import csv
import json
import math
import struct
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lineside.capture import Event, Item, compose, tensor_type, with_references
from lineside.cli.evidence import app
from lineside.cli.evidence.model_monitor import MAX_VALUES, NoRow, line

NOW = datetime(2026, 11, 22, 2, 30, tzinfo=UTC)


def tensor(group: Any, values: tuple[float, ...], datatype: str = "FP32", code: str = "f") -> Item:
    data = struct.pack(f"<{len(values)}{code}", *values)
    return Item(group, "x", tensor_type(datatype, (1, len(values))), data)


def record(*items: Item, key: str = "capture-1", model: str = "spindle", **options: Any) -> bytes:
    event = Event(key, "plant", "press-7", model, "3", NOW, {"kept": "always"})
    entry = compose(event, items, **{"embed_limit": 3072} | options)
    return with_references(entry.body, [f"s3://bucket/{entry.folder}/{blob.name}" for blob in entry.blobs])


def converted(body: bytes, objects: dict[str, bytes] | None = None) -> Any:
    known = objects or {}
    return line(json.loads(body), lambda reference: known.get(reference.rpartition("/")[2]))


def cells(made: Any, side: str) -> list[float]:
    """Read a side as Model Monitor's samples do: by its encoding, a row of CSV."""
    given = made["captureData"][f"endpoint{side}"]
    assert (given["encoding"], given["observedContentType"]) == ("CSV", "text/csv")
    (row,) = csv.reader([given["data"]])
    return [float(cell) if cell else math.nan for cell in row]


def test_tensors_are_a_row_of_their_values() -> None:
    made = converted(record(tensor("inputs", (0.1, -2.5, 3e-8)), tensor("outputs", (1.0,))))
    assert made == {
        "captureData": {
            "endpointInput": {
                "observedContentType": "text/csv",
                "mode": "INPUT",
                "data": "0.100000001,-2.5,2.99999989e-08",
                "encoding": "CSV",
            },
            "endpointOutput": {"observedContentType": "text/csv", "mode": "OUTPUT", "data": "1", "encoding": "CSV"},
        },
        "eventMetadata": {"eventId": "capture-1", "inferenceTime": "2026-11-22T02:30:00Z"},
        "eventVersion": "0",
    }


@pytest.mark.parametrize(
    ("datatype", "code", "values"),
    [
        ("UINT8", "B", (0, 255)),
        ("BOOL", "B", (0, 1)),
        ("INT8", "b", (-128, 127)),
        ("INT16", "h", (-32768, 32767)),
        ("UINT16", "H", (0, 65535)),
        ("INT32", "i", (-(2**31), 2**31 - 1)),
        ("UINT32", "I", (0, 2**32 - 1)),
        ("FP16", "e", (0.0999755859375, 65504.0)),
        ("FP32", "f", (0.10000000149011612, 3.4028234663852886e38)),
        ("FP64", "d", (0.1, 1.7976931348623157e308)),
    ],
)
def test_a_value_is_the_same_one_in_every_datatype(datatype: str, code: str, values: tuple[float, ...]) -> None:
    made = converted(record(tensor("inputs", values, datatype, code), tensor("outputs", (1.0,))))
    read = struct.pack(f"<{len(values)}d", *cells(made, "Input"))
    narrowed = [
        struct.unpack(f"<{code}", struct.pack(f"<{code}", type(one)(value)))[0]
        for one, value in zip(values, struct.unpack(f"<{len(values)}d", read), strict=True)
    ]
    assert narrowed == list(values)


def test_64_bits_are_written_whole_and_nan_is_empty() -> None:
    made = converted(record(tensor("inputs", (2**63 - 1,), "INT64", "q"), tensor("outputs", (math.nan, math.inf))))
    assert made["captureData"]["endpointInput"]["data"] == str(2**63 - 1)
    assert made["captureData"]["endpointOutput"]["data"] == ",inf"


def test_an_object_beside_the_record_is_read() -> None:
    values = tuple(float(number) for number in range(1000))
    body = record(tensor("inputs", values), tensor("outputs", (1.0,)))
    name = json.loads(body)["deviceFleetInputs"][0]["data-ref"].rpartition("/")[2]
    assert cells(converted(body, {name: struct.pack("<1000f", *values)}), "Input") == list(values)
    with pytest.raises(NoRow, match="is not at hand"):
        converted(body)


@pytest.mark.parametrize("options", [{}, {"text_as_base64": True}])
def test_without_tensors_text_is_taken_as_it_is(options: dict[str, Any]) -> None:
    made = converted(
        record(
            Item("auxiliary-inputs", "image", "jpg", b"\xff\xd8"),
            Item("auxiliary-inputs", "table", "csv", b"1,2", "CSV"),
            Item("auxiliary-outputs", "result", "json", b'{"a": 1}', "JSON"),
            **options,
        )
    )["captureData"]
    assert (made["endpointInput"]["data"], made["endpointInput"]["encoding"]) == ("1,2", "CSV")
    assert (made["endpointOutput"]["data"], made["endpointOutput"]["encoding"]) == ('{"a": 1}', "JSON")


@pytest.mark.parametrize(
    ("items", "says"),
    [
        ([Item("auxiliary-inputs", "image", "jpg", b"\xff\xd8")], "inputs: neither tensors nor CSV or JSON"),
        ([tensor("inputs", (1.0,))], "outputs: neither tensors"),
        ([tensor("inputs", (0,) * (MAX_VALUES + 1), "UINT8", "B")], f"has {MAX_VALUES + 1} values"),
        ([tensor("inputs", (0,) * MAX_VALUES, "UINT8", "B")] * 2, f"{2 * MAX_VALUES} values"),
        ([Item("inputs", "x", "Tensor[FLOAT32; 3]", bytes(8))], "has 8 bytes"),
        ([Item("inputs", "x", "Tensor[BYTES; 3]", bytes(8))], "not a tensor that is known"),
    ],
)
def test_what_has_no_row_says_why(items: list[Item], says: str) -> None:
    with pytest.raises(NoRow, match=says):
        converted(record(*items, embed_limit=10**6))


@pytest.mark.parametrize("document", [{}, {"eventMetadata": {}}, {"eventMetadata": []}, {"captureData": {}}])
def test_what_is_no_record_says_so(document: Any) -> None:
    with pytest.raises(NoRow, match="no record of a capture"):
        line(document, lambda _reference: None)


def tree(folder: Path) -> Path:
    """Write two records as the forwarder does, the first with its tensor as an object, and one without a row."""
    values = struct.pack("<1000f", *range(1000))
    large = Item("inputs", "x", tensor_type("FP32", (1000,)), values)
    first = record(large, tensor("outputs", (1.0,)))
    rest = [record(tensor("inputs", (1.0,)), tensor("outputs", (2.0,)), key="capture-2"), record(key="capture-3")]
    hour = folder / "sme-capture/plant/spindle/2026/11/22/02"
    name = json.loads(first)["deviceFleetInputs"][0]["data-ref"].rpartition("/")[2]
    (hour / "raw-data/input-tensors").mkdir(parents=True)
    (hour / "raw-data/input-tensors" / name).write_bytes(values)
    (hour / "press-7.capture-1.jsonl").write_bytes(b"\n".join([first, *rest]) + b"\n")
    return hour


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(app, ["to-model-monitor", *map(str, arguments)])


def test_a_folder_becomes_files_by_model_variant_and_hour(tmp_path: Path) -> None:
    tree(tmp_path / "given")
    done = run(tmp_path / "given", "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert "2 records written" in done.stdout
    assert "press-7.capture-1.jsonl:3: inputs: neither tensors" in done.stderr
    (made,) = (tmp_path / "out").rglob("*.jsonl")
    assert str(made.relative_to(tmp_path / "out")) == "spindle/AllTraffic/2026/11/22/02/press-7.capture-1.jsonl"
    lines = [json.loads(each) for each in made.read_text().splitlines()]
    assert [each["eventMetadata"]["eventId"] for each in lines] == ["capture-1", "capture-2"]
    assert cells(lines[0], "Input") == list(range(1000))
    before = made.read_bytes()
    assert run(tmp_path / "given", "--out", tmp_path / "out").exit_code == 1
    assert made.read_bytes() == before


def test_without_a_record_left_out_the_status_is_0(tmp_path: Path) -> None:
    path = tmp_path / "one.jsonl"
    path.write_bytes(record(tensor("inputs", (1.0,)), tensor("outputs", (2.0,))) + b"\n")
    assert run(path, "--out", tmp_path / "out", "--variant", "v1").exit_code == 0
    assert (tmp_path / "out/spindle/v1/2026/11/22/02/one.jsonl").is_file()


def test_a_file_that_is_not_there_is_exit_2(tmp_path: Path) -> None:
    done = run(tmp_path / "none.jsonl", "--out", tmp_path / "out")
    assert (done.exit_code, "none.jsonl: No such file" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    "reference", ["s3://b/raw-data/../../secret", "s3://b/raw-data//etc/passwd", "s3://b/secret", ""]
)
def test_a_reference_leads_nowhere_else(tmp_path: Path, reference: str) -> None:
    (tmp_path / "secret").write_bytes(bytes(4))
    given = json.loads(record(tensor("inputs", (1.0,)), tensor("outputs", (2.0,))))
    del given["deviceFleetInputs"][0]["data"]
    given["deviceFleetInputs"][0]["data-ref"] = reference
    path = tmp_path / "deep" / "one.jsonl"
    path.parent.mkdir()
    path.write_text(json.dumps(given) + "\n")
    done = run(path, "--out", tmp_path / "out")
    assert (done.exit_code, "is not at hand" in done.stderr) == (1, True)


@pytest.mark.parametrize("model", ["../out", "a/b", ".."])
def test_a_models_name_makes_no_folder_elsewhere(tmp_path: Path, model: str) -> None:
    path = tmp_path / "one.jsonl"
    path.write_bytes(record(tensor("inputs", (1.0,)), tensor("outputs", (2.0,)), model=model) + b"\n")
    assert run(path, "--out", tmp_path / "out").exit_code == 1
    assert not (tmp_path / "out").exists()


def test_a_line_that_is_cut_is_left_out_and_the_rest_is_not(tmp_path: Path) -> None:
    whole = record(tensor("inputs", (1.0,)), tensor("outputs", (2.0,)))
    path = tmp_path / "one.jsonl"
    path.write_bytes(whole[:50] + b"\n" + whole + b"\n")
    done = run(path, "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert "one.jsonl:1: not JSON" in done.stderr
    assert "1 record written" in done.stdout


def test_a_value_that_is_no_base64_has_no_row() -> None:
    given = json.loads(record(tensor("inputs", (1.0,)), tensor("outputs", (2.0,))))
    given["deviceFleetInputs"][0]["data"] = "%"
    with pytest.raises(NoRow, match="no base64"):
        converted(json.dumps(given).encode())
