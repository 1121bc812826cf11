"""The disk destination on real files."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from lineside_forwarder import disk
from lineside_forwarder.clock import Clock
from lineside_forwarder.disk import DiskDestination
from lineside_forwarder.errors import BatchRefused, DestinationAway, NotAllowed
from lineside_forwarder.rate_limiter import RateLimiter
from tests.support.paths import ROOT
from tests.support.s3_uploads import MemoryBlobs, upload_of
from tests.support.waiting import HANG_S

FOLDER = "sme-capture/line/spindle/2026/11/22/02"
FREE = RateLimiter(None, Clock())


def files(top: Path) -> dict[str, bytes]:
    return {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()}


def reference(line: bytes) -> Path:
    return Path(unquote(urlsplit(json.loads(line)["deviceFleetInputs"][0]["data-ref"]).path))


@pytest.fixture
def blobs() -> MemoryBlobs:
    return MemoryBlobs()


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Return what was done to the disk, in order: sync and rename, with the path."""
    done: list[tuple[str, str]] = []
    fsync, replace = os.fsync, Path.replace

    def spy_fsync(file: int) -> None:
        fsync(file)
        done.append(("sync", str(Path(f"/proc/self/fd/{file}").readlink())))

    def spy_replace(self: Path, target: Path) -> Path:
        done.append(("rename", str(target)))
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(Path, "replace", spy_replace)
    return done


async def test_lines_and_objects_lie_as_edge_manager_laid_them(tmp_path: Path, blobs: MemoryBlobs) -> None:
    images = [b"first" * 1000, b"second" * 1000]
    await DiskDestination("disk", tmp_path).deliver(upload_of(blobs, *images), blobs, FREE)
    found = files(tmp_path)
    assert sorted(found) == [
        f"{FOLDER}/box.capture-1.jsonl",
        f"{FOLDER}/raw-data/input-tensors/box.capture-1.0-image.jpg",
        f"{FOLDER}/raw-data/input-tensors/box.capture-2.0-image.jpg",
    ]
    lines = found[f"{FOLDER}/box.capture-1.jsonl"].splitlines(keepends=True)
    assert [json.loads(line)["eventMetadata"]["eventId"] for line in lines] == ["capture-1", "capture-2"]
    assert all(line.endswith(b"}\n") for line in lines)
    assert [reference(line).read_bytes() for line in lines] == images
    assert not too_open(tmp_path)


def too_open(top: Path) -> list[Path]:
    """Return what more may read than owner and group."""
    return [path for path in top.rglob("*") if path.stat().st_mode & (0o027 if path.is_dir() else 0o137)]


async def test_a_repetition_changes_nothing(tmp_path: Path, blobs: MemoryBlobs) -> None:
    def state() -> dict[str, tuple[int, int]]:
        return {str(p): (p.stat().st_ino, p.stat().st_mtime_ns) for p in tmp_path.rglob("*") if p.is_file()}

    upload = upload_of(blobs, b"x" * 5000)
    await DiskDestination("disk", tmp_path).deliver(upload, blobs, FREE)
    before = state()
    await DiskDestination("disk", tmp_path).deliver(upload, blobs, FREE)
    assert state() == before


async def test_what_was_cut_is_made_whole(tmp_path: Path, blobs: MemoryBlobs) -> None:
    upload = upload_of(blobs, b"x" * 5000, b"y" * 5000)
    await DiskDestination("disk", tmp_path).deliver(upload, blobs, FREE)
    whole = files(tmp_path)
    for name in whole:
        (tmp_path / name).write_bytes(whole[name][:-1])
    part = tmp_path / FOLDER / f".{upload.file_name}.part"
    part.write_bytes(b"{")  # what a kill leaves
    await DiskDestination("disk", tmp_path).deliver(upload, blobs, FREE)
    assert files(tmp_path) == whole


