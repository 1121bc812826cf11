import dataclasses
import fcntl
import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineside.plans.cache import PlanFolder, is_held, room_left, to_delete
from lineside.plans.device import Device
from lineside.plans.documents import BUILDER, LOCK, PLAN, PLAN_DOCUMENT, BuilderState, Damaged, Plan, write
from lineside.plans.key import Options, key_of

DEVICE = Device("10.3.0", "12.6", "Orin", "8.7", 8)
OTHER = dataclasses.replace(DEVICE, sms=16)


def put(folder: PlanFolder, content: bytes = b"a plan", device: Device = DEVICE, key: str | None = None) -> str:
    plan = Plan("a" * 64, device, Options(), hashlib.sha256(content).hexdigest(), len(content), 1.0)
    place = folder.place(key or plan.key)
    (place / PLAN).parent.mkdir(parents=True)
    (place / PLAN).write_bytes(content)
    write(place / PLAN_DOCUMENT, plan.as_document())
    return place.name


@pytest.fixture
def folder(tmp_path: Path) -> PlanFolder:
    return PlanFolder(tmp_path)


def test_a_plan_that_is_as_it_was_built(folder: PlanFolder) -> None:
    key = put(folder)
    assert folder.verified(key).bytes == 6
    assert folder.sizes() == {key: 6}


@pytest.mark.parametrize("content", [b"a plAn", b"a pla", b"a plan ", b""])
def test_a_plan_that_was_changed_is_found(folder: PlanFolder, content: bytes) -> None:
    key = put(folder)
    (folder.place(key) / PLAN).write_bytes(content)
    with pytest.raises(Damaged, match=r"model.plan has [0-9]+ bytes with SHA-256"):
        folder.verified(key)


def test_a_plan_of_another_device_is_not_this_ones_whatever_its_folder_is_called(folder: PlanFolder) -> None:
    key = put(folder, device=OTHER, key=key_of("a" * 64, DEVICE, Options()))
    with pytest.raises(Damaged, match=r"holds a plan of Orin \(cc 8.7, 16 SMs\)"):
        folder.verified(key)


def test_a_plan_without_its_document_or_file_is_damaged(folder: PlanFolder) -> None:
    key = put(folder)
    (folder.place(key) / PLAN_DOCUMENT).unlink()
    with pytest.raises(Damaged, match=r"has no plan\.json"):
        folder.verified(key)
    (folder.place(key) / PLAN_DOCUMENT).write_text("{}")
    with pytest.raises(Damaged, match="expected schema"):
        folder.verified(key)


def test_what_is_no_plan_is_not_counted(folder: PlanFolder) -> None:
    assert folder.sizes() == {}
    key = put(folder)
    (folder.path / "models" / "lost+found").mkdir()
    (folder.place(key) / PLAN).unlink()
    assert folder.sizes() == {key: 0}


def test_what_a_dead_builder_said_does_not_count(folder: PlanFolder) -> None:
    assert folder.builder() is None
    write(folder.path / BUILDER, BuilderState(DEVICE).as_document())
    (folder.path / LOCK).touch()
    assert folder.builder() is None
    handle = os.open(folder.path / LOCK, os.O_RDWR)
    fcntl.flock(handle, fcntl.LOCK_EX)
    assert is_held(folder.path / LOCK)
    assert folder.builder() == BuilderState(DEVICE)
    os.close(handle)
    assert folder.builder() is None


def test_those_not_used_for_longest_go_first_until_the_rest_fits() -> None:
    sizes = {"a": 10, "b": 10, "c": 10, "d": 10}
    assert to_delete(sizes, ("b", "a", "d", "c"), (), 40) == ()
    assert to_delete(sizes, ("b", "a", "d", "c"), (), 39) == ("b",)
    assert to_delete(sizes, ("b", "a", "d", "c"), (), 20) == ("b", "a")
    assert to_delete(sizes, ("b", "a", "d", "c"), ("b",), 20) == ("a", "d")
    assert to_delete(sizes, ("d", "c"), (), 20) == ("a", "b"), "never used is least used"


def test_what_is_wanted_now_takes_its_room() -> None:
    assert room_left({"a": 10, "b": 20}, {"a"}, 100) == 90
    assert room_left({"a": 10, "b": 20}, {"a", "b", "c"}, 25) == -5


NAMES = st.sampled_from("abcdefgh")


@given(st.dictionaries(NAMES, st.integers(0, 100)), st.lists(NAMES, unique=True), st.sets(NAMES), st.integers(0, 400))
def test_no_more_goes_than_has_to(sizes: dict[str, int], used: list[str], keep: set[str], limit: int) -> None:
    gone = to_delete(sizes, used, keep, limit)
    assert not set(gone) & keep
    left = {name: size for name, size in sizes.items() if name not in gone}
    assert sum(left.values()) <= limit or set(left) <= keep
    if gone:
        assert sum(left.values()) + sizes[gone[-1]] > limit
