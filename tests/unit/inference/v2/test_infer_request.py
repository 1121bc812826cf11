"""The JSON of a v2 request: what it may say, and by which code the rest is refused."""

import json
from typing import Any

import pytest

from lineside.errors import LinesideError
from lineside_inference.api.problems import Problem
from lineside_inference.dataplane.infer_request import Region
from lineside_inference.engine.client_memory import ClientRegion
from lineside_inference.settings import LimitSettings
from lineside_inference.v2.request_json import read

LIMITS = LimitSettings.model_validate({"tensors": 3, "outputs": 2, "strings": 10})
OPEN = LimitSettings.model_validate({"client_shared_memory_prefixes": ["cam-"]})


def tensor(**fields: Any) -> dict[str, Any]:
    return {"name": "x", "datatype": "FP32", "shape": [2], "data": [1, 2]} | fields


def document(**fields: Any) -> bytes:
    return json.dumps({"inputs": [tensor()]} | fields).encode()


def test_everything_that_may_be_said_is_read() -> None:
    asked = read(
        document(
            id="7",
            parameters={"sequence_id": 5, "sequence_start": True, "binary_data_output": True, "own": "x"},
            inputs=[
                tensor(),
                {"name": "y", "datatype": "BF16", "shape": [2, 3], "parameters": {"binary_data_size": 12}},
            ],
            outputs=[
                {"name": "a", "parameters": {"classification": 3}},
                {"name": "b", "parameters": {"binary_data": False}},
            ],
        ),
        LIMITS,
        binary=True,
    )
    assert asked.id == "7"
    assert asked.parameters == {"sequence_id": 5, "sequence_start": True, "own": "x"}
    assert [(given.name, given.size, given.data) for given in asked.inputs] == [("x", None, [1, 2]), ("y", 12, None)]
    assert asked.outputs[0].parameters == {"classification": 3}
    assert [asked.wants_binary(name) for name in ("a", "b", "another")] == [True, False, True]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "v2-request-invalid"),
        (b"[]", 400, "v2-request-invalid"),
        (b'{"inputs":' * 300, 400, "v2-request-invalid"),
        (b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[NaN]}]}', 400, "v2-request-invalid"),
        (b'\xff{"inputs":[]}', 400, "v2-request-invalid"),
        (document(inputs=[]), 400, "v2-request-invalid"),
        (document(inputs=[5]), 400, "v2-request-invalid"),
        (document(id=5), 400, "v2-request-invalid"),
        (document(inputs=[tensor(), tensor()]), 400, "v2-request-invalid"),
        (document(inputs=[tensor(name=str(index)) for index in range(4)]), 413, "tensors-too-many"),
        (document(outputs=[{"name": str(index)} for index in range(3)]), 413, "tensors-too-many"),
        (document(inputs=[tensor(datatype="FP31")]), 400, "tensor-datatype"),
        (document(inputs=[tensor(datatype=[])]), 400, "tensor-datatype"),
        (document(inputs=[tensor(shape=[-1])]), 400, "tensor-shape"),
        (document(inputs=[tensor(shape=[True])]), 400, "tensor-shape"),
        (document(inputs=[tensor(shape=[1] * 17)]), 400, "tensor-shape"),
        (document(inputs=[tensor(data=None)]), 400, "v2-request-invalid"),
        (document(inputs=[tensor(data="1 2")]), 400, "v2-request-invalid"),
        (document(inputs=[tensor(datatype="BYTES", shape=[11])]), 413, "tensors-too-large"),
        (document(parameters={"triton_x": 1}), 400, "v2-request-invalid"),
        (document(parameters={"x": [1]}), 400, "v2-request-invalid"),
        (document(parameters={"x": 2**63}), 400, "v2-request-invalid"),
        (document(parameters={"binary_data_output": 1}), 400, "v2-request-invalid"),
        (document(inputs=[tensor(data=None, parameters={"binary_data_size": 8})]), 400, "v2-request-invalid"),
        (
            document(inputs=[tensor(data=None, parameters={"shared_memory_region": "cam-1"})]),
            403,
            "shared-memory-refused",
        ),
        (document(outputs=[{"name": "a", "parameters": {"shared_memory_offset": 0}}]), 403, "shared-memory-refused"),
    ],
)
def test_what_is_wrong_is_refused_by_a_code(body: bytes, status: int, code: str) -> None:
    with pytest.raises(Problem) as caught:
        read(body, LIMITS, binary=False)
    assert (caught.value.status, caught.value.code) == (status, code)


@pytest.mark.parametrize(("datatype", "shape", "size"), [("FP32", [2], 7), ("BF16", [3], 4), ("BYTES", [3], 11)])
def test_a_size_that_the_shape_does_not_have_is_refused(datatype: str, shape: list[int], size: int) -> None:
    given = {"name": "x", "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": size}}
    with pytest.raises(LinesideError) as caught:
        read(document(inputs=[given]), LIMITS, binary=True)
    assert caught.value.code == "tensor-shape"


def test_shared_memory_of_a_listed_prefix_passes_and_no_other() -> None:
    place = {"shared_memory_region": "cam-1", "shared_memory_offset": 64, "shared_memory_byte_size": 8}
    asked = read(document(inputs=[tensor(data=None, parameters=place)]), OPEN, binary=False)
    assert asked.inputs[0].region == Region("cam-1", "cam-1", 64, 8)
    for name in ("lineside_1_ab", "Cam-1", "", 5, None):
        with pytest.raises(Problem) as caught:
            read(
                document(inputs=[tensor(data=None, parameters=place | {"shared_memory_region": name})]),
                OPEN,
                binary=False,
            )
        assert caught.value.code == "shared-memory-refused"


def test_a_registered_region_passes_by_its_name_in_triton_and_within_its_size() -> None:
    known = {"any name": ClientRegion("any name", "/cam-1", 0, 64, "lineside_1.any name", (1, 2))}
    place = {"shared_memory_region": "any name", "shared_memory_offset": 32, "shared_memory_byte_size": 32}
    body = document(inputs=[tensor(data=None, parameters=place)])
    request = read(body, LIMITS, binary=False, regions=known.get)
    assert request.inputs[0].region == Region("any name", "lineside_1.any name", 32, 32)
    with pytest.raises(Problem, match="ends at byte 65"):
        read(
            document(inputs=[tensor(data=None, parameters=place | {"shared_memory_byte_size": 33})]),
            LIMITS,
            binary=False,
            regions=known.get,
        )


@pytest.mark.parametrize("prefix", ["", "line", "lineside_x", "triton"])
def test_the_list_cannot_name_our_own_memory(prefix: str) -> None:
    with pytest.raises(ValueError, match="client_shared_memory_prefixes"):
        LimitSettings.model_validate({"client_shared_memory_prefixes": [prefix]})
