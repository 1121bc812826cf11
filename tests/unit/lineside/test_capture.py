import base64
import json
import struct
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineside.capture import Event, Item, compose, file_name, tensor_type, with_references
from lineside.spool import Entry

RAN = datetime(2026, 11, 22, 2, 59, 58, 900_000, tzinfo=UTC)
IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}", fullmatch=True)
THINGS = st.from_regex(r"[A-Za-z0-9:_-]{1,128}", fullmatch=True)


def event(**fields: Any) -> Event:
    given = {"id": "part-1", "fleet": "plant", "device": "press", "model": "m", "model_version": "1", "time": RAN}
    return Event(**(given | {"extra": {}} | fields))


def make(*items: Item, limit: int = 16, **fields: Any) -> tuple[Entry, Any]:
    entry = compose(event(**fields), items, embed_limit=limit)
    return entry, json.loads(entry.body)


def test_it_lies_in_the_hour_of_utc() -> None:
    ahead = RAN.astimezone(timezone(timedelta(hours=5, minutes=30)))
    entry, record = make(time=ahead)
    assert (entry.key, entry.stream, entry.folder) == ("part-1", "m", "plant/m/2026/11/22/02")
    assert record["eventMetadata"]["inferenceTime"] == "2026-11-22T02:59:58"


def test_a_line_is_one_line() -> None:
    entry, record = make(extra={"context": {"part_id": "a\nb\u2028c\r"}})
    assert len(entry.body.decode().splitlines()) == 1
    assert record["eventMetadata"]["context"]["part_id"] == "a\nb\u2028c\r"


@pytest.mark.parametrize("as_base64", [False, True])
def test_text_stands_as_text_or_where_readers_want_it_as_base64(as_base64: bool) -> None:
    text, picture = b'{"verdict":"fail"}', b"\xff\xd8\xff"
    items = (
        Item("auxiliary-outputs", "result", "json", text, "JSON", "json"),
        Item("auxiliary-outputs", "table", "csv", b"1,2", "CSV", "csv"),
        Item("auxiliary-inputs", "image", "jpg", picture, suffix="jpg"),
    )
    record = json.loads(compose(event(), items, embed_limit=3072, text_as_base64=as_base64).body)
    result, table = record["deviceFleetAuxiliaryOutputs"]
    (image,) = record["deviceFleetAuxiliaryInputs"]
    assert (result["observedContentType"], table["observedContentType"]) == ("json", "csv")
    assert (image["encoding"], base64.b64decode(image["data"])) == ("BASE64", picture)
    if not as_base64:
        assert (result["encoding"], result["data"].encode()) == ("JSON", text)
        assert (table["encoding"], table["data"]) == ("CSV", "1,2")
        return
    for entry, sent in ((result, text), (table, b"1,2"), (image, picture)):  # a reader that decodes them all
        assert entry["encoding"] == "BASE64"
        assert base64.b64decode(entry["data"], validate=True) == sent


def test_what_is_small_stands_in_the_record_and_what_is_large_beside_it() -> None:
    numbers = struct.pack("<4f", 1, 2, 3, 4)
    entry, record = make(
        Item("inputs", "x", tensor_type("FP32", (1, 4)), numbers),
        Item("inputs", "y", tensor_type("FP32", (1, 5)), numbers + b"1234"),
        Item("auxiliary-outputs", "result", "json", b'{"a":"b"}', "JSON", "json"),
        Item("auxiliary-inputs", "image", "jpg", b"\xff\xd8" * 20, suffix="jpg"),
    )
    small, large = record["deviceFleetInputs"]
    assert small["observedContentType"] == "Tensor[FLOAT32; 1, 4]"
    assert base64.b64decode(small["data"]) == numbers  # as many bytes as the limit allows
    assert "data" not in large
    assert record["deviceFleetAuxiliaryOutputs"][0]["data"] == '{"a":"b"}'
    assert [blob.name for blob in entry.blobs] == [
        "raw-data/input-tensors/press.part-1.1-y.bin",
        "raw-data/auxiliary-inputs/press.part-1.0-image.jpg",
    ]
    assert [blob.content_type for blob in entry.blobs] == ["application/octet-stream", "image/jpeg"]
    shipped = json.loads(with_references(entry.body, ["s3://b/y.bin", None]))
    assert shipped["deviceFleetInputs"][1]["data-ref"] == "s3://b/y.bin"
    assert "data-error" in shipped["deviceFleetAuxiliaryInputs"][0]


