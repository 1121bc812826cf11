"""What LoadModel may name: kinds of packages, and what is refused with which reason."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto

from lineside_inference.agent.packages.manifest import Manifest, ManifestError, parse_manifest
from lineside_inference.agent.packages.package import Package, read_package
from lineside_inference.agent.packages.paths import Roots
from lineside_inference.errors import PackageNotFound, PackagePathRefused, PackageUnusable
from tests.support import onnx_models
from tests.support.paths import ROOT

F32 = TensorProto.FLOAT
CONFIG = 'backend: "onnxruntime"\nmax_batch_size: 0\n'
Read = Callable[..., Package]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "m").mkdir(parents=True)
    return root


@pytest.fixture
def read(root: Path) -> Read:
    roots = Roots([root], root)
    return lambda url="m", **options: read_package(str(url), roots, **options)


@pytest.fixture
def folder(root: Path) -> Path:
    return root / "m"


def put_onnx(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(onnx_models.scaling(2.0).SerializeToString())


def places(package: Package) -> list[str]:
    return [file.place for file in package.files]


def test_a_single_onnx_by_its_folder_its_path_or_absolutely(read: Read, folder: Path) -> None:
    put_onnx(folder / "press.onnx")
    for url in ("m", "m/", "./m/../m", "m/press.onnx", folder, folder / "press.onnx"):
        package = read(url)
        assert (package.kind, places(package)) == ("onnx", ["1/model.onnx"])
        assert package.size == (folder / "press.onnx").stat().st_size


def test_its_configuration_is_made_from_the_file_itself(read: Read, folder: Path) -> None:
    put_onnx(folder / "press.onnx")
    config = read().config
    assert (config.name, config.backend, config.max_batch_size) == ("", "onnxruntime", 0)
    assert [(given.name, given.data_type, list(given.dims)) for given in config.input] == [("x", 11, [-1, 4])]
    assert [(given.name, given.data_type, list(given.dims)) for given in config.output] == [("y", 11, [-1, 4])]


def test_a_scalar_is_one_value(read: Read, folder: Path) -> None:
    made = onnx_models.model({"x": (F32, [])}, {"y": (F32, [2])})
    (folder / "m.onnx").write_bytes(made.SerializeToString())
    assert list(read().config.input[0].dims) == [1]


def test_outputs_without_shapes_are_left_to_triton(read: Read, folder: Path) -> None:
    made = onnx_models.model({"x": (F32, [1])}, {"y": (F32, None), "z": (F32, [1])})
    (folder / "m.onnx").write_bytes(made.SerializeToString())
    config = read().config
    assert len(config.input) == 1
    assert not config.output


def test_an_input_without_a_shape_is_refused(read: Read, folder: Path) -> None:
    (folder / "m.onnx").write_bytes(onnx_models.model({"x": (F32, None)}, {"y": (F32, [1])}).SerializeToString())
    with pytest.raises(PackageUnusable, match=r"how many axes input 'x' has\. Export it with shapes"):
        read()


def test_files_with_tensors_beside_it_come_along(read: Read, folder: Path) -> None:
    onnx.save_model(
        onnx_models.scaling(2.0, weights=40_000),
        folder / "m.onnx",
        save_as_external_data=True,
        location="m.data",
        size_threshold=0,
    )
    assert places(read()) == ["1/model.onnx", "1/m.data"]
    (folder / "m.data").unlink()
    with pytest.raises(PackageNotFound, match=r"m\.data"):
        read()


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "", "model.onnx"])
def test_tensors_outside_of_its_folder_are_refused(read: Read, folder: Path, location: str) -> None:
    (folder.parent / "secret").write_bytes(b"x")
    made = onnx_models.scaling(2.0)
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    (folder / "m.onnx").write_bytes(made.SerializeToString())
    with pytest.raises(PackageUnusable, match="which is not in its folder"):
        read()


def test_a_single_engine_is_left_to_triton_to_describe(read: Read, folder: Path) -> None:
    (folder / "press.engine").write_bytes(b"ftrt" + bytes(100))
    package = read()
    assert (package.kind, places(package)) == ("plan", ["1/model.plan"])
    assert (package.config.backend, len(package.config.input)) == ("tensorrt", 0)


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("m.plan", b"", "it is empty"),
        ("m.plan", b"\x10\x01\x00\x00" + b'{"description": ', "begins with JSON, as Ultralytics"),
        ("m.plan", b"PK\x03\x04aaaaaaaaaaaaaaaa", "a zip archive"),
        ("m.onnx", b"", "is empty"),
        ("m.onnx", b"\x1f\x8b\x08aaaaaaaaaa", "compressed by gzip"),
        ("m.onnx", b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a pointer of Git LFS"),
        ("m.onnx", b"garbage", "no ONNX model that can be served: "),
    ],
)
def test_what_its_name_promises_and_it_is_not(read: Read, folder: Path, name: str, content: bytes, why: str) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(PackageUnusable, match=why) as refused:
        read()
    assert str(folder / name) in str(refused.value)


def test_two_models_are_one_too_many_and_one_can_be_named(read: Read, folder: Path) -> None:
    put_onnx(folder / "a.onnx")
    (folder / "b.plan").write_bytes(b"ftrt" + bytes(100))
    with pytest.raises(PackageUnusable, match=r"2 models: a\.onnx, b\.plan\. Name the path of the one to load"):
        read()
    assert read("m/a.onnx").kind == "onnx"


def test_a_model_folder_of_triton(read: Read, folder: Path) -> None:
    put_onnx(folder / "1" / "model.onnx")
    put_onnx(folder / "3" / "model.onnx")
    put_onnx(folder / "10" / "model.onnx")
    (folder / "10" / "notes").mkdir()
    (folder / "10" / "notes" / "why.txt").write_text("because")
    (folder / "config.pbtxt").write_text('name: "another"\n' + CONFIG)
    package = read()
    assert (package.kind, package.config.name) == ("triton", "")
    assert places(package) == ["10/model.onnx", "10/notes/why.txt"]
    (folder / "config.pbtxt").write_text(CONFIG + "version_policy { all {} }")
    assert places(read())[:2] == ["1/model.onnx", "3/model.onnx"]
    (folder / "config.pbtxt").write_text(CONFIG + "version_policy { specific { versions: [3, 7] } }")
    assert places(read()) == ["3/model.onnx"]
    (folder / "config.pbtxt").write_text(CONFIG + "version_policy { latest { num_versions: 2 } }")
    assert places(read())[:2] == ["3/model.onnx", "10/model.onnx"]


def test_the_models_of_the_bench_can_be_named() -> None:
    roots = Roots([ROOT / "models"], ROOT / "models")
    assert places(read_package("surface-defect", roots)) == ["1/model.onnx"]


def test_labels_and_warm_up_inputs_come_along(read: Read, folder: Path) -> None:
    put_onnx(folder / "1" / "model.onnx")
    (folder / "labels.txt").write_text("good")
    (folder / "warmup").mkdir()
    (folder / "warmup" / "x.raw").write_bytes(b"1234")
    (folder / "config.pbtxt").write_text(
        CONFIG + 'output [ { name: "y" data_type: TYPE_FP32 dims: [4] label_filename: "labels.txt" } ]\n'
        'model_warmup [ { name: "w" inputs { key: "x" value { dims: [1] input_data_file: "x.raw" } } } ]'
    )
    assert places(read()) == ["1/model.onnx", "labels.txt", "warmup/x.raw"]


def test_a_version_folder_without_a_configuration_is_a_single_model(read: Read, folder: Path) -> None:
    put_onnx(folder / "1" / "model.onnx")
    put_onnx(folder / "2" / "anything.onnx")
    package = read()
    assert (package.kind, package.files[0].path.parent.name) == ("onnx", "2")


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ("max_batch_size: eight", r"config\.pbtxt is not Triton's configuration"),
        ("\xff", r"config\.pbtxt is not Triton's configuration"),
        ('platform: "ensemble"', "an ensemble"),
        ('backend: "python"', "brings Python code"),
        (CONFIG + 'default_model_filename: "press.onnx"', r"has no press\.onnx\. There is model\.onnx"),
        (CONFIG + "version_policy { specific { versions: [7] } }", "no version of the model that it serves"),
        (CONFIG + 'model_operations { op_library_filename: "x.so" }', "operator libraries"),
        (CONFIG + 'output [ { name: "y" label_filename: "../secret" } ]', "not in the model's folder"),
    ],
)
def test_a_configuration_that_cannot_be_served(read: Read, folder: Path, config: str, why: str) -> None:
    put_onnx(folder / "1" / "model.onnx")
    (folder / "config.pbtxt").write_text(config, encoding="latin-1")
    with pytest.raises(PackageUnusable, match=why):
        read()


def test_no_version_of_triton_s_folder_is_said(read: Read, folder: Path) -> None:
    (folder / "config.pbtxt").write_text(CONFIG)
    with pytest.raises(PackageUnusable, match="Put the model's file into a folder named 1"):
        read()
    (folder / "1").mkdir()
    with pytest.raises(PackageUnusable, match="It is empty"):
        read()


@pytest.mark.parametrize("name", ["libtriton_press.so", "custom.so.1", "inner/x.SO"])
def test_no_library_comes_out_of_a_package(read: Read, folder: Path, name: str) -> None:
    put_onnx(folder / "1" / "model.onnx")
    (folder / "1" / name).parent.mkdir(exist_ok=True)
    (folder / "1" / name).write_bytes(b"\x7fELF")
    (folder / "config.pbtxt").write_text(CONFIG)
    with pytest.raises(PackageUnusable, match="no package brings code"):
        read()


def test_python_only_where_it_is_allowed(read: Read, folder: Path) -> None:
    (folder / "1").mkdir()
    (folder / "1" / "model.py").write_text("")
    (folder / "config.pbtxt").write_text("max_batch_size: 0")
    with pytest.raises(PackageUnusable, match="brings Python code"):
        read()
    assert places(read(allow_python=True)) == ["1/model.py"]


def test_an_edge_manager_package_says_its_name_and_version(read: Read, folder: Path) -> None:
    put_onnx(folder / "model.onnx")
    (folder / "sagemaker_edge_manifest").write_text(
        json.dumps({"metadata": {"model_name": "turbine", "model_version": "4"}, "signature": "0"})
    )
    assert read().manifest == Manifest("turbine", "4")


def test_a_manifest_that_is_none_is_refused(read: Read, folder: Path) -> None:
    put_onnx(folder / "model.onnx")
    (folder / "sagemaker_edge_manifest").write_text("{")
    with pytest.raises(PackageUnusable, match="sagemaker_edge_manifest is not Edge Manager's: it is not JSON"):
        read()


NEO = ("compiled.so", "compiled.params", "compiled_model.json", "compiled.meta", "dlr.h", "libdlr.so", "compiled.ro")


@pytest.mark.parametrize("name", NEO)
def test_what_neo_compiled_is_refused_with_the_way_to_convert(read: Read, folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"x")
    (folder / "sagemaker_edge_manifest").write_text('{"metadata": {}}')
    for url in ("m", f"m/{name}"):
        with pytest.raises(PackageUnusable, match=r"compiled by Neo.*Export .* to ONNX") as refused:
            read(url)
        assert name in str(refused.value)


def test_a_portable_model_beside_neo_s_binaries_is_taken(read: Read, folder: Path) -> None:
    for name in NEO:
        (folder / name).write_bytes(b"x")
    put_onnx(folder / "model.onnx")
    assert places(read()) == ["1/model.onnx"]


def test_an_archive_is_not_unpacked_but_said(read: Read, folder: Path) -> None:
    (folder / "model.tar.gz").write_bytes(b"\x1f\x8b")
    for url in ("m", "m/model.tar.gz"):
        with pytest.raises(PackageUnusable, match=r"not unpacked here\. Unpack it \(tar xf"):
            read(url)
    put_onnx(folder / "model.onnx")  # unpacked beside it, as components do in their work folder
    assert read().kind == "onnx"


def test_other_files_are_left_alone(read: Read, folder: Path) -> None:
    put_onnx(folder / "model.onnx")
    for name in ("main.py", "labels.json", "run.sh", "libcustom.so", "photo.jpg", "greengrass.log"):
        (folder / name).write_bytes(b"x")
    (folder / "venv").mkdir()
    (folder / "venv" / "other.onnx").write_bytes(b"x")
    os.mkfifo(folder / "pipe")
    (folder / "lost").symlink_to("/nowhere")
    assert places(read()) == ["1/model.onnx"]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("weights.pth", "torch.onnx.export"),
        ("model.pt", "TorchScript does not say what its inputs are"),
        ("model.h5", "tf2onnx"),
        ("yolo.weights", "Darknet"),
        ("readme.txt", r"has no model that Triton serves, but readme\.txt"),
    ],
)
def test_what_is_no_model_of_triton_s_says_what_to_do(read: Read, folder: Path, name: str, why: str) -> None:
    (folder / name).write_bytes(b"x")
    with pytest.raises(PackageUnusable, match=why):
        read()
    with pytest.raises(PackageUnusable, match="cannot be served"):
        read(f"m/{name}")


def test_an_empty_folder_and_nothing_at_all(read: Read) -> None:
    with pytest.raises(PackageUnusable, match="is empty"):
        read()
    for url in ("n", "m/x/y", "x" * 5000):
        with pytest.raises(PackageNotFound, match="there is nothing at"):
            read(url)


@pytest.mark.parametrize("url", ["/etc", "..", "../beside", "link", "m/../../beside", "deep", "/", "m/file"])
def test_a_path_that_leads_out_is_refused(read: Read, root: Path, url: str) -> None:
    (root.parent / "beside").mkdir()
    put_onnx(root.parent / "beside" / "m.onnx")
    (root / "link").symlink_to(root.parent / "beside")
    (root / "deep").symlink_to(root / "link")
    (root / "m" / "file").symlink_to(root.parent / "beside" / "m.onnx")
    with pytest.raises(PackagePathRefused, match=r"not below a folder from which models may be loaded"):
        read(url)


def test_a_file_of_a_package_that_leads_out_is_refused(read: Read, root: Path, folder: Path) -> None:
    (root.parent / "secret.onnx").write_bytes(onnx_models.scaling(2.0).SerializeToString())
    (folder / "model.onnx").symlink_to(root.parent / "secret.onnx")
    with pytest.raises(PackagePathRefused):
        read()
    (folder / "model.onnx").unlink()
    (folder / "1").mkdir()
    (folder / "1" / "model.onnx").symlink_to(root.parent / "secret.onnx")
    (folder / "config.pbtxt").write_text(CONFIG)
    with pytest.raises(PackagePathRefused):
        read()


def test_links_that_stay_inside_are_followed(read: Read, root: Path, folder: Path) -> None:
    put_onnx(root / "store" / "blob")
    (folder / "model.onnx").symlink_to(root / "store" / "blob")
    (root / "alias").symlink_to(folder)
    assert read("alias").files[0].path.name == "model.onnx"


@pytest.mark.parametrize("url", ["", "\0", "s3://bucket/m", "file:///m", "https://example.com/m.onnx"])
def test_what_is_no_path_is_refused(read: Read, url: str) -> None:
    with pytest.raises(PackagePathRefused, match="is not a path"):
        read(url)


def test_without_roots_or_a_work_root_the_setting_is_named(root: Path) -> None:
    with pytest.raises(PackagePathRefused, match="No such folder is set"):
        read_package(str(root), Roots([], root))
    with pytest.raises(PackagePathRefused, match="there is no work root"):
        read_package("m", Roots([root]))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_says_who_reads(read: Read, folder: Path) -> None:
    put_onnx(folder / "model.onnx")
    (folder / "model.onnx").chmod(0)
    with pytest.raises(PackageUnusable, match=rf"Let user {os.geteuid()}"):
        read()


def test_a_folder_of_thousands_is_no_model(read: Read, folder: Path) -> None:
    for number in range(4097):
        (folder / str(number)).touch()
    with pytest.raises(PackageUnusable, match="more than 4096 entries"):
        read()


@given(st.binary(max_size=200))
def test_a_manifest_of_garbage_is_refused(text: bytes) -> None:
    try:
        assert isinstance(parse_manifest(text), Manifest)
    except ManifestError as error:
        assert str(error)  # noqa: PT017 - it may also be one


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"[]", "no object `metadata`"),
        (b'{"metadata": 1}', "no object `metadata`"),
        (b'{"metadata": {"model_name": []}}', "metadata.model_name is neither"),
        (b'{"metadata": {"model_version": true}}', "metadata.model_version is neither"),
        (b"[" * 100_000, "not JSON"),
        (b" " * (1024 * 1024 + 1), "more than"),
    ],
)
def test_a_manifest_that_is_none_says_why(text: bytes, why: str) -> None:
    with pytest.raises(ManifestError, match=why):
        parse_manifest(text)
    assert parse_manifest(b'{"metadata": {"model_version": 4}}') == Manifest("", "4")
