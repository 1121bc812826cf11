"""The policy in force and what survives a restart."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from lineside.contract import Policy, to_json
from lineside_inference.errors import PolicyChanged, PolicyRefused, StateNotKept, StoreError
from lineside_inference.models.store import ModelStore, read_store
from lineside_inference.policies.policy_file import FILE, PolicyFile
from lineside_inference.policies.policy_store import PolicyStore, etag, start


@pytest.fixture
def repository(tmp_path: Path, document: Any) -> Path:
    """One model with two versions."""
    folder = tmp_path / "models" / "surface-defect"
    for version in ("1", "2"):
        (folder / version).mkdir(parents=True)
        data = version.encode()
        (folder / version / "model.onnx").write_bytes(data)
        files = [{"path": f"{version}/model.onnx", "sha256": hashlib.sha256(data).hexdigest()}]
        card = folder / "card.yaml" if version == "1" else folder / version / "card.yaml"
        card.write_text(yaml.safe_dump(document | {"version": version, "files": files}))
    return tmp_path / "models"


@pytest.fixture
def store(repository: Path) -> ModelStore:
    return read_store(repository)


@pytest.fixture
def make(store: ModelStore, tmp_path: Path) -> Callable[[], PolicyStore]:
    def make() -> PolicyStore:
        file = PolicyFile(tmp_path / "state")
        return PolicyStore(start(Policy(thresholds={"default": 0.9}), store, file), store, file)

    return make


def test_the_tag_is_of_the_choices_not_of_their_order() -> None:
    one = Policy(thresholds={"a": 0.1, "b": 0.2})
    assert etag(one) == etag(Policy(thresholds={"b": 0.2, "a": 0.1}))
    assert etag(one) != etag(Policy(thresholds={"a": 0.1, "b": 0.3}))
    assert etag(one).startswith('"')


async def test_a_policy_is_applied_and_survives(make: Callable[[], PolicyStore]) -> None:
    policies, seen = make(), []
    policies.apply = seen.append
    before = policies.etag
    new = Policy(enabled=False, thresholds={"scratch": 0.3})
    assert await policies.put(to_json(new), if_match=before) == new
    assert seen == [new]
    assert policies.etag == etag(new) != before
    assert make().current == new


async def test_whether_parts_are_judged_is_a_metric(store: ModelStore) -> None:
    registry = CollectorRegistry()
    policies = PolicyStore(Policy(), store, PolicyFile(None), registry)
    assert registry.get_sample_value("lineside_inference_policy_enabled") == 1
    await policies.put(to_json(Policy(enabled=False)))
    assert registry.get_sample_value("lineside_inference_policy_enabled") == 0


async def test_another_one_than_was_seen_is_not_replaced(make: Callable[[], PolicyStore]) -> None:
    policies = make()
    await policies.put(b"{}", if_match="*")
    with pytest.raises(PolicyChanged, match="Get /v1/policy again"):
        await policies.put(b'{"enabled":false}', if_match='"other"')
    with pytest.raises(PolicyChanged):
        await policies.put(b'{"enabled":false}', if_match=f"W/{policies.etag}")
    await policies.put(b'{"enabled":false}', if_match=f'"other", {policies.etag}')
    assert not policies.current.enabled


async def test_a_wrong_policy_is_refused_whole_with_all_its_faults(make: Callable[[], PolicyStore]) -> None:
    policies = make()
    before = policies.current
    wrong = {"thresholds": {"scrach": 0.5, "pitt": 0.1}, "models": {"surface-defects": "1", "surface-defect": "7"}}
    with pytest.raises(PolicyRefused) as caught:
        await policies.put(json.dumps(wrong).encode())
    said = caught.value.problems
    assert len(said) == 4
    assert said[0] == "policy.thresholds.scrach: no model has this label. Did you mean 'scratch'?"
    assert "Did you mean 'surface-defect'?" in said[2]
    assert "Use '1', '2'" in said[3]
    assert policies.current is before


async def test_faults_of_the_form_are_all_named(make: Callable[[], PolicyStore]) -> None:
    with pytest.raises(PolicyRefused) as caught:
        await make().put(b'{"enbled":true,"thresholds":{"pit":-1},"capture":{"rate":2}}')
    said = "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 3
    for name in ("policy.enbled: not a part of a policy", "policy.thresholds.pit", "policy.capture.rate"):
        assert name in said


@pytest.mark.parametrize("payload", [b"", b"[]", b"null", b"{", b'{"thresholds":{"default":NaN}}', b"\xff"])
async def test_what_is_no_policy_is_refused(make: Callable[[], PolicyStore], payload: bytes) -> None:
    with pytest.raises(PolicyRefused):
        await make().put(payload)


async def test_the_version_in_force_survives(
    make: Callable[[], PolicyStore], store: ModelStore, repository: Path
) -> None:
    policies = make()
    store.switch(store.candidate("surface-defect", "2"))
    await policies.pin("surface-defect", "2")
    again = read_store(repository)
    assert start(Policy(), again, policies._file).models == {"surface-defect": "2"}
    assert again.find("surface-defect").card.version == "2"


async def test_a_version_that_was_named_and_never_came_is_not_started_with(
    make: Callable[[], PolicyStore], repository: Path
) -> None:
    policies = make()
    await policies.put(b'{"models":{"surface-defect":"2"}}')
    again = read_store(repository)
    assert start(Policy(), again, policies._file).models == {"surface-defect": "2"}
    assert again.find("surface-defect").card.version == "1"


@pytest.mark.parametrize(
    "text", ["", "{", '{"policy":{}, "schema":"lineside/policy-state/9"}', '{"policy":{"thresholds":{"gone":1}}}']
)
def test_a_file_that_cannot_be_used_is_set_aside(make: Callable[[], PolicyStore], tmp_path: Path, text: str) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / FILE).write_text(text)
    assert make().current == Policy(thresholds={"default": 0.9})
    [aside] = state.glob(f"{FILE}.bad-*")
    assert aside.read_text() == text


async def test_what_cannot_be_kept_is_not_applied(make: Callable[[], PolicyStore], tmp_path: Path) -> None:
    policies = make()
    before = policies.current
    (tmp_path / "state").rmdir()
    with pytest.raises(StateNotKept, match=r"state_dir .* cannot be used: No such file"):
        await policies.put(b'{"enabled":false}')
    assert policies.current is before


async def test_the_newest_choice_counts_over_a_restart(store: ModelStore, tmp_path: Path) -> None:
    """An operator's policy stays while the settings say what they said before; other settings are newer than it."""
    file = PolicyFile(tmp_path / "state")

    def run(settings: Policy) -> PolicyStore:
        return PolicyStore(start(settings, store, file), store, file, settings=settings)

    low, high, operators = (Policy(thresholds={"default": value}) for value in (0.2, 0.8, 0.5))
    await run(low).put(to_json(operators))
    assert run(low).current == operators
    assert run(high).current == high
    assert run(low).current == operators  # as after a rollback: nobody chose anything meanwhile
    await run(high).put(to_json(operators))
    assert run(high).current == operators


