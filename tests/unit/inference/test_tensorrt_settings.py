from pathlib import Path
from typing import Any

import pytest

from lineside.edge_manager import dlr_options
from lineside_inference.settings import Settings, TensorRtSettings

FLAGS = (
    "TVM_TENSORRT_CACHE_DIR=/cache; TVM_TENSORRT_CACHE_DISK_SIZE_MB=800; TVM_TENSORRT_USE_FP16=1; "
    "TVM_TENSORRT_MAX_WORKSPACE_SIZE=268435456"
)


def test_the_flags_of_dlr_mean_the_engines_that_are_built_here() -> None:
    settings = Settings.model_validate({"edge_manager": {"DLRBackendOptions": FLAGS}})
    own = settings.tensorrt
    assert (own.folder, own.limit_mb, own.precision, own.workspace_mb) == (Path("/cache"), 800, "fp16", 256)


@pytest.mark.parametrize(
    ("name", "value"), [("folder", Path("/other")), ("limit_mb", 100), ("precision", "fp32"), ("workspace_mb", 1)]
)
def test_what_is_set_here_itself_goes_first(name: str, value: Any) -> None:
    own = TensorRtSettings.model_validate({name: value}).beside(dlr_options.parse(FLAGS))
    assert getattr(own, name) == value


def test_without_a_folder_there_are_none_whatever_the_other_flags_say() -> None:
    own = TensorRtSettings().beside(dlr_options.parse("TVM_TENSORRT_USE_FP16=1"))
    assert own == TensorRtSettings()
    assert own.folder is None
