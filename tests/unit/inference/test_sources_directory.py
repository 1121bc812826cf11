import os
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lineside.connections import Connection
from lineside.errors import SettingsError
from lineside.service import Service
from lineside_inference.errors import CameraFailed
from lineside_inference.imaging.pixel_formats.layout import Layout
from lineside_inference.settings import CameraSettings
from lineside_inference.sources import Frame
from lineside_inference.sources.cameras import Cameras
from lineside_inference.sources.cameras.directory import DirectoryCamera


def picture(kind: str = ".jpg", seed: int = 1) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (24, 32, 3), np.uint8)
    return cv2.imencode(kind, pixels)[1].tobytes()


class Watch:
    """A camera on a folder, looked at one poll at a time."""

    def __init__(self, folder: Path, *, layout: Layout | None = None, **settings: Any) -> None:
        self.ahead_s = 0
        document = {"kind": "directory", "path": folder, "poll_ms": 5} | settings
        self.camera = DirectoryCamera(
            "d",
            CameraSettings.model_validate(document),
            Connection("camera/d", str(folder)),
            max_bytes=100_000,
            layout=layout,
            now_ns=lambda: time.time_ns() + self.ahead_s * 1_000_000_000,
        )
        self._looks = self.camera.read(threading.Event())

    def look(self) -> Frame | None:
        return next(self._looks)


def write(path: Path, data: bytes, *, age_s: float = 0.0) -> None:
    path.write_bytes(data)
    written = time.time_ns() - round(age_s * 1e9)
    os.utime(path, ns=(written, written))


def test_the_newest_file_is_taken_once(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    assert watch.look() is None
    write(tmp_path / "b.jpg", picture(seed=1))
    write(tmp_path / "a.jpg", picture(seed=2))
    frame = watch.look()
    assert frame is not None
    assert frame.data == picture(seed=2)
    assert watch.look() is None
    write(tmp_path / "a.jpg", picture(seed=3))  # the same name, written again
    frame = watch.look()
    assert frame is not None
    assert frame.data == picture(seed=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize("kind", [".jpg", ".png"])
def test_a_file_still_being_written_is_not_taken(tmp_path: Path, kind: str) -> None:
    watch = Watch(tmp_path)
    whole = picture(kind)
    with (tmp_path / f"part{kind}").open("wb", buffering=0) as stream:
        for start in range(0, len(whole), 97):
            stream.write(whole[start : start + 97])
            frame = watch.look()
            assert (frame is not None) == (start + 97 >= len(whole))
    assert frame is not None
    assert frame.data == whole


def test_a_bmp_is_taken_when_it_did_not_change_between_two_looks(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    whole = picture(".bmp")
    path = tmp_path / "part.bmp"
    with path.open("wb", buffering=0) as stream:  # its full size at once, its pixels later
        stream.write(whole[:54])
        stream.truncate(len(whole))
        assert watch.look() is None
        stream.write(whole[54:])
        os.utime(path, ns=(time.time_ns(), time.time_ns() + 1))
    assert watch.look() is None
    frame = watch.look()
    assert frame is not None
    assert frame.data == whole


def test_while_the_newest_is_written_the_one_before_is_taken(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    write(tmp_path / "1.jpg", picture(seed=1), age_s=0.001)
    write(tmp_path / "2.jpg", picture(seed=2)[:-100])
    frame = watch.look()
    assert frame is not None
    assert frame.data == picture(seed=1)
    write(tmp_path / "2.jpg", picture(seed=2))
    frame = watch.look()
    assert frame is not None
    assert frame.data == picture(seed=2)


@pytest.mark.parametrize("name", [".hidden.jpg", "a.jpg.tmp", "a.jpg.part", "a.jpg~", "a.png"])
def test_other_names_are_not_looked_at(tmp_path: Path, name: str) -> None:
    watch = Watch(tmp_path, pattern="*.jpg*")
    write(tmp_path / name, picture())
    assert watch.look() is None


def test_what_is_no_image_or_no_file_or_too_large_is_left_alone(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link.jpg").symlink_to("/etc/passwd")
    write(tmp_path / "notes.txt", b"hello")
    write(tmp_path / "large.jpg", picture() + bytes(100_001))
    write(tmp_path / "empty.jpg", b"")
    write(tmp_path / "cut.jpg", picture()[:-50])
    write(tmp_path / "future.jpg", picture(), age_s=-3600)
    assert [watch.look() for _ in range(5)] == [None] * 5
    assert watch.camera.frames["refused"] == 5  # each once: notes, large, empty, cut, future
    write(tmp_path / "good.jpg", picture())
    write(tmp_path / "cut.jpg", picture(seed=2), age_s=0.01)
    frame = watch.look()
    assert frame is not None
    assert frame.data == picture()


def test_older_files_count_only_where_they_may(tmp_path: Path) -> None:
    write(tmp_path / "old.jpg", picture(), age_s=60)
    assert Watch(tmp_path).look() is None
    frame = Watch(tmp_path, since="any").look()
    assert frame is not None
    assert 59_000 < frame.age_ms() < 61_000


def test_a_folder_with_too_many_entries_is_refused(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / str(number)).touch()
    with pytest.raises(CameraFailed, match="more than 3 entries"):
        Watch(tmp_path, most_files=3).look()


def test_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(CameraFailed, match="No such file"):
        Watch(tmp_path / "gone").look()


def test_a_clock_that_is_set_back_does_not_stop_the_pictures(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    watch.ahead_s = 3600
    write(tmp_path / "1.jpg", picture(seed=1), age_s=-3600)
    assert watch.look() is not None
    watch.ahead_s = 0
    (tmp_path / "1.jpg").unlink()
    write(tmp_path / "2.jpg", picture(seed=2))
    frame = watch.look()
    assert frame is not None
    assert frame.data == picture(seed=2)


def test_a_file_of_raw_pixels_is_taken_when_it_has_its_size_and_no_longer_changes(tmp_path: Path) -> None:
    layout = Layout.of("Mono12p", 8, 4)
    watch = Watch(tmp_path, layout=layout)
    write(tmp_path / "a.raw", bytes(48))
    assert watch.look() is None
    frame = watch.look()
    assert frame is not None
    assert (frame.data, frame.layout) == (bytes(48), layout)
    write(tmp_path / "b.raw", bytes(47))
    assert [watch.look() for _ in range(3)] == [None] * 3
    assert watch.camera.frames["refused"] == 1
    write(tmp_path / "b.raw", bytes(range(48)))
    assert watch.look() is None
    frame = watch.look()
    assert frame is not None
    assert frame.data == bytes(range(48))


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (
            {"format": "BayerRG8", "width": 7, "height": 8},
            "raw: an image of 7 x 8 pixels cannot be BayerRG8; Its",
        ),
        ({"format": "Mono8", "width": 8, "height": 8, "stride": 7}, "raw: the stride is 7 bytes"),
        ({"format": "Mono8", "width": 1000, "height": 1001}, "raw: the image is 1000 x 1001 pixels; At most 1000000"),
    ],
)
def test_raw_pixels_that_cannot_be_stop_the_start(tmp_path: Path, raw: dict[str, Any], said: str) -> None:
    settings = CameraSettings.model_validate({"kind": "directory", "path": tmp_path, "raw": raw})
    with pytest.raises(SettingsError, match=f"inference.cameras.d.{said}"):
        Cameras({"d": settings}, Service("inference"), max_bytes=10**6, max_pixels=10**6)