async def test_settings_that_change_in_a_running_service_are_kept_as_such(store: ModelStore, tmp_path: Path) -> None:
    file = PolicyFile(tmp_path / "state")
    low, high = Policy(thresholds={"default": 0.2}), Policy(thresholds={"default": 0.8})
    policies, seen = PolicyStore(start(low, store, file), store, file, settings=low), []
    policies.apply = seen.append
    await policies.put(to_json(high))
    await policies.configure(high)  # the same choice, now by the settings
    assert start(high, store, file) == high
    await policies.configure(low)
    assert seen[-1] == policies.current == start(low, store, file) == low
    assert await policies.problems(Policy(thresholds={"scrach": 1})) == [
        "policy.thresholds.scrach: no model has this label. Did you mean 'scratch'?"
    ]
    (tmp_path / "state" / FILE).unlink()
    (tmp_path / "state").rmdir()
    with pytest.raises(StateNotKept):
        await policies.configure(high)
    assert policies.current == low


async def test_settings_that_are_newer_and_wrong_stop_the_start(store: ModelStore, tmp_path: Path) -> None:
    file = PolicyFile(tmp_path / "state")
    await PolicyStore(start(Policy(), store, file), store, file, settings=Policy()).put(b'{"enabled":false}')
    with pytest.raises(StoreError, match="scrach"):
        start(Policy(thresholds={"scrach": 1}), store, file)
    assert not start(Policy(), store, file).enabled  # what was kept is still there, for when they are right again


def test_a_state_folder_that_is_a_file_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(StateNotKept, match="cannot be used"):
        PolicyFile(tmp_path / "state").read()


def test_the_settings_may_name_another_version_than_the_card(store: ModelStore) -> None:
    start(Policy(models={"surface-defect": "2"}), store, PolicyFile(None))
    assert store.find("surface-defect").ref.version == "2"
    with pytest.raises(StoreError, match="Use '1', '2'"):
        start(Policy(models={"surface-defect": "3"}), store, PolicyFile(None))


async def test_a_threshold_that_no_score_reaches_is_refused(make: Callable[[], PolicyStore], store: ModelStore) -> None:
    policies = make()
    for wrong in ({"scratch": 60}, {"default": 1.5}):
        with pytest.raises(
            PolicyRefused, match=r"is never reached, for model 'surface-defect' scores '.*' from 0 to 1"
        ):
            await policies.put(json.dumps({"thresholds": wrong}).encode())
    with pytest.raises(PolicyRefused, match=r"policy\.capture\.band: .* ends above 1"):
        await policies.put(b'{"capture":{"band":[40,60]}}')
    assert policies.current.thresholds == {"default": 0.9}
    await policies.put(b'{"thresholds":{"scratch":1,"default":1},"capture":{"band":[0.4,1]}}')
    with pytest.raises(StoreError, match=r"For 60 % give 0\.6"):
        start(Policy(thresholds={"scratch": 60}), store, PolicyFile(None))


async def test_scores_without_an_end_are_judged_by_the_version_that_is_met(repository: Path, tmp_path: Path) -> None:
    """Version 2 scores a distance: its threshold may not meet version 1, and is kept where version 2 was in force."""
    path = repository / "surface-defect" / "2" / "card.yaml"
    distance = {"output": {"name": "y", "head": "score"}, "labels": ["scratch"], "defects": [], "thresholds": {}}
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | distance))
    file = PolicyFile(tmp_path / "state")
    store = read_store(repository)
    policies = PolicyStore(start(Policy(), store, file), store, file)
    far = {"models": {"surface-defect": "2"}, "thresholds": {"scratch": 3.5}}
    with pytest.raises(PolicyRefused, match="'scratch' from 0 to 1"):
        await policies.put(json.dumps(far).encode())
    store.switch(store.candidate("surface-defect", "2"))
    await policies.put(json.dumps(far).encode())
    again = read_store(repository)
    assert start(Policy(), again, file).thresholds == {"scratch": 3.5}
    assert again.find("surface-defect").card.version == "2"
