"""Several versions of one model side by side."""

import hashlib
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from lineside_inference.errors import ModelUnloaded, StoreError, VersionUnknown
from lineside_inference.models.in_flight import InFlight
from lineside_inference.models.store import read_store
from lineside_inference.models.variants import Hardware


def put(folder: Path, document: Any, card: Path, version: str, **fields: Any) -> None:
    (folder / version).mkdir(parents=True, exist_ok=True)
    (folder / version / "model.onnx").write_bytes(version.encode())
    sha256 = hashlib.sha256(version.encode()).hexdigest()
    card.write_text(
        yaml.safe_dump(
            document | {"version": version, "files": [{"path": f"{version}/model.onnx", "sha256": sha256}]} | fields
        )
    )


@pytest.fixture
def folder(tmp_path: Path, document: Any) -> Path:
    folder = tmp_path / "surface-defect"
    put(folder, document, folder / "card.yaml", "1")
    for version in ("2", "10"):
        put(folder, document, folder / version / "card.yaml", version)
    (folder / "3").mkdir()
    return folder


def test_a_version_is_known_by_its_card(folder: Path) -> None:
    store = read_store(folder.parent)
    assert store.versions("surface-defect") == ("1", "2", "10")
    assert store.find("surface-defect").card.version == "1"
    assert store.candidate("surface-defect", "10").file == "model.onnx"
    with pytest.raises(VersionUnknown, match=r"'3' with a card.*1, 2, 10"):
        store.candidate("surface-defect", "3")


def test_a_switch_counts_from_the_next_request(folder: Path) -> None:
    store = read_store(folder.parent)
    old = store.find("surface-defect")
    store.switch(store.candidate("surface-defect", "2"))
    assert store.find("surface-defect", "2").ref.digest == f"sha256:{hashlib.sha256(b'2').hexdigest()}"
    assert old.card.version == "1"
    with pytest.raises(VersionUnknown, match="no version '1' in force"):
        store.find("surface-defect", "1")


def test_an_unloaded_model_is_named_until_a_version_comes(folder: Path) -> None:
    store = read_store(folder.parent)
    store.unload("surface-defect")
    with pytest.raises(ModelUnloaded):
        store.find("surface-defect")
    store.switch(store.candidate("surface-defect", "1"))
    assert store.find("surface-defect").card.version == "1"


def test_a_version_that_was_deployed_later_is_found(folder: Path, document: Any) -> None:
    store = read_store(folder.parent)
    put(folder, document, folder / "card.yaml", "4")
    assert store.versions("surface-defect") == ("1", "2", "4", "10")
    assert store.candidate("surface-defect", "4").card.version == "4"


def test_a_broken_card_of_another_version_does_not_stop_the_start(folder: Path) -> None:
    (folder / "2" / "card.yaml").write_text("a: [")
    store = read_store(folder.parent)
    assert set(store.cards("surface-defect")) == {"1", "10"}
    with pytest.raises(StoreError, match="not YAML"):
        store.candidate("surface-defect", "2")


def test_a_card_in_the_wrong_folder_is_named(folder: Path, document: Any) -> None:
    put(folder, document, folder / "2" / "card.yaml", "5")
    with pytest.raises(StoreError, match=r"version is '5'.*It stands for version '2'"):
        read_store(folder.parent).candidate("surface-defect", "2")


def test_the_file_for_this_hardware_is_served_and_named_by_its_digest(folder: Path, document: Any) -> None:
    (folder / "1" / "model.plan").write_bytes(b"engine")
    files = [
        {"path": "1/model.onnx", "sha256": hashlib.sha256(b"1").hexdigest()},
        {"path": "1/model.plan", "variant": "cc=8.7", "sha256": hashlib.sha256(b"engine").hexdigest()},
    ]
    put(folder, document, folder / "card.yaml", "1", files=files)
    orin = read_store(folder.parent, Hardware(cc="8.7")).find("surface-defect")
    assert (orin.file, orin.choice.variant) == ("model.plan", "cc=8.7")
    assert orin.ref.digest == f"sha256:{hashlib.sha256(b'engine').hexdigest()}"
    assert read_store(folder.parent).find("surface-defect").file == "model.onnx"


@pytest.mark.parametrize(("variant", "said"), [("cc=8.7", "no file fits this machine"), ("orin", "not a condition")])
def test_a_variant_that_does_not_fit_puts_the_model_out(folder: Path, document: Any, variant: str, said: str) -> None:
    files = [{"path": "1/model.onnx", "variant": variant, "sha256": hashlib.sha256(b"1").hexdigest()}]
    put(folder, document, folder / "card.yaml", "1", files=files)
    assert re.search(said, read_store(folder.parent).out["surface-defect"])


def test_python_code_of_a_model_puts_it_out(folder: Path) -> None:
    (folder / "config.pbtxt").write_text('backend: "python"')
    assert "allow_python_backend" in read_store(folder.parent).out["surface-defect"]
    assert "surface-defect" in read_store(folder.parent, allow_python=True)


async def test_requests_in_flight_are_waited_for() -> None:
    in_flight = InFlight()
    assert await in_flight.wait_until_idle(0.0)
    with in_flight.one():
        assert not await in_flight.wait_until_idle(0.0)
    assert await in_flight.wait_until_idle(0.0)


def test_an_engine_judges_for_the_version_that_it_was_built_of_and_no_other(folder: Path) -> None:
    store = read_store(folder.parent)
    onnx = store["surface-defect"]
    engine = replace(onnx, fallback=onnx)
    store.accelerate(engine)
    assert store.find("surface-defect", "1") is engine
    assert store["surface-defect"] is onnx, "what is in force stays the card's"
    store.switch(store.candidate("surface-defect", "2"))
    assert store.find("surface-defect").card.version == "2"


def test_an_engine_that_fails_judges_no_more_and_says_why_once(folder: Path) -> None:
    store = read_store(folder.parent)
    onnx = store["surface-defect"]
    engine, other = replace(onnx, fallback=onnx), replace(onnx, fallback=onnx)
    store.accelerate(engine)
    store.fall_back(other, "another one")
    assert store.find("surface-defect") is engine
    store.fall_back(engine, "it failed")
    store.fall_back(engine, "again, by a request of that time")
    assert store.find("surface-defect") is onnx
    assert store.fell_back == {"surface-defect": "it failed"}
