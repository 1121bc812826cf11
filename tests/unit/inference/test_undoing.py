"""A change of a model that can be undone, cut off at every call to the disk."""

import itertools
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lineside_inference.errors import StoreError
from lineside_inference.models import undoing

NAME = "surface-defect"


def state(repository: Path) -> dict[str, bytes]:
    """Everything that is no hidden folder's."""
    found = (path for path in sorted(repository.rglob("*")) if path.is_file())
    shown = {str(path.relative_to(repository)): path.read_bytes() for path in found}
    return {name: content for name, content in shown.items() if not name.startswith(".")}


def make(repository: Path) -> Path:
    folder = repository / NAME
    for version in ("1", "2"):
        (folder / version).mkdir(parents=True)
        (folder / version / "model.onnx").write_text(f"model {version}")
    (folder / "card.yaml").write_text("version 2")
    (folder / "config.pbtxt").write_text("config of 2")
    return folder


def change(folder: Path) -> None:
    (folder / "3").mkdir(parents=True)
    (folder / "3" / "model.onnx").write_text("model 3")
    (folder / "labels.txt").write_text("new")
    (folder / "config.pbtxt").write_text("config of 3")
    (folder / "card.yaml").write_text("version 3")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


def test_a_change_is_undone(repository: Path) -> None:
    folder = make(repository)
    before = state(repository)
    undoing.keep(repository, NAME)
    assert {each.name for each in (repository / ".accepted" / NAME).iterdir()} == {"1", "2"}
    change(folder)
    undoing.keep(repository, NAME)  # as after a crash: what was noted first stays
    assert undoing.restore(repository, NAME)
    assert state(repository) == before | {f"{NAME}/3/model.onnx": b"model 3"}, "it may serve until the old one is warm"
    undoing.settle(repository, NAME)
    assert state(repository) == before
    assert not (repository / ".before" / NAME).exists()
    assert undoing.restore(repository, NAME), "nothing is noted, and nothing happens"
    assert state(repository) == before


def test_what_was_brought_back_and_changes_again_keeps_its_new_version(repository: Path) -> None:
    folder = make(repository)
    undoing.keep(repository, NAME)
    undoing.restore(repository, NAME)
    undoing.keep(repository, NAME)
    change(folder)
    undoing.settle(repository, NAME)
    assert (folder / "3").is_dir()


def test_one_that_was_not_there_is_taken_out_again(repository: Path) -> None:
    undoing.keep(repository, NAME)
    change(repository / NAME)
    assert not undoing.restore(repository, NAME)
    assert state(repository) == {}
    assert (repository / ".withdrawn" / NAME).is_dir(), "the inference service sees by it that this was meant"
    undoing.settle(repository, NAME)
    assert not (repository / ".withdrawn" / NAME).exists()


def test_a_withdrawal_is_undone(repository: Path) -> None:
    make(repository)
    before = state(repository)
    undoing.keep(repository, NAME)
    assert undoing.withdraw(repository, NAME)
    assert not undoing.withdraw(repository, NAME)
    assert state(repository) == {}
    undoing.keep(repository, NAME)
    assert undoing.restore(repository, NAME)
    assert state(repository) == before


def test_a_withdrawal_is_settled(repository: Path) -> None:
    make(repository)
    undoing.keep(repository, NAME)
    undoing.withdraw(repository, NAME)
    undoing.settle(repository, NAME)
    assert not any(path.is_file() for path in repository.rglob("*"))


def test_a_disk_that_fails_is_said(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(repository)

    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(StoreError, match=r"cannot be noted: .*No space left"):
        undoing.keep(repository, NAME)


class _Killed(BaseException):
    """The process ends here."""


class _Killer:
    """Ends the process before the n-th call that changes the disk."""

    calls = ("rename", "replace", "unlink", "mkdir", "rmdir", "open")

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left: int | None = None
        for name in self.calls:
            monkeypatch.setattr(os, name, self._before(getattr(os, name)))

    def _before(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **more: Any) -> Any:
            if self.left is not None:
                self.left -= 1
                if self.left < 0:
                    raise _Killed
            return call(*arguments, **more)

        return counted


@pytest.mark.parametrize("is_withdrawal", [False, True])
@pytest.mark.parametrize("ends", ["restore", "settle"])
def test_killed_at_every_call_it_ends_as_it_was_or_as_it_was_to_be(
    is_withdrawal: bool, ends: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(repository: Path) -> None:
        undoing.keep(repository, NAME)
        if is_withdrawal:
            undoing.withdraw(repository, NAME)
        else:
            shutil.rmtree(repository / NAME / "3", ignore_errors=True)  # `put` is not what is tested here
            change(repository / NAME)
        if ends == "restore":
            undoing.restore(repository, NAME)
        undoing.settle(repository, NAME)

    whole = tmp_path / "whole"
    make(whole)
    before = state(whole)
    run(whole)
    after = state(whole)
    killer = _Killer(monkeypatch)
    for number in itertools.count():
        repository = tmp_path / str(number)
        make(repository)
        killer.left = number
        try:
            run(repository)
        except _Killed:
            pass
        else:
            killer.left = None
            assert number > 10, "the calls were not seen: this test would pass whatever happens"
            break
        killer.left = None
        # What the next start does: the same again where it goes on, `restore` where it goes back.
        again = tmp_path / f"{number} back"
        shutil.copytree(repository, again)
        undoing.restore(again, NAME)
        undoing.settle(again, NAME)
        assert state(again) in (before, after)
        run(repository)
        assert state(repository) == after