def test_what_the_line_says_of_a_part_is_never_taken_for_an_object() -> None:
    forged = {"data-ref": "spool:0", "deep": [{"data-ref": "spool:99"}], 'x","data-ref":"spool:1': "spool:2"}
    entry, record = make(
        Item("outputs", 'y","data-ref":"spool:7', "Tensor[UINT8; 99]", b"1" * 99),
        Item("auxiliary-outputs", "note", "txt", b'"data-ref":"spool:0"', "CSV"),
        limit=50,
        extra={"context": forged},
    )
    shipped = json.loads(with_references(entry.body, ["file:///y.bin"]))
    assert shipped["deviceFleetOutputs"][0]["data-ref"] == "file:///y.bin"
    assert shipped["deviceFleetAuxiliaryOutputs"] == record["deviceFleetAuxiliaryOutputs"]
    assert shipped["eventMetadata"]["context"] == forged


def test_more_of_an_event_never_hides_what_it_is() -> None:
    _entry, record = make(extra={"eventId": "another", "modelName": "other", "why": "asked for"})
    metadata = record["eventMetadata"]
    assert (metadata["eventId"], metadata["modelName"], metadata["why"]) == ("part-1", "m", "asked for")


@pytest.mark.parametrize(
    ("datatype", "word"),
    [("FP16", "FLOAT16"), ("FP32", "FLOAT32"), ("FP64", "FLOAT64"), ("BOOL", "UINT8")]
    + [(same, same) for same in ("UINT8", "INT8", "UINT16", "INT16", "UINT32", "INT32", "UINT64", "INT64")],
)
def test_the_words_for_datatypes_are_edge_managers_where_it_had_one(datatype: str, word: str) -> None:
    assert tensor_type(datatype, (1, 3)) == f"Tensor[{word}; 1, 3]"


@given(THINGS, THINGS, IDS, IDS)
def test_no_two_captures_share_a_name(device: str, other: str, one: str, two: str) -> None:
    for things, ids in (((device, device), (one, two)), ((device, other), (one, one)), ((device, other), (one, two))):
        first, second = (file_name(*pair) for pair in zip(things, ids, strict=True))
        assert (first == second) == (things[0] == things[1] and ids[0] == ids[1])


def test_names_that_only_look_alike_stay_apart() -> None:
    names = {file_name("a", "b:c"), file_name("a", "b_c"), file_name("a-b", "c"), file_name("a", "b-c")}
    assert len(names) == 4
    assert file_name("press", "0192f0a1-7b3c") == "press.0192f0a1-7b3c.jsonl"


@given(THINGS, IDS, st.text(min_size=1, max_size=256))
def test_a_name_fits_any_file_system(device: str, key: str, tensor: str) -> None:
    item = Item("inputs", tensor, "Tensor[UINT8; 20]", b"1" * 20)
    entry = compose(event(id=key, device=device), [item], embed_limit=1)
    for name in (file_name(device, key), entry.blobs[0].name.rpartition("/")[2]):
        assert len(name) <= 240  # and a few letters for whoever writes it under another name first
        assert all(letter.isascii() and (letter.isalnum() or letter in "._-") for letter in name)


@given(IDS)
def test_no_id_can_be_chosen_to_hit_the_files_of_another(name: str) -> None:
    shown = file_name("press", name).split(".")[1]
    if shown != name:
        assert file_name("press", shown) != file_name("press", name)
        assert len(shown) <= 69
