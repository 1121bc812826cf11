import os
from pathlib import Path

import pytest

from lineside_inference.errors import ImageTooLarge, NoSuchFile, PathOutsideRoot
from lineside_inference.sources.files import Files


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "root-beside").mkdir()
    (tmp_path / "root-beside" / "x").write_bytes(b"secret")
    root = tmp_path / "root"
    (root / "day").mkdir(parents=True)
    (root / "day" / "part.jpg").write_bytes(b"part")
    (root / "inside").symlink_to(root / "day" / "part.jpg")
    (root / "out").symlink_to(tmp_path / "secret")
    (root / "folder-out").symlink_to(tmp_path)
    (root / "loop").symlink_to(root / "loop")
    os.mkfifo(root / "pipe")
    return root


@pytest.fixture
def files(root: Path) -> Files:
    return Files([root], max_bytes=100)


def test_reads_below_the_root(files: Files, root: Path) -> None:
    assert files.read("day/part.jpg") == b"part"
    assert files.read(str(root / "day" / "part.jpg")) == b"part"
    assert files.read("day/../day/part.jpg") == b"part"


def test_a_link_that_stays_inside_is_followed(files: Files) -> None:
    assert files.read("inside") == b"part"


@pytest.mark.parametrize(
    "path",
    ["../secret", "day/../../secret", "/etc/passwd", "out", "folder-out/secret", "../root-beside/x", "..", ".", "/"],
)
def test_whatever_leads_out_is_refused(files: Files, path: str) -> None:
    with pytest.raises(PathOutsideRoot) as caught:
        files.read(path)
    assert caught.value.code == "path-outside-root"


@pytest.mark.parametrize("path", ["nothing.jpg", "day", "day/part.jpg/x", "pipe", "loop", "a\0b", "x" * 900])
def test_what_is_no_file_is_not_found(files: Files, path: str) -> None:
    with pytest.raises(NoSuchFile):
        files.read(path)


def test_a_file_above_the_limit_is_not_read(files: Files, root: Path) -> None:
    (root / "large").write_bytes(bytes(101))
    with pytest.raises(ImageTooLarge, match=r"101 bytes.*At most 100"):
        files.read("large")


def test_the_next_root_is_tried(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    assert Files([other, root], max_bytes=100).read("day/part.jpg") == b"part"


def test_without_roots_nothing_is_read() -> None:
    with pytest.raises(PathOutsideRoot, match="file_roots is empty"):
        Files([], max_bytes=100).read("x")
