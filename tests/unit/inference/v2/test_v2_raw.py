from typing import Any

import pytest
from tritonclient.grpc import service_pb2 as pb

from lineside.errors import LinesideError
from lineside_inference.api.problems import Problem
from lineside_inference.engine.parameters import plain, put
from lineside_inference.v2.answer import HttpAnswer, compressed, wanted_encoding
from lineside_inference.v2.raw import Raw


def model(*shapes: list[int], datatype: str = "FP32", batch: int = 0) -> Raw:
    inputs: list[dict[str, Any]] = [
        {"name": f"x{place}", "datatype": datatype, "shape": shape} for place, shape in enumerate(shapes)
    ]
    return Raw.of({"inputs": inputs}, {"max_batch_size": batch})


@pytest.mark.parametrize(
    ("raw", "size", "shape"),
    [
        (model([4]), 16, (4,)),
        (model([-1, 2]), 24, (3, 2)),
        (model([-1, 64, 4], batch=8), 1024, (1, 64, 4)),
        (model([-1, -1], batch=8), 40, (1, 10)),
        (model([-1], datatype="UINT8"), 7, (7,)),
    ],
)
def test_the_shape_follows_from_the_size(raw: Raw, size: int, shape: tuple[int, ...]) -> None:
    given = raw.input(bytearray(size))
    assert (given.shape, given.size) == (shape, size)


@pytest.mark.parametrize(
    ("raw", "size"),
    [(model([4]), 8), (model([4]), 32), (model([4]), 0), (model([-1, 2]), 12), (model([-1, 2]), 0), (model([0, 2]), 8)],
)
def test_a_size_that_is_no_such_tensor_is_refused(raw: Raw, size: int) -> None:
    with pytest.raises(LinesideError, match=f"has {size} bytes"):
        raw.input(bytearray(size))


@pytest.mark.parametrize(
    ("shapes", "datatype"), [([[4], [4]], "FP32"), ([[-1, -1]], "FP32"), ([[2]], "BYTES"), ([], "FP32")]
)
def test_a_model_of_which_the_size_does_not_say_enough_is_refused(shapes: list[list[int]], datatype: str) -> None:
    with pytest.raises(Problem, match="send the JSON header"):
        model(*shapes, datatype=datatype)


def test_one_element_of_bytes_gets_its_length_before_it() -> None:
    raw = model([-1, 1], datatype="BYTES", batch=4)
    assert raw.input(bytearray(b"abc")).size == 7
    assert raw.bytes(bytearray(b"abc")) == b"\x03\0\0\0abc"


@pytest.mark.parametrize(
    ("accept", "encoding"),
    [
        ("", None),
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("gzip, deflate", "gzip"),
        ("gzip;q=0.5, deflate;q=0.7", "deflate"),
        ("identity;q=0.5, gzip;q=1", "gzip"),
        ("identity, gzip;q=0.5", None),
        ("gzip;q=0", None),
        ("gzip;q=x", None),
        ("br", None),
        ("*", None),
    ],
)
def test_the_answer_is_compressed_as_asked(accept: str, encoding: str | None) -> None:
    """As Triton 2.51 does with the same headers."""
    assert wanted_encoding(accept) == encoding


def test_a_compressed_answer_says_so_once() -> None:
    found = compressed(HttpAnswer(200, [(b"content-length", b"6"), (b"x", b"y")], [b"abc", b"abc"]), "gzip")
    assert dict(found.headers) == {
        b"x": b"y",
        b"content-encoding": b"gzip",
        b"content-length": str(len(found.parts[0])).encode(),
    }


@pytest.mark.parametrize("value", [0, 1, 2**63 - 1, 2**63, 2**64 - 1])
def test_a_sequence_id_of_64_bits_goes_through_the_message(value: int) -> None:
    message = pb.ModelInferRequest()
    put(message.parameters, {"sequence_id": value, "other": -5, "flag": True})
    assert plain(message.parameters) == {"sequence_id": value, "other": -5, "flag": True}
