"""A model's folder packed: what is in it, the same bytes each time, and what is refused."""

import gzip
import subprocess
import tarfile
from pathlib import Path

import pytest
import yaml

from lineside.packages import PackageRefused, pack, read_manifest
from lineside.packages.paths import MANIFEST_FILE
from tests.support.model_packages import model_folder, sha256


def refusal(folder: Path) -> str:
    with pytest.raises(PackageRefused) as refused:
        pack(folder, folder.parent / "out")
    assert refused.value.reason == "model-wrong"
    assert not list(folder.parent.glob("out/*"))
    return str(refused.value)


def test_what_is_packed_and_what_is_not(tmp_path):
    packed = pack(model_folder(tmp_path), tmp_path / "out")
    assert packed.archive == tmp_path / "out/detector-3.tar.gz"
    assert packed.left_out == ("train.py",)
    assert [file.path for file in packed.manifest.files] == ["3/model.onnx", "card.yaml", "config.pbtxt", "labels.txt"]
    assert packed.sha256 == sha256(packed.archive.read_bytes())
    assert packed.size == packed.archive.stat().st_size
    assert read_manifest(packed.archive) == packed.manifest
    with tarfile.open(packed.archive) as tar:
        first = tar.next()
        assert first is not None
        assert first.name == MANIFEST_FILE
        assert {(each.mode, each.uid, each.gid, each.mtime) for each in tar} == {(0o644, 0, 0, 0)}


def test_it_is_the_same_each_time_whenever_and_by_whomever_the_files_were_made(tmp_path):
    one, other = model_folder(tmp_path / "a"), model_folder(tmp_path / "b")
    (other / "card.yaml").chmod(0o600)
    (other / "3" / "model.onnx").touch()
    first, second = pack(one, tmp_path / "one.tar.gz"), pack(other, tmp_path / "two.tar.gz")
    assert first.archive.read_bytes() == second.archive.read_bytes()
    assert first.sha256 == second.sha256


def test_any_tar_reads_it(tmp_path):
    packed = pack(model_folder(tmp_path, content=bytes(range(256)) * 700), tmp_path)
    (tmp_path / "there").mkdir()
    subprocess.run(["tar", "xzf", packed.archive, "-C", tmp_path / "there"], check=True)
    assert (tmp_path / "there/3/model.onnx").read_bytes() == bytes(range(256)) * 700
    assert gzip.decompress(packed.archive.read_bytes())[257:262] == b"ustar"


def test_variants_stand_in_the_manifest_by_their_conditions(tmp_path):
    folder = model_folder(tmp_path)
    (folder / "3" / "orin.plan").write_bytes(b"plan")
    card = yaml.safe_load((folder / "card.yaml").read_text())
    card["files"].append(
        {"path": "3/orin.plan", "variant": "gpu=Orin NX;trt=10.3;arch=aarch64", "sha256": sha256(b"plan")}
    )
    (folder / "card.yaml").write_text(yaml.safe_dump(card))
    found = pack(folder, tmp_path).manifest.variants
    assert [each.variant for each in found] == ["any", "gpu=Orin NX;trt=10.3;arch=aarch64"]
    assert (found[1].gpu, found[1].trt, found[1].architecture, found[1].cc) == ("Orin NX", "10.3", "aarch64", None)
    assert found[1].files == ("3/orin.plan",)


@pytest.mark.parametrize(
    ("card", "says"),
    [
        ({"schema": "lineside/card/2"}, "its schema must be lineside/card/1"),
        ({"name": "other"}, "name is 'other'. Call it 'detector', as its folder"),
        ({"version": "0"}, "expected a version"),
        ({"version": 3}, "expected text"),
        ({"version": "4"}, "is for version 4, and there is no folder 4"),
        ({"files": []}, "names no file of variant any"),
        ({"files": [{"path": "3/none.onnx", "sha256": "0"}]}, "'3/none.onnx', which is not in a version's folder"),
        ({"files": [{"path": "3/model.onnx", "sha256": "0" * 64}]}, f"card.yaml says {'0' * 64}"),
        ({"files": ["3/model.onnx"]}, "files.0 is None"),
        ({"made": {"on": yaml.safe_load("2024-01-01")}}, "Write dates and the like in quotes"),
    ],
)
def test_a_card_that_is_not_of_this_folder_is_refused(tmp_path, card, says):
    assert says in refusal(model_folder(tmp_path, **card))


def test_an_engine_alone_is_refused_for_nothing_else_would_run_it(tmp_path):
    folder = model_folder(tmp_path)
    (folder / "3" / "model.plan").write_bytes(b"plan")
    files = [{"path": "3/model.plan", "variant": "cc=8.7", "sha256": sha256(b"plan")}]
    (folder / "card.yaml").write_text(
        yaml.safe_dump({"schema": "lineside/card/1", "name": "detector", "version": "3", "files": files})
    )
    assert "Add the ONNX file" in refusal(folder)


def test_a_variant_that_is_none_is_refused(tmp_path):
    files = [
        {"path": "3/model.onnx", "sha256": sha256(b"onnx" * 1000)},
        {"path": "3/model.onnx", "variant": "gpus=4", "sha256": sha256(b"onnx" * 1000)},
    ]
    assert "'gpus=4' is not a condition" in refusal(model_folder(tmp_path, files=files))


def test_links_pipes_and_strange_names_are_refused(tmp_path):
    folder = model_folder(tmp_path / "a")
    (folder / "3" / "weights").symlink_to("/etc/passwd")
    assert "weights is a link. Put the file itself there" in refusal(folder)
    folder = model_folder(tmp_path / "b")
    (folder / "3" / "a b.bin").write_bytes(b"")
    assert "has names that are not letters" in refusal(folder)
    folder = model_folder(tmp_path / "c")
    (folder / "card.yaml").unlink()
    (folder / "card.yaml").symlink_to("/etc/passwd")
    assert "cannot be read" in refusal(folder)
    folder = model_folder(tmp_path / "d")
    (folder / "config.pbtxt").unlink()
    assert "config.pbtxt cannot be read: No such file" in refusal(folder)


def test_names_that_are_one_on_some_disks_are_refused(tmp_path):
    folder = model_folder(tmp_path)
    (folder / "3" / "Model.onnx").write_bytes(b"")
    assert "in case only" in refusal(folder)


def test_a_file_that_changes_while_it_is_packed_is_refused_and_the_last_package_stays(tmp_path, monkeypatch):
    folder = model_folder(tmp_path)
    before = pack(folder, tmp_path).archive.read_bytes()
    real = Path.mkdir

    def meanwhile(path: Path, *args: object, **kwargs: object) -> None:
        (folder / "labels.txt").write_text("bad\ngood\n")
        real(path, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "mkdir", meanwhile)
    with pytest.raises(PackageRefused, match="changed while it was packed"):
        pack(folder, tmp_path)
    monkeypatch.undo()
    assert (tmp_path / "detector-3.tar.gz").read_bytes() == before
    assert not list(tmp_path.glob(".*"))


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(PackageRefused, match="cannot be written: ") as refused:
        pack(model_folder(tmp_path), tmp_path / "out")
    assert refused.value.reason == "not-written"
