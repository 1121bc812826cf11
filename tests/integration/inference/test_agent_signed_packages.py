"""Packages that Edge Manager's clients name: verified by a process of its own where the settings say who signs."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnx
import pytest
import yaml

from lineside.packages import make_key, pack, sign
from tests.support.agent_client import AgentClient, code_of
from tests.support.agent_service import agent_settings
from tests.support.identity_models import write_identity
from tests.support.model_packages import sha256, trusting
from tests.support.onnx_models import scaling
from tests.support.triton_server import TritonServer, running_triton
from tests.support.waiting import block_until

Start = Callable[..., Any]
REFUSED = grpc.StatusCode.FAILED_PRECONDITION
X = np.arange(8, dtype="<f4").reshape(2, 4)
CONFIG = """backend: "onnxruntime"
max_batch_size: 0
input [ { name: "x" data_type: TYPE_FP32 dims: [ -1, 4 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ -1, 4 ] } ]
"""


def make_package(folder: Path, name: str, factor: float) -> Path:
    model = folder / "from" / name
    (model / "1").mkdir(parents=True)
    onnx.save(scaling(factor), model / "1" / "model.onnx")
    (model / "config.pbtxt").write_text(CONFIG)
    digest = sha256((model / "1" / "model.onnx").read_bytes())
    card = {
        "schema": "lineside/card/1",
        "name": name,
        "version": "1",
        "files": [{"path": "1/model.onnx", "sha256": digest}],
    }
    (model / "card.yaml").write_text(yaml.safe_dump(card))
    return pack(model, folder).archive


@pytest.fixture(scope="module")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    repository = tmp_path_factory.mktemp("repository")
    write_identity(repository, "wide", {"x": ("FP32", [1, 3, 224, 224])})
    with running_triton(tmp_path_factory.mktemp("triton"), repository) as server:
        yield server


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of clients' models, and beside it the signer's key and the roots."""
    top = tmp_path_factory.mktemp("top")
    work = top / "work"
    work.mkdir()
    make_key(top / "team.key")
    make_key(top / "stranger.key")
    trusting(top / "roots", top / "team.key.pub")
    archive = make_package(work, "double", 2.0)
    sign(archive, key=top / "team.key")
    (work / "component").mkdir()
    for each in (archive, archive.with_name(f"{archive.name}.sig")):
        shutil.copy(each, work / "component")
    shutil.copy(archive, work / "unsigned-1.tar.gz")
    changed = bytearray(archive.read_bytes())
    changed[-100] ^= 1
    (work / "changed-1.tar.gz").write_bytes(changed)
    shutil.copy(f"{archive}.sig", work / "changed-1.tar.gz.sig")
    sign(make_package(work, "strange", 4.0), key=top / "stranger.key")
    (work / "bare").mkdir()
    onnx.save(scaling(3.0), work / "bare" / "model.onnx")
    (work / "rubbish.tar.gz").write_bytes(b"rubbish")
    return work


def started(start_shared: Start, triton: TritonServer, work: Path, folder: Path, **more: Any) -> Path:
    socket = folder / "agent.sock"
    start_shared(
        triton={"url": triton.grpc},
        model_repository=str(triton.repository),
        edge_manager=agent_settings(socket, model_roots=[str(work)], **more),
    )
    block_until(socket.exists)
    return socket


@pytest.fixture(scope="module")
def strict(
    start_shared: Start, triton: TritonServer, work: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AgentClient]:
    roots = {"signer_roots": str(work.parent / "roots"), "unsigned_models": ["harmless"]}
    with AgentClient(started(start_shared, triton, work, tmp_path_factory.mktemp("strict"), **roots)) as client:
        yield client


@pytest.mark.parametrize("url", ["double-1.tar.gz", "component"])
def test_a_signed_package_is_loaded_by_itself_or_by_its_folder(strict: AgentClient, url: str) -> None:
    strict.LoadModel(handle="double", url=url)
    assert np.array_equal(strict.predict("double", {"x": X})["y"], X * 2)
    strict.UnLoadModel(handle="double")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("unsigned-1.tar.gz", "has no signature, and "),
        ("bare", "has no signature, and "),
        ("changed-1.tar.gz", "is not what key team.key.pub signed"),
        ("strange-1.tar.gz", "by a key that is not in "),
        ("rubbish.tar.gz", "has no signature, and "),
    ],
)
def test_what_is_not_signed_by_somebody_trusted_is_refused_and_nothing_is_loaded(
    strict: AgentClient, url: str, says: str
) -> None:
    before = strict.ListModels().models
    code, words = code_of(lambda: strict.LoadModel(handle="m", url=url))
    assert code is REFUSED
    assert says in words
    assert strict.ListModels().models == before


def test_a_name_may_be_allowed_without_a_signature_and_not_with_a_wrong_one(strict: AgentClient) -> None:
    for url, factor in (("bare", 3), ("unsigned-1.tar.gz", 2)):
        strict.LoadModel(handle="harmless", url=url)
        assert np.array_equal(strict.predict("harmless", {"x": X})["y"], X * factor)
        strict.UnLoadModel(handle="harmless")
    assert code_of(lambda: strict.LoadModel(handle="harmless", url="changed-1.tar.gz"))[0] is REFUSED


def test_without_roots_packages_are_unpacked_and_nobody_is_asked(
    start_shared: Start, triton: TritonServer, work: Path, tmp_path: Path
) -> None:
    with AgentClient(started(start_shared, triton, work, tmp_path)) as client:
        for name, url in (("one", "unsigned-1.tar.gz"), ("two", "strange-1.tar.gz"), ("three", "bare")):
            client.LoadModel(handle=name, url=url)
        code, words = code_of(lambda: client.LoadModel(handle="m", url="changed-1.tar.gz"))
        assert (code, "is refused: " in words) == (REFUSED, True)
        code, words = code_of(lambda: client.LoadModel(handle="m", url="rubbish.tar.gz"))
        assert (code, "is an archive, and is not unpacked here" in words) == (REFUSED, True)
