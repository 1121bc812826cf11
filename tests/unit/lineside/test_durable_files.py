import io
import os
from pathlib import Path

import pytest

from lineside.durable_files import replace_file, sync


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What is synced and renamed, in order."""
    seen: list[tuple[str, str]] = []
    fsync, replace = os.fsync, Path.replace

    def noted_fsync(handle: int) -> None:
        seen.append(("sync", str(Path(f"/proc/self/fd/{handle}").readlink())))
        fsync(handle)

    def noted_replace(self: Path, target: Path) -> Path:
        seen.append(("rename", str(target)))
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    return seen


@pytest.mark.parametrize("content", [b"new", io.BytesIO(b"new")])
def test_the_bytes_are_on_the_disk_before_the_name(tmp_path: Path, calls: list[tuple[str, str]], content) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old and longer")
    replace_file(path, content)
    sync(tmp_path)
    assert path.read_bytes() == b"new"
    assert calls == [("sync", str(tmp_path / ".file.part")), ("rename", str(path)), ("sync", str(tmp_path))]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("ignores_umask", "mode"), [(False, 0o600), (True, 0o640)])
def test_the_mode_is_less_the_umask_unless_asked_otherwise(tmp_path: Path, ignores_umask: bool, mode: int) -> None:
    before = os.umask(0o077)
    try:
        replace_file(tmp_path / "file", b"", mode=0o640, ignores_umask=ignores_umask)
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == mode


def test_an_error_leaves_the_old_file_and_no_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "file"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_draft_of_ones_own_is_used(tmp_path: Path, calls: list[tuple[str, str]]) -> None:
    replace_file(tmp_path / "file", b"", draft=tmp_path / "mine")
    assert calls[0] == ("sync", str(tmp_path / "mine"))


def test_a_link_in_the_place_of_the_draft_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / ".file.part").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic links"):
        replace_file(tmp_path / "file", b"new")
    assert (tmp_path / "precious").read_bytes() == b"precious"
