"""Models that are out, come in when they are mended, and new ones."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from lineside.connections import Connection, State
from lineside.contract import Policy
from lineside_inference.errors import EngineFailed, ModelOut, PolicyRefused, StoreError
from lineside_inference.models import undoing
from lineside_inference.models.repository_watcher import Renewal, RepositoryWatcher
from lineside_inference.models.store import Model, ModelStore, read_store
from lineside_inference.policies.policy_file import Kept, PolicyFile
from lineside_inference.policies.policy_store import PolicyStore, start


def put(repository: Path, document: Any, name: str, version: str = "1", **fields: Any) -> Path:
    folder = repository / name
    (folder / version).mkdir(parents=True, exist_ok=True)
    (folder / version / "model.onnx").write_bytes(name.encode())
    files = [{"path": f"{version}/model.onnx", "sha256": hashlib.sha256(name.encode()).hexdigest()}]
    card = folder / "card.yaml" if version == "1" else folder / version / "card.yaml"
    card.write_text(yaml.safe_dump(document | {"name": name, "version": version, "files": files} | fields))
    return folder


class Scene:
    """The watcher of a repository, and the connections under which they are shown."""

    def __init__(self, repository: Path) -> None:
        self.store = read_store(repository)
        self.links: dict[str, Connection] = {}
        self.renewals: list[Renewal] = []
        self.watcher = RepositoryWatcher(self.store, self.store.take, self.link, self.renewals.append)

    def link(self, name: str) -> Connection:
        return self.links.setdefault(name, Connection(f"model/{name}", ""))

    def look(self) -> list[str]:
        """Look twice, as it takes for what rests, and return who came."""
        found = [*self.watcher.look(), *self.watcher.look()]
        self.watcher.admit(found)
        return [each.card.name for each in found if isinstance(each, Model)]

    def renewed(self) -> list[Renewal]:
        """Look twice and return what own cards were found to name."""
        self.renewals.clear()
        self.look()
        return list(self.renewals)


def test_one_wrong_model_is_out_and_the_others_serve(tmp_path: Path, document: Any) -> None:
    put(tmp_path, document, "good")
    (put(tmp_path, document, "changed") / "1" / "model.onnx").write_bytes(b"something else")
    (put(tmp_path, document, "half") / "card.yaml").write_text("name: half\n")
    scene = Scene(tmp_path)
    assert set(scene.store) == {"good"}
    with pytest.raises(ModelOut, match=r"'changed' is out: .* has SHA-256"):
        scene.store.find("changed")
    scene.watcher.show()
    assert {name: (link.state, link.required) for name, link in scene.links.items()} == {
        "changed": (State.BACKOFF, False),
        "half": (State.BACKOFF, False),
    }
    assert scene.look() == []
    (tmp_path / "changed" / "1" / "model.onnx").write_bytes(b"changed")
    assert scene.look() == ["changed"]
    assert set(scene.store.out) == {"half"}


def test_where_all_are_out_the_service_is_not_ready(tmp_path: Path, document: Any) -> None:
    (put(tmp_path, document, "only") / "1" / "model.onnx").unlink()
    scene = Scene(tmp_path)
    scene.watcher.show()
    assert scene.links["only"].required


def test_a_new_folder_is_found_when_it_is_whole(tmp_path: Path, document: Any) -> None:
    put(tmp_path, document, "good")
    scene = Scene(tmp_path)
    assert scene.look() == []
    folder = put(tmp_path, document, "later")
    (folder / "1" / "model.onnx").write_bytes(b"la")
    assert scene.watcher.look() == []  # it may be being copied
    (folder / "1" / "model.onnx").write_bytes(b"late")
    assert scene.watcher.look() == []
    assert "later" not in scene.store.out
    (folder / "1" / "model.onnx").write_bytes(b"later")
    assert scene.look() == ["later"]
    assert scene.look() == []


def test_what_is_wrong_is_read_once_for_each_state(tmp_path: Path, document: Any, monkeypatch: Any) -> None:
    put(tmp_path, document, "good")
    (put(tmp_path, document, "changed") / "1" / "model.onnx").write_bytes(b"no")
    scene = Scene(tmp_path)
    scene.look()
    asked: list[Path] = []

    def read(folder: Path, _version: str | None = None) -> Model:
        asked.append(folder)
        raise StoreError("still wrong")

    monkeypatch.setattr(scene.store, "read_model", read)
    scene.look()
    assert asked == []
    scene.store.wanted = {"changed": "2"}  # the policy names another version: that one may be right
    scene.look()
    assert asked == [tmp_path / "changed"]


async def test_one_that_cannot_join_is_out_by_name(tmp_path: Path, document: Any) -> None:
    put(tmp_path, document, "good")
    scene = Scene(tmp_path)

    def join(model: Model) -> None:
        raise EngineFailed(f"{model.card.name} needs a larger slot")

    put(tmp_path, document, "large")
    watcher = RepositoryWatcher(scene.store, join, scene.link, scene.renewals.append)
    for _ in range(2):
        watcher.admit(watcher.look())
    assert scene.store.out == {"large": "large needs a larger slot"}
    assert scene.links["large"].state is State.BACKOFF


def test_a_kept_version_that_is_wrong_puts_that_model_out_and_keeps_the_policy(tmp_path: Path, document: Any) -> None:
    repository = tmp_path / "models"
    put(repository, document, "good")
    put(repository, document, "two")
    put(repository, document, "two", "2", labels=["good", "crack"], defects=["crack"], thresholds={})
    file = PolicyFile(tmp_path / "state")
    policy = Policy(enabled=False, models={"two": "2"}, thresholds={"crack": 0.3})
    start(Policy(), ModelStore((), repository), file)
    file.write(Kept(policy=policy, in_force={"good": "1", "two": "2"}))
    (repository / "two" / "2" / "card.yaml").write_text("a: [")
    store = read_store(repository)
    assert start(Policy(), store, file) == policy
    assert set(store) == {"good"}
    assert "not YAML" in store.out["two"]


async def test_a_policy_may_speak_of_a_model_that_is_out(tmp_path: Path, document: Any) -> None:
    repository = tmp_path / "models"
    put(repository, document, "good")
    (put(repository, document, "broken") / "card.yaml").write_text("a: [")
    store = read_store(repository)
    policies = PolicyStore(Policy(), store, PolicyFile(None))
    await policies.put(json.dumps({"thresholds": {"crack": 0.3}, "models": {"broken": "1"}}).encode())
    with pytest.raises(PolicyRefused, match="no such model"):
        await policies.put(b'{"models":{"nothing":"1"}}')
    put(repository, document, "broken")
    scene = Scene(repository)
    policies = PolicyStore(Policy(), scene.store, PolicyFile(None))
    with pytest.raises(PolicyRefused, match="crack: no model has this label"):
        await policies.put(b'{"thresholds":{"crack":0.3}}')


def test_files_are_compared_again_with_their_card(tmp_path: Path, document: Any) -> None:
    folder = put(tmp_path, document, "good")
    model = read_store(tmp_path).find("good")
    model.check_files()
    (folder / "1" / "model.onnx").write_bytes(b"baad")
    with pytest.raises(StoreError, match="has SHA-256"):
        model.check_files()


def test_the_own_card_of_a_model_that_serves_may_name_another_version(tmp_path: Path, document: Any) -> None:
    folder = put(tmp_path, document, "good")
    scene = Scene(tmp_path)
    assert scene.renewed() == []
    first = (folder / "card.yaml").read_text()
    (folder / "1" / "card.yaml").write_text(first)
    put(tmp_path, document, "good", "2")
    assert scene.renewed() == [Renewal("good", "1")]  # another folder, the same version
    (folder / "2" / "card.yaml").rename(folder / "card.yaml")
    assert scene.renewed() == [Renewal("good", "2")]
    assert scene.renewed() == []
    (folder / "2" / "model.onnx").write_bytes(b"something else")
    [renewal] = scene.renewed()
    assert "has SHA-256" in renewal.wrong
    (folder / "card.yaml").write_text("half a car")
    assert scene.renewed() == []
    assert set(scene.store) == {"good"}
    (folder / "card.yaml").write_text(first)
    assert scene.renewed() == [Renewal("good", "1")]


def test_a_version_named_while_the_service_starts_is_found(tmp_path: Path, document: Any) -> None:
    folder = put(tmp_path, document, "good")
    put(tmp_path, document, "good", "2")
    scene = Scene(tmp_path)
    (folder / "2" / "card.yaml").rename(folder / "card.yaml")
    assert scene.renewed() == [Renewal("good", "2")]


def test_a_version_is_read_with_its_own_configuration(tmp_path: Path, document: Any) -> None:
    folder = put(tmp_path, document, "good")
    put(tmp_path, document, "good", "2")
    (folder / "config.pbtxt").write_text("max_batch_size: 4")
    (folder / "1" / "config.pbtxt").write_text("max_batch_size: 1")
    store = read_store(tmp_path)
    assert store["good"].config.max_batch_size == 1
    assert store.candidate("good", "2").config.max_batch_size == 4


def test_a_model_whose_own_card_is_wrong_serves_on_after_a_restart_as_it_did(tmp_path: Path, document: Any) -> None:
    repository = tmp_path / "models"
    folder = put(repository, document, "good")
    (folder / "1" / "card.yaml").write_text((folder / "card.yaml").read_text())
    file = PolicyFile(tmp_path / "state")
    start(Policy(), ModelStore((), repository), file)
    file.write(Kept(policy=Policy(enabled=False), in_force={"good": "1"}))
    put(repository, document, "good", "2")
    (folder / "2" / "card.yaml").rename(folder / "card.yaml")
    (folder / "2" / "model.onnx").write_bytes(b"half")
    scene = Scene(repository)
    assert set(scene.store.out) == {"good"}
    assert start(Policy(), scene.store, file) == Policy(enabled=False)
    assert scene.store["good"].card.version == "1"
    assert scene.store.out == {}
    [renewal] = scene.renewed()
    assert renewal.version == "2"
    assert "has SHA-256" in renewal.wrong


def test_a_model_that_was_taken_out_is_told_once_and_again_when_it_is_back(tmp_path: Path, document: Any) -> None:
    put(tmp_path, document, "good")
    put(tmp_path, document, "other")
    scene = Scene(tmp_path)
    withdrawn: list[str] = []
    scene.watcher = RepositoryWatcher(
        scene.store, scene.store.take, scene.link, scene.renewals.append, withdrawn.append
    )
    scene.look()
    (tmp_path / "good").rename(tmp_path / "away")
    scene.look()
    assert withdrawn == [], "a folder that is only away is a disk's fault: what serves goes on"
    (tmp_path / "away").rename(tmp_path / "good")
    undoing.withdraw(tmp_path, "good")
    scene.look()
    scene.look()
    assert withdrawn == ["good"]
    assert scene.renewed() == []
    undoing.restore(tmp_path, "good")
    (tmp_path / ".withdrawn" / "good").rename(tmp_path / "good")
    assert scene.renewed() == [Renewal("good", "1")], "the same content again is told too"
    undoing.withdraw(tmp_path, "good")
    scene.look()
    assert withdrawn == ["good", "good"]
