import hashlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from lineside.contract import Policy
from lineside_inference.errors import ModelOut, ModelUnknown, StoreError, VersionUnknown
from lineside_inference.models.card import Card
from lineside_inference.models.store import ModelStore, read_store
from tests.support.paths import ROOT

MODEL = b"not really a model"


@pytest.fixture
def repository(tmp_path: Path, document: Any) -> Path:
    folder = tmp_path / "surface-defect"
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.onnx").write_bytes(MODEL)
    document["files"][0]["sha256"] = hashlib.sha256(MODEL).hexdigest()
    (folder / "card.yaml").write_text(yaml.safe_dump(document))
    return tmp_path


def rewrite(repository: Path, **fields: Any) -> None:
    path = repository / "surface-defect" / "card.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | fields))


def why_out(repository: Path) -> str:
    """Return why the model is out; it is then not served."""
    store = read_store(repository)
    assert not store
    with pytest.raises(ModelOut, match="'surface-defect' is out"):
        store.find("surface-defect")
    return store.out["surface-defect"]


def test_reads_the_cards_and_their_digests(repository: Path) -> None:
    model = read_store(repository).find("surface-defect", "1")
    assert model.ref.digest == f"sha256:{hashlib.sha256(MODEL).hexdigest()}"
    assert model.card.labels == ("good", "scratch", "pit")
    assert model.preparation is not None


def test_the_models_of_the_bench_have_valid_cards() -> None:
    for path in sorted((ROOT / "models").glob("*/card.yaml")):
        card = Card.model_validate(yaml.safe_load(path.read_text()))
        assert card.name == path.parent.name


def test_an_unknown_model_is_answered_with_the_known_ones(repository: Path) -> None:
    store = read_store(repository)
    with pytest.raises(ModelUnknown, match=r"'surface'.*surface-defect"):
        store.find("surface")
    with pytest.raises(VersionUnknown, match=r"'2'.*'1'"):
        store.find("surface-defect", "2")


def test_a_changed_file_puts_the_model_out(repository: Path) -> None:
    (repository / "surface-defect" / "1" / "model.onnx").write_bytes(b"something else")
    assert re.search(r"model\.onnx has SHA-256 [0-9a-f]{64}, the card says", why_out(repository))


def test_a_missing_file_puts_the_model_out(repository: Path) -> None:
    (repository / "surface-defect" / "1" / "model.onnx").unlink()
    assert re.search(r"model\.onnx cannot be read: No such file", why_out(repository))


def test_no_repository_and_no_models_are_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is not a folder"):
        read_store(tmp_path / "nowhere")
    with pytest.raises(StoreError, match=r"no model with a card\.yaml.*edge_manager\.serve"):
        read_store(tmp_path)
    assert not read_store(tmp_path, may_be_empty=True)
    with pytest.raises(StoreError, match="is not a folder"):
        read_store(tmp_path / "nowhere", may_be_empty=True)


def test_what_is_not_yaml_is_named(repository: Path) -> None:
    (repository / "surface-defect" / "card.yaml").write_text("a: [")
    assert re.search(r"card\.yaml: not YAML", why_out(repository))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": "other"}, "name is 'other'"),
        ({"labls": []}, "labls: Extra inputs are not permitted"),
        ({"schema": "lineside/card/2"}, "schema: .*lineside/card/1"),
        ({"defects": ["scrach"]}, "defects names 'scrach'; labels are good, scratch, pit"),
        ({"thresholds": {"scrach": 0.5}}, "thresholds names 'scrach'"),
        ({"thresholds": {"default": float("nan")}}, "thresholds.default"),
        ({"labels": ["good", "good"]}, "the same name stands twice"),
        ({"files": [{"path": "../secret", "sha256": "0" * 64}]}, "without '..'"),
        ({"files": [{"path": "/etc/passwd", "sha256": "0" * 64}]}, "below the model's folder"),
        ({"files": []}, "files"),
        ({"output": {"name": "y", "head": "score"}}, "labels has 3 names; head score takes one"),
        ({"output": {"name": "y", "head": "score", "activation": "softmax"}}, "output.score.activation: Extra inputs"),
        ({"input": {"name": "x", "kind": "image", "datatype": "FP32", "shape": [3]}}, "image: must be given"),
        (
            {"input": {"name": "x", "kind": "tensor", "datatype": "FP32", "shape": [5, 2], "columns": ["a"]}},
            "columns has 1 names; the last axis of shape is 2",
        ),
    ],
)
def test_a_wrong_card_puts_the_model_out(repository: Path, fields: dict[str, Any], said: str) -> None:
    rewrite(repository, **fields)
    reason = why_out(repository)
    assert re.search(said, reason)
    assert "card.yaml" in reason


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"shape": [3, 9, 12]}, r"shape is \[3, 9, 12\]; image makes \[3, 8, 12\]"),
        ({"datatype": "INT8"}, "kind image takes FP32, FP16 or UINT8"),
        ({"datatype": "UINT8"}, "the model takes the pixels as they are, leave scale, mean and std away"),
        ({"image": {"width": 12, "height": 8, "mean": [1]}}, "mean has 1 numbers; colour rgb needs 3"),
        ({"image": {"width": 12, "height": 8, "std": [1, 0, 1]}}, "std.1"),
    ],
)
def test_a_wrong_image_input_puts_the_model_out(
    repository: Path, document: Any, change: dict[str, Any], said: str
) -> None:
    rewrite(repository, input=document["input"] | change)
    assert re.search(said, why_out(repository))


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (Policy(thresholds={"scrach": 0.5}), "scrach: no model has this label.*Did you mean 'scratch'"),
        (Policy(models={"surface-defects": "1"}), "no such model.*Did you mean 'surface-defect'"),
        (Policy(models={"surface-defect": "2"}), "version '2' has no card.*Use '1'"),
    ],
)
def test_a_policy_about_nothing_is_refused(repository: Path, policy: Policy, said: str) -> None:
    store: ModelStore = read_store(repository)
    store.check(Policy(thresholds={"default": 0.7, "scratch": 0.2}, models={"surface-defect": "1"}))
    with pytest.raises(StoreError, match=said):
        store.check(policy)
