"""Triton's configuration: what brings Python code, and what goes with a load."""

import json
from pathlib import Path

import pytest

from lineside_inference.errors import StoreError
from lineside_inference.models.configuration import check_backend, default_file, override, read_config

ONNX = 'name: "m"\nbackend: "onnxruntime"\nmax_batch_size: 8\nmodel_warmup [{ name: "w" }]\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "m"
    (folder / "1").mkdir(parents=True)
    return folder


@pytest.mark.parametrize(
    "text",
    [
        'backend: "python"',
        'backend: "onnxruntime" # no\nname: "m"\nbackend : \'python\'',
        'backend: "Python "',
        'platform: "python"',
        'backend: "\\160ython"',
        'default_model_filename: "model.py"',
    ],
)
def test_a_model_that_brings_python_is_refused_unless_allowed(folder: Path, text: str) -> None:
    (folder / "config.pbtxt").write_text(text.replace('backend: "onnxruntime" # no\n', '# backend: "onnxruntime"\n'))
    config = read_config(folder)
    with pytest.raises(StoreError, match=r"backend python.*allow_python_backend"):
        check_backend(config, folder, allow_python=False)
    check_backend(config, folder, allow_python=True)


def test_a_model_py_without_a_configuration_is_python(folder: Path) -> None:
    check_backend(read_config(folder), folder, allow_python=False)
    (folder / "1" / "model.py").write_text("")
    with pytest.raises(StoreError, match="backend python"):
        check_backend(read_config(folder), folder, allow_python=False)


def test_a_comment_about_python_is_no_python(folder: Path) -> None:
    (folder / "config.pbtxt").write_text(f'# backend: "python"\n{ONNX}')
    check_backend(read_config(folder), folder, allow_python=False)


@pytest.mark.parametrize(
    ("text", "said"),
    [("name: [", "not Triton's configuration"), ('name: "other"', "name is 'other'"), ("x" * 2**21, "more than")],
)
def test_a_wrong_configuration_is_named(folder: Path, text: str, said: str) -> None:
    (folder / "config.pbtxt").write_text(text)
    with pytest.raises(StoreError, match=said):
        read_config(folder)


def test_a_load_names_the_versions_and_keeps_the_rest(folder: Path) -> None:
    (folder / "config.pbtxt").write_text(ONNX)
    sent = json.loads(override(read_config(folder), ["2", "1"], "model.onnx"))
    assert sent["version_policy"] == {"specific": {"versions": ["1", "2"]}}
    assert sent["max_batch_size"] == 8
    assert sent["model_warmup"] == [{"name": "w"}]
    assert "default_model_filename" not in sent


def test_a_load_names_the_chosen_file_and_its_backend(folder: Path) -> None:
    (folder / "config.pbtxt").write_text(ONNX)
    sent = json.loads(override(read_config(folder), ["1"], "orin-nx.plan"))
    assert (sent["backend"], sent["default_model_filename"]) == ("tensorrt", "orin-nx.plan")
    assert "default_model_filename" not in json.loads(override(read_config(folder), ["1"], None))


def test_the_usual_file_is_known_by_the_backend(folder: Path) -> None:
    (folder / "config.pbtxt").write_text('platform: "tensorrt_plan"')
    assert default_file(read_config(folder)) == "model.plan"
    (folder / "config.pbtxt").write_text('backend: "dali"')
    assert default_file(read_config(folder)) is None
