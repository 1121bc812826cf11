"""Bodies of POST /v1/capture that somebody made to do harm: taken as they are or refused by name, never half."""

import base64
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lineside.spool import Spool, SpoolSettings

MODEL = "surface-defect"
B64 = base64.b64encode
LARGE = B64(bytes(4000)).decode()
NAMES = [
    "../../x",
    "a/../../b",
    "/etc/passwd",
    "..",
    ".",
    "a\x00b",
    "a\nb",
    "\u202eb",
    "ä" * 200,
    "spool:0",
    "\U0001f4a3",
]
ALIKE = ["a.b", "a b", "a/b", "a_b", "A_b"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile") / "spool"


@pytest.fixture(scope="module")
def service(start_shared: Callable[..., Any], folder: Path) -> Any:
    return start_shared(ready="/livez", thing="box:7", spool={"folder": str(folder)})


@pytest.fixture
def spool(folder: Path, service: Any) -> Iterator[Spool]:
    """The service's spool, with nothing in it."""
    assert service.process.poll() is None
    with Spool.open(SpoolSettings(folder=folder)) as spool:
        spool.register(["disk"])
        for run in spool.unsealed():
            spool.seal(run, 1000, 10**9)
        while lease := spool.lease("disk"):
            spool.confirm(lease)
        yield spool


def post(service: Any, **fields: Any) -> Any:
    """Send a body; a field that is bytes is put into it as it is."""
    body: dict[str, Any] = {"capture_id": os.urandom(6).hex(), "model": MODEL} | fields
    raw = {name: value for name, value in body.items() if isinstance(value, bytes)}
    text = json.dumps({name: value for name, value in body.items() if name not in raw})[:-1].encode()
    text += b"".join(b',"' + name.encode() + b'":' + value for name, value in raw.items()) + b"}"
    return service.http.post("/v1/capture", content=text, headers={"content-type": "application/json"})


def tensor(**fields: Any) -> dict[str, Any]:
    return {"name": "x", "datatype": "UINT8", "shape": [0], "data": ""} | fields


@pytest.mark.parametrize(
    "fields",
    [
        {"inputs": [tensor(shape=[2**31 - 1] * 16)]},
        {"inputs": [tensor(shape=[2**63])]},
        {"inputs": [tensor(shape=[1] * 17, data="AA==")]},
        {"inputs": [tensor(shape=[1.5], data="AA==")]},
        {"inputs": [tensor()] * 10_000},
        {"inputs": [tensor(name="x" * 257)]},
        {"inputs": [tensor(name="")]},
        {"inputs": {"0": tensor()}},
        {"context": b'{"station": "a", "torque": NaN}'},
        {"context": b'{"torque": 1e999}'},
        {"context": {"station": "s" * 129}},
        {"context": b"[" * 100_000},
        {"model_version": "v" * 65},
        {"capture_id": "../x"},
        {"capture_id": b'"\\ud800"'},
        {"model": b'"a\\u0000b"'},
        {"auxiliary_inputs": [{"name": "a", "encoding": "JSON", "data": "[" * 100_000}]},
        {"auxiliary_inputs": b'[{"name": "\\ud800", "encoding": "CSV", "data": "x"}]'},
    ],
    ids=range(18),
)
def test_what_is_wrong_is_refused_by_name_and_leaves_nothing(service: Any, spool: Spool, fields: Any) -> None:
    answer = post(service, **fields)
    assert answer.status_code in {400, 404, 422}, answer.text
    assert answer.json()["code"] in {"not-json", "message-invalid", "model-unknown"}
    assert len(answer.content) < 4000
    assert not list(spool.iterate())


def test_what_is_empty_is_taken(service: Any, spool: Spool) -> None:
    given = post(service, inputs=[tensor(shape=[0, 2**31 - 1]), tensor(shape=[], data="AA==")], context={})
    assert given.status_code == 202, given.text
    (record,) = spool.iterate()
    shapes = [one["observedContentType"] for one in json.loads(record.body)["deviceFleetInputs"]]
    assert shapes == ["Tensor[UINT8; 0, 2147483647]", "Tensor[UINT8; ]"]


def test_no_name_leaves_its_folder_and_none_hides_another(service: Any, spool: Spool) -> None:
    files = [{"name": name, "encoding": "NONE", "data": LARGE} for name in [*NAMES, *ALIKE]]
    answer = post(service, auxiliary_inputs=files, inputs=[tensor(name=n, shape=[4000], data=LARGE) for n in NAMES])
    assert answer.status_code == 202, answer.text
    (record,) = spool.iterate()
    places = [blob.name for blob in record.blobs]
    assert len({place.casefold() for place in places}) == len(files) + len(NAMES)
    for place in places:
        assert place.startswith(("raw-data/auxiliary-inputs/", "raw-data/input-tensors/"))
        assert place.isascii()
        assert place.isprintable()
        assert len(place.rpartition("/")[2]) <= 249  # with what is put around it while it is written
        assert place.count("/") == 2
    kept = [one["name"] for one in json.loads(record.body)["deviceFleetAuxiliaryInputs"]]
    assert kept == [*NAMES, *ALIKE]


def test_what_stands_in_a_text_is_never_the_place_of_an_object(service: Any, spool: Spool) -> None:
    lure = '","data-ref":"spool:0'
    answer = post(
        service,
        auxiliary_inputs=[
            {"name": lure, "encoding": "NONE", "data": LARGE, "content_type": lure},
            {"name": "b", "encoding": "JSON", "data": json.dumps({"data-ref": "spool:0"})},
        ],
        context={"station": lure, "data-ref": "spool:0"},
        model_version="spool:0",
    )
    assert answer.status_code == 202, answer.text
    (record,) = spool.iterate()
    assert record.body.count(b'"data-ref":"spool:') == 1


def test_it_lives_on(service: Any) -> None:
    assert service.process.poll() is None
    assert "Traceback" not in service.log.read_text()
    assert service.resident_kib() < 600_000
