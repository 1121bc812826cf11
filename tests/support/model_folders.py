"""A model's folder as the repository has it, of which nothing is run."""

import hashlib
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
