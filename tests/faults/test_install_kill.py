"""kill -9 while a signed package is installed: the repository has the version before or the new one, never a part."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from lineside.packages import make_key, pack, sign
from lineside_inference.models import placing
from lineside_inference.models.installing import Trust, install
from lineside_inference.models.store import read_store
from lineside_inference.models.variants import UNKNOWN
from tests.support.model_packages import sha256, trusting
from tests.support.waiting import block_until

NAME = "detector"
CONTENT = os.urandom(1 << 20) * 48


def packaged(folder: Path, version: str, content: bytes) -> Path:
    model = folder / version / NAME
    (model / version).mkdir(parents=True)
    (model / version / "model.onnx").write_bytes(content)
    (model / "config.pbtxt").write_text('backend: "onnxruntime" max_batch_size: 1')
    card: dict[str, Any] = {"schema": "lineside/card/1", "name": NAME, "version": version, "task": "raw"}
    card |= {"description": "Nothing.", "licence": "Apache-2.0", "output": {"name": "y", "head": "raw"}}
    card["input"] = {"name": "x", "kind": "tensor", "datatype": "FP32", "shape": [4]}
    card["files"] = [{"path": f"{version}/model.onnx", "sha256": sha256(content)}]
    (model / "card.yaml").write_text(yaml.safe_dump(card))
    archive = pack(model, folder / version).archive
    sign(archive, key=folder / "team.key")
    return archive


@pytest.fixture
def rig(tmp_path: Path) -> tuple[Path, Path, list[str]]:
    """A repository in which version 1 serves, its model's folder, and the command that installs version 2."""
    make_key(tmp_path / "team.key")
    roots = trusting(tmp_path / "roots", tmp_path / "team.key.pub")
    repository = tmp_path / "models"
    repository.mkdir()
    install(repository, packaged(tmp_path, "1", b"onnx"), Trust(roots))
    placing.accept(repository, NAME, ["1"])
    argv = [sys.executable, "-m", "lineside_inference.deploying", "--repository", str(repository), "install"]
    return repository, repository / NAME, [*argv, str(packaged(tmp_path, "2", CONTENT)), "--roots", str(roots)]


def staged(repository: Path) -> int:
    """Return how many bytes of the model are in the staging folder."""
    return sum(path.stat().st_size for path in (repository / placing.STAGING).rglob("model.onnx"))


@pytest.mark.parametrize("after", [0, 1, len(CONTENT) // 3, len(CONTENT) // 2, len(CONTENT) - 1])
def test_what_is_there_is_whole_whenever_the_process_is_killed(rig: Any, after: int) -> None:
    """`after`: so many bytes of the new version were unpacked when it was killed."""
    repository, folder, argv = rig
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        block_until(lambda: staged(repository) >= after or running.poll() is not None)
        running.send_signal(signal.SIGKILL)
        running.wait()
    serves = read_store(repository, UNKNOWN, allow_python=False)[NAME]
    version = serves.card.version
    assert version in {"1", "2"}
    assert (folder / "1/model.onnx").read_bytes() == b"onnx"
    if version == "2":
        assert (folder / "2/model.onnx").read_bytes() == CONTENT
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    assert done.stdout == "version 2\n"
    assert (folder / "2/model.onnx").read_bytes() == CONTENT
    assert not staged(repository)


def test_a_kill_in_the_middle_leaves_a_part_where_nobody_looks(rig: Any) -> None:
    """The negative control: without it the test above would pass with a process that was never in the middle."""
    repository, folder, argv = rig
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        block_until(lambda: staged(repository) > 0 or running.poll() is not None)
        running.send_signal(signal.SIGKILL)
        assert running.wait() == -signal.SIGKILL
    assert 0 < staged(repository) <= len(CONTENT)
    assert not (folder / "2").exists()