async def test_every_name_is_durable_before_the_lines_are_seen(
    tmp_path: Path, blobs: MemoryBlobs, syncs: list[tuple[str, str]]
) -> None:
    upload = upload_of(blobs, b"x" * 5000)
    await DiskDestination("disk", tmp_path).deliver(upload, blobs, FREE)
    lines, image = str(tmp_path / upload.path), str(tmp_path / next(upload.objects())[0])
    hour, raw = str(tmp_path / FOLDER), str(Path(image).parent)
    order = [
        ("sync", f"{Path(image).parent}/.{Path(image).name}.part"),
        ("rename", image),
        ("sync", raw),
        ("sync", f"{hour}/.{Path(lines).name}.part"),
        ("rename", lines),
        ("sync", hour),
    ]
    assert syncs[-len(order) :] == order
    made = [("sync", str(path.parent)) for path in (Path(raw), *Path(raw).parents) if tmp_path in path.parents]
    assert set(made) <= set(syncs[: -len(order)])


async def test_a_damaged_object_is_said_in_its_line(tmp_path: Path, blobs: MemoryBlobs) -> None:
    upload = upload_of(blobs, b"x" * 5000, b"y" * 5000)
    del blobs.data[upload.records[0].blobs[0].digest]
    await DiskDestination("disk", tmp_path).deliver(upload, blobs, FREE)
    lines = (tmp_path / upload.path).read_bytes().splitlines()
    shown = json.loads(lines[0])["deviceFleetInputs"][0]
    assert "data-error" in shown
    assert "data-ref" not in shown
    assert reference(lines[1]).read_bytes() == b"y" * 5000


async def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path, blobs: MemoryBlobs) -> None:
    destination = DiskDestination("disk", tmp_path / "mount")
    with pytest.raises(NotAllowed, match="is not there") as raised:
        await destination.deliver(upload_of(blobs, b"x"), blobs, FREE)
    assert raised.value.reason == "no-folder"
    assert not (tmp_path / "mount").exists()
    (tmp_path / "mount").mkdir()
    await destination.deliver(upload_of(blobs, b"x"), blobs, FREE)


async def test_the_folder_of_its_own_is_made(tmp_path: Path, blobs: MemoryBlobs) -> None:
    upload = upload_of(blobs, b"x")
    await DiskDestination("disk", tmp_path / "capture", make_path=True).deliver(upload, blobs, FREE)
    assert (tmp_path / "capture" / upload.path).is_file()


async def test_a_folder_that_was_taken_away_is_made_again(tmp_path: Path, blobs: MemoryBlobs) -> None:
    destination = DiskDestination("disk", tmp_path)
    upload = upload_of(blobs, b"x" * 5000)
    await destination.deliver(upload, blobs, FREE)
    whole = files(tmp_path)
    (tmp_path / "sme-capture").rename(tmp_path / "away")
    with pytest.raises(DestinationAway):
        await destination.deliver(upload, blobs, FREE)
    await destination.deliver(upload, blobs, FREE)
    assert {name: data for name, data in files(tmp_path).items() if not name.startswith("away")} == whole


async def test_a_name_that_is_too_long_is_this_batchs_fault(tmp_path: Path, blobs: MemoryBlobs) -> None:
    upload = upload_of(blobs, b"x" * 5000)
    blob = replace(upload.records[0].blobs[0], name="raw-data/" + "x" * 300)
    upload = replace(upload, records=(replace(upload.records[0], blobs=(blob,)),))
    with pytest.raises(BatchRefused, match="too long"):
        await DiskDestination("disk", tmp_path).deliver(upload, blobs, FREE)


def test_the_check_at_the_start_makes_the_folder_and_lets_pass_what_comes_by_itself(tmp_path: Path) -> None:
    DiskDestination("disk", tmp_path / "capture", make_path=True).check()
    assert (tmp_path / "capture").stat().st_mode & 0o777 == 0o750
    DiskDestination("disk", tmp_path / "not-mounted-yet" / "capture", make_path=True).check()
    assert not (tmp_path / "not-mounted-yet").exists()


async def test_a_file_in_the_way_is_for_somebody_to_move(tmp_path: Path, blobs: MemoryBlobs) -> None:
    (tmp_path / "sme-capture").write_text("in the way")
    with pytest.raises(NotAllowed, match="File exists"):
        await DiskDestination("disk", tmp_path).deliver(upload_of(blobs, b"x"), blobs, FREE)


