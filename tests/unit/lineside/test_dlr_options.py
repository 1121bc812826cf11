"""DLRBackendOptions: the example of the component's documentation, and what is wrong."""

from pathlib import Path

import pytest

from lineside.edge_manager.dlr_options import DlrOptions, parse


def test_the_documentations_example() -> None:
    text = "TVM_TENSORRT_CACHE_DIR=/data/secured_folder/trt/cache; TVM_TENSORRT_CACHE_DISK_SIZE_MB=800"
    assert parse(text) == DlrOptions(Path("/data/secured_folder/trt/cache"), 800)


def test_tvms_flags_of_precision_and_workspace() -> None:
    text = "TVM_TENSORRT_CACHE_DIR=/a; TVM_TENSORRT_USE_FP16=1; TVM_TENSORRT_MAX_WORKSPACE_SIZE=1073741824"
    assert parse(text) == DlrOptions(Path("/a"), 512, "fp16", 1024)
    assert parse("TVM_TENSORRT_USE_FP16=false").precision == "fp32"
    assert parse("TVM_TENSORRT_MAX_WORKSPACE_SIZE=1").workspace_mb == 1


@pytest.mark.parametrize("text", ["", " ", ";", " ; "])
def test_nothing_is_no_cache_of_512_mb(text: str) -> None:
    assert parse(text) == DlrOptions(None, 512)


def test_other_flags_are_named_and_values_may_hold_an_equals_sign() -> None:
    assert parse("A=1;TVM_TENSORRT_CACHE_DIR=/a=b;B=").unknown == ("A", "B")
    assert parse("TVM_TENSORRT_CACHE_DIR=/a=b").cache_dir == Path("/a=b")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("TVM_TENSORRT_CACHE_DIR", "expected NAME=value"),
        ("TVM_TENSORRT_CACHE_DIR=cache", "must be an absolute path"),
        ("TVM_TENSORRT_CACHE_DIR=", "must be an absolute path"),
        ("TVM_TENSORRT_CACHE_DISK_SIZE_MB=0", "expected a whole number of MB"),
        ("TVM_TENSORRT_CACHE_DISK_SIZE_MB=-1", "expected a whole number of MB"),
        ("TVM_TENSORRT_CACHE_DISK_SIZE_MB=8e2", "expected a whole number of MB"),
        ("TVM_TENSORRT_CACHE_DISK_SIZE_MB=9999999999", "expected a whole number of MB"),
        ("TVM_TENSORRT_CACHE_DISK_SIZE_MB=٨", "expected a whole number of MB"),
        ("A=1; A=2", "A is given twice"),
        ("TVM_TENSORRT_USE_FP16=yes", "TVM_TENSORRT_USE_FP16: expected 1 or 0"),
        ("TVM_TENSORRT_MAX_WORKSPACE_SIZE=1e9", "expected a whole number of bytes"),
        ("TVM_TENSORRT_MAX_WORKSPACE_SIZE=0", "expected a whole number of bytes"),
    ],
)
def test_what_is_wrong_is_named(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse(text)
