import os
import stat
from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from lineside_inference.agent.packages import model_folder
from lineside_inference.agent.packages.model_folder import ModelFolder
from lineside_inference.agent.packages.package import Package, read_package
from lineside_inference.agent.packages.paths import Roots
from lineside_inference.errors import MemoryShort, PackageNotFound, PackageUnusable, StateNotKept
from tests.support import onnx_models


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    (tmp_path / "work" / "press").mkdir(parents=True)
    model = onnx_models.scaling(2.0).SerializeToString()
    (tmp_path / "work" / "press" / "m.onnx").write_bytes(model)
    return Roots([tmp_path / "work"], tmp_path / "work")


@pytest.fixture
def package(roots: Roots) -> Package:
    return read_package("press", roots)


@pytest.fixture
def folder(tmp_path: Path) -> ModelFolder:
    folder = ModelFolder(tmp_path / "models")
    folder.prepare(())
    return folder


def test_a_package_lies_there_whole_as_triton_has_it(folder: ModelFolder, package: Package, roots: Roots) -> None:
    folder.place(package, "press-2", roots)
    assert folder.has("press-2")
    assert sorted(path.name for path in folder.path.iterdir()) == ["press-2"]
    assert (folder.path / "press-2" / "1" / "model.onnx").read_bytes() == package.files[0].path.read_bytes()
    config = text_format.Parse((folder.path / "press-2" / "config.pbtxt").read_text(), pb.ModelConfig())
    assert (config.name, config.backend) == ("press-2", "onnxruntime")


def test_everybody_may_read_it(folder: ModelFolder, package: Package, roots: Roots) -> None:
    before = os.umask(0o022)
    try:
        folder.place(package, "press", roots)
    finally:
        os.umask(before)
    for path in (folder.path / "press").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o755 if path.is_dir() else 0o644)


def test_it_is_a_copy_that_does_not_change_with_the_client_s(
    folder: ModelFolder, package: Package, roots: Roots
) -> None:
    before = package.files[0].path.read_bytes()
    folder.place(package, "press", roots)
    with package.files[0].path.open("r+b") as stream:
        stream.write(b"changed in place")
    assert (folder.path / "press" / "1" / "model.onnx").read_bytes() == before


def test_what_was_left_under_the_name_is_replaced(folder: ModelFolder, package: Package, roots: Roots) -> None:
    (folder.path / "press" / "7").mkdir(parents=True)
    folder.place(package, "press", roots)
    assert sorted(path.name for path in (folder.path / "press").iterdir()) == ["1", "config.pbtxt"]


def test_nothing_is_left_of_a_package_that_changed_meanwhile(
    folder: ModelFolder, package: Package, roots: Roots
) -> None:
    with package.files[0].path.open("ab") as stream:
        stream.write(b"more")
    with pytest.raises(PackageUnusable, match="when it was copied"):
        folder.place(package, "press", roots)
    package.files[0].path.unlink()
    with pytest.raises(PackageNotFound):
        folder.place(package, "press", roots)
    assert not list(folder.path.iterdir())


def test_a_model_goes_at_once_and_twice_is_no_harm(folder: ModelFolder, package: Package, roots: Roots) -> None:
    folder.place(package, "press", roots)
    folder.remove("press")
    folder.remove("press")
    assert not list(folder.path.iterdir())


def test_the_start_clears_what_is_not_kept_and_leaves_files_alone(
    folder: ModelFolder, package: Package, roots: Roots
) -> None:
    for name in ("kept", "gone"):
        folder.place(package, name, roots)
    (folder.path / ".incoming-of-a-crash" / "1").mkdir(parents=True)
    (folder.path / "readme").write_text("somebody's")
    ModelFolder(folder.path).prepare({"kept": "", ".incoming-of-a-crash": ""})
    assert sorted(path.name for path in folder.path.iterdir()) == ["kept", "readme"]


def test_a_disk_without_room_is_said_with_figures(
    folder: ModelFolder, package: Package, roots: Roots, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = os.statvfs(folder.path).f_bavail * os.statvfs(folder.path).f_frsize
    monkeypatch.setattr(model_folder, "_RESERVE", free * 2)
    with pytest.raises(MemoryShort, match=rf"'press' has {package.size} bytes, and the disk of .* has 0 for it"):
        folder.place(package, "press", roots)


def test_a_folder_that_cannot_be_used_names_the_setting(tmp_path: Path, package: Package, roots: Roots) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateNotKept, match=r"edge_manager\.model_folder .*file cannot be used"):
        ModelFolder(tmp_path / "file").prepare(())
    with pytest.raises(StateNotKept, match=r"edge_manager\.model_folder"):
        ModelFolder(tmp_path / "none").place(package, "press", roots)