async def test_an_error_of_the_disk_leaves_no_name_and_is_tried_again(
    tmp_path: Path, blobs: MemoryBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = upload_of(blobs, b"x" * 5000)
    destination = DiskDestination("disk", tmp_path)
    fsync = os.fsync

    def fails(_file: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(DestinationAway, match="Input/output error"):
        await destination.deliver(upload, blobs, FREE)
    assert not files(tmp_path)
    monkeypatch.setattr(os, "fsync", fsync)
    await destination.deliver(upload, blobs, FREE)
    assert len(files(tmp_path)) == 2


HEAD = """
import asyncio, sys
from pathlib import Path
sys.path[:0] = [{root!r}]
from tests.integration.forwarder.test_disk import FREE, files
from tests.support.s3_uploads import MemoryBlobs, upload_of
from lineside_forwarder.disk import DiskDestination
from lineside_forwarder.errors import DestinationAway, NotAllowed
"""
READ_ONLY = """
async def main() -> None:
    blobs = MemoryBlobs()
    try:
        await DiskDestination("disk", Path({mount!r})).deliver(upload_of(blobs, b"x"), blobs, FREE)
    except NotAllowed as error:
        print(error.reason, error)
    try:
        DiskDestination("disk", Path({mount!r}), make_path=True).check()
    except NotAllowed as error:
        print("at the start", error)

asyncio.run(main())
"""
FULL = """
async def main() -> None:
    top = Path({mount!r})
    blobs, destination = MemoryBlobs(), DiskDestination("disk", top)
    room = top / "somebody-else"
    room.write_bytes(bytes(900_000))
    upload = upload_of(blobs, b"x" * 60_000, b"y" * 200_000)
    try:
        await destination.deliver(upload, blobs, FREE)
    except DestinationAway as error:
        print(error)
    assert not (top / upload.path).exists(), "lines without their objects"
    assert not list(top.rglob("*.part")), "parts are left on a full disk"
    room.unlink()
    await destination.deliver(upload, blobs, FREE)
    print(sorted(len(data) for name, data in files(top).items() if name.endswith(".jpg")))

asyncio.run(main())
"""


def test_a_full_disk_is_waited_out(tmp_path: Path, in_mounts: Callable[[str], str]) -> None:
    printed = in_mounts(program(tmp_path, FULL, "size=1m"))
    assert "No space left on device" in printed
    assert "of 1048576 bytes are free" in printed
    assert printed.splitlines()[-1] == "[60000, 200000]"


def test_a_disk_that_is_read_only_is_for_somebody_to_change(tmp_path: Path, in_mounts: Callable[[str], str]) -> None:
    told, at_start = in_mounts(program(tmp_path, READ_ONLY, "ro")).splitlines()
    assert told.startswith("permission destination disk: ")
    assert at_start.startswith(f"at the start destination disk: {tmp_path / 'small'}: user ")


def program(folder: Path, text: str, options: str) -> str:
    """Return a command that runs a program with a disk of its own."""
    mount = folder / "small"
    mount.mkdir()
    script = folder / "program.py"
    script.write_text((HEAD + text).format(root=str(ROOT), mount=str(mount)))
    return f"mount -t tmpfs -o {options} none {mount} && exec $PYTHON {script}"


@pytest.fixture
def in_mounts() -> Callable[[str], str]:
    """Run a shell command where it may mount, unseen by others; skips where that is not allowed."""
    if subprocess.run(["unshare", "-rm", "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine allows no mounts of one's own")

    def run(command: str) -> str:
        done = subprocess.run(
            ["unshare", "-rm", "sh", "-c", command],
            check=False,
            capture_output=True,
            text=True,
            timeout=HANG_S,
            env={**os.environ, "PYTHON": sys.executable},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_the_harness_sees_a_file_that_is_seen_before_it_is_whole(
    tmp_path: Path, syncs: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: without the sync before the rename the order above is another."""
    monkeypatch.setattr(os, "fsync", lambda _file: None)
    disk.write_file(tmp_path / "lines", b"{}\n")
    assert ("sync", str(tmp_path / ".lines.part")) not in syncs
