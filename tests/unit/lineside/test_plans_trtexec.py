import ast
import subprocess
import sys
from pathlib import Path

import pytest

import lineside.plans
from lineside.plans.key import Options, Shapes
from lineside.plans.trtexec import arguments

FOLDER = Path(lineside.plans.__file__).parent


def test_the_command_line_of_a_model_whose_batch_is_open() -> None:
    options = Options("fp16", 512, {"image": Shapes((1, 3, 160, 160), (1, 3, 160, 160), (8, 3, 160, 160))})
    assert arguments(Path("/models/m/1/model.onnx"), Path("/p/1/model.plan"), options, Path("/p/timing")) == [
        "--onnx=/models/m/1/model.onnx",
        "--saveEngine=/p/1/model.plan",
        "--fp16",
        "--memPoolSize=workspace:512",
        "--timingCacheFile=/p/timing",
        "--minShapes=image:1x3x160x160",
        "--optShapes=image:1x3x160x160",
        "--maxShapes=image:8x3x160x160",
        "--skipInference",
    ]


@pytest.mark.parametrize(("precision", "flag"), [("fp32", []), ("int8", ["--int8"]), ("best", ["--best"])])
def test_fixed_shapes_have_no_profile(precision: str, flag: list[str]) -> None:
    options = Options.of_document({"precision": precision, "workspace_mb": 1024, "shapes": {}})
    made = arguments(Path("m"), Path("p"), options, Path("t"))
    assert made == [
        "--onnx=m",
        "--saveEngine=p",
        *flag,
        "--memPoolSize=workspace:1024",
        "--timingCacheFile=t",
        "--skipInference",
    ]


def test_the_builder_needs_the_standard_library_only_and_python_310() -> None:
    for path in FOLDER.glob("*.py"):
        ast.parse(path.read_text(), feature_version=(3, 10))
        assert "file_digest" not in path.read_text(), "hashlib has it since 3.11"
    code = f"import sys; sys.path.insert(0, {str(FOLDER.parents[1])!r}); import lineside.plans.__main__"
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)
