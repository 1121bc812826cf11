"""A model's folder as the repository has it: one of which nothing is run, and the bench's own with another content."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import yaml

from tests.support.paths import ROOT


def model_folder(folder: Path, name: str, version: str, content: str = "", **fields: Any) -> Path:
    """Write a model's folder: one version with its file, the card of this repository's own model, a configuration."""
    (folder / version).mkdir(parents=True)
    data = (content or f"{name} {version}").encode()
    (folder / version / "model.onnx").write_bytes(data)
    (folder / "config.pbtxt").write_text(f'name: "{name}"\nmax_batch_size: 1\n')
    card = yaml.safe_load((ROOT / "models" / "surface-defect" / "card.yaml").read_text())
    files = [{"path": f"{version}/model.onnx", "sha256": hashlib.sha256(data).hexdigest()}]
    card |= {"name": name, "version": version, "files": files} | fields
    (folder / "card.yaml").write_text(yaml.safe_dump(card))
    return folder


def like_the_benchs(folder: Path, version: str, content: bytes, config: str = "") -> Path:
    """Write the bench's model with one version and this content, in place of what is there; `config` ends its own."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / version).mkdir(parents=True)
    (folder / version / "model.onnx").write_bytes(content)
    shipped = ROOT / "models" / "surface-defect"
    (folder / "config.pbtxt").write_text((shipped / "config.pbtxt").read_text() + config)
    card = yaml.safe_load((shipped / "card.yaml").read_text()) | {"version": version}
    card["files"] = [{"path": f"{version}/model.onnx", "sha256": hashlib.sha256(content).hexdigest()}]
    (folder / "card.yaml").write_text(yaml.safe_dump(card))
    return folder
