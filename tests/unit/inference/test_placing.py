"""A model put into the repository beside what serves, and what is no longer needed taken away."""

import hashlib
import io
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from lineside_inference.errors import StoreError
from lineside_inference.models import placing
from lineside_inference.models.configuration import read_config

NAME = "surface-defect"


class Desk:
    """A repository, and a folder in which models are made before they are put."""

    def __init__(self, folder: Path, document: Any) -> None:
        self.repository = folder / "models"
        self.repository.mkdir()
        self.desk = folder / "desk"
        self.document = document

    def make(self, version: str, content: bytes, *, config: str = "max_batch_size: 1", **fields: Any) -> Path:
        shutil.rmtree(self.desk, ignore_errors=True)
        (self.desk / version).mkdir(parents=True)
        (self.desk / version / "model.onnx").write_bytes(content)
        (self.desk / "config.pbtxt").write_text(config)
        files = [{"path": f"{version}/model.onnx", "sha256": hashlib.sha256(content).hexdigest()}]
        card = self.document | {"name": NAME, "version": version, "files": files} | fields
        (self.desk / "card.yaml").write_text(yaml.safe_dump(card))
        return self.desk

    def put(self, folder: Path | None = None) -> str:
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as archive:
            archive.add(folder or self.desk, ".")
        stream.seek(0)
        return placing.put(self.repository, NAME, stream)

    @property
    def files(self) -> dict[str, str]:
        """Everything below the model's folder but cards, with what it holds."""
        folder = self.repository / NAME
        found = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "card.yaml")
        return {str(path.relative_to(folder)): path.read_text() for path in found}

    def is_clean(self) -> bool:
        return not list((self.repository / placing.STAGING).iterdir())


@pytest.fixture
def desk(tmp_path: Path, document: Any) -> Desk:
    return Desk(tmp_path, document)


def test_each_version_keeps_the_card_and_the_configuration_that_it_came_with(desk: Desk) -> None:
    desk.make("1", b"one", config="max_batch_size: 1", description="First.")
    assert desk.put() == "1"
    desk.make("2", b"two", config="max_batch_size: 2", description="Second.")
    assert desk.put() == "2"
    assert desk.files == {
        "config.pbtxt": "max_batch_size: 2",
        "1/model.onnx": "one",
        "1/config.pbtxt": "max_batch_size: 1",
        "2/model.onnx": "two",
        "2/config.pbtxt": "max_batch_size: 2",
    }
    folder = desk.repository / NAME
    assert read_config(folder, "1").max_batch_size == 1
    assert read_config(folder).max_batch_size == 2
    told = [yaml.safe_load((folder / each / "card.yaml").read_text())["description"] for each in ("1", ".")]
    assert told == ["First.", "Second."]
    assert placing.version_of(desk.repository, NAME) == "2"
    assert desk.is_clean()


def test_the_same_again_changes_nothing(desk: Desk) -> None:
    desk.make("1", b"one")
    desk.put()
    card = desk.repository / NAME / "card.yaml"
    before = card.stat().st_ino
    placing.accept(desk.repository, NAME, ["1"])
    assert desk.put() == "1"
    assert card.stat().st_ino == before  # the service does not read it again


def test_an_accepted_version_never_changes_and_another_gives_way(desk: Desk) -> None:
    desk.make("1", b"one")
    desk.put()
    placing.accept(desk.repository, NAME, ["1"])
    desk.make("2", b"broken")
    desk.put()
    desk.make("2", b"mended")
    desk.put()
    assert desk.files["2/model.onnx"] == "mended"
    placing.accept(desk.repository, NAME, ["1", "2"])
    for version, content, more in (("2", b"again", {}), ("1", b"one", {"thresholds": {"default": 0.9}})):
        desk.make(version, content, **more)
        before = desk.files
        with pytest.raises(StoreError, match=f"version {version} of model {NAME} is there with another content"):
            desk.put()
        assert desk.files == before
        assert placing.version_of(desk.repository, NAME) == "2"
    assert desk.is_clean()


def test_what_is_no_longer_needed_goes(desk: Desk) -> None:
    for version in ("1", "2", "3"):
        desk.make(version, version.encode())
        desk.put()
    assert placing.accept(desk.repository, NAME, ["1", "3"]) == ["2"]
    assert {name for name in desk.files if name.endswith("onnx")} == {"1/model.onnx", "3/model.onnx"}
    assert placing.accept(desk.repository, NAME, ["3", "9"]) == ["1"]
    desk.make("1", b"another")  # its number is free again
    desk.put()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda folder: (folder / "1/model.onnx").write_bytes(b"other"), "model.onnx has SHA-256"),
        (lambda folder: (folder / "config.pbtxt").unlink(), "came without config.pbtxt"),
        (lambda folder: (folder / "config.pbtxt").write_text("a {"), "is not Triton's configuration"),
        (lambda folder: (folder / "card.yaml").write_text("name: x"), "card.yaml"),
        (lambda folder: (folder / "1").rename(folder / "7"), "no folder 1 came with it"),
    ],
)
def test_what_is_wrong_with_it_is_said_and_nothing_of_it_is_seen(desk: Desk, wrong: Any, said: str) -> None:
    desk.make("1", b"one")
    wrong(desk.desk)
    with pytest.raises(StoreError, match=said):
        desk.put()
    assert not (desk.repository / NAME).exists()
    assert desk.is_clean()


def test_a_stream_that_ends_early_or_leads_out_is_refused(desk: Desk) -> None:
    with pytest.raises(StoreError, match="cannot be put into"):
        placing.put(desk.repository, NAME, io.BytesIO(b"x" * 700))
    folder = desk.make("1", b"one")
    (folder / "1" / "out").symlink_to("../../../../etc/passwd")
    with pytest.raises(StoreError, match="cannot be put into"):
        desk.put(folder)
    assert not (desk.repository / NAME).exists()
