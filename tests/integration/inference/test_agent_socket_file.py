"""The socket's file: claimed by one process, left alone where somebody serves, and taken away with its owner."""

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lineside.errors import LinesideError
from lineside_inference.agent.socket_file import MAX_PATH, SocketFile


@contextmanager
def serving(file: SocketFile) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(file.begin().removeprefix("unix:"))
        listener.listen()
        file.show()
        yield
        file.release()


def answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def claim(path: Path, mode: int = 0o660, group: str | None = None) -> SocketFile:
    return SocketFile(path, mode=mode, group=group)


def test_it_appears_with_its_mode_and_goes_with_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    file = claim(path, 0o600, str(os.getgid()))
    assert not path.exists()
    with serving(file):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.stat().st_gid == os.getgid()
        assert answers(path)
        assert sorted(entry.name for entry in tmp_path.iterdir()) == ["agent.sock", "agent.sock.lock"]
    assert list(tmp_path.iterdir()) == []


def test_the_longest_path_serves_and_one_longer_is_refused(tmp_path: Path) -> None:
    room = MAX_PATH - len(str(tmp_path)) - 1
    with serving(claim(tmp_path / ("s" * room))):
        assert answers(tmp_path / ("s" * room))
    with pytest.raises(LinesideError, match=f"has {MAX_PATH + 1} bytes"):
        claim(tmp_path / ("s" * (room + 1)))


def test_a_second_owner_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    file = claim(path)
    with pytest.raises(LinesideError, match=f"already running at {path}"):
        claim(path)
    file.release()
    claim(path).release()


def test_another_server_without_our_lock_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(LinesideError, match="already running"):
            claim(path)
        assert answers(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["agent.sock"]


def test_a_socket_that_nobody_serves_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(path))
    with serving(claim(path)):
        assert answers(path)


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    path.write_text("mine")
    with pytest.raises(LinesideError, match="and no socket"):
        claim(path)
    assert path.read_text() == "mine"


def test_somebody_elses_socket_at_the_path_outlives_us(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    with socket.socket(socket.AF_UNIX) as other:
        with serving(claim(path)):
            path.unlink()
            other.bind(str(path))
        assert path.is_socket()


@pytest.mark.parametrize(("group", "says"), [("no-such-group", "no group 'no-such-group'")])
def test_a_group_that_is_not_there_is_named(tmp_path: Path, group: str, says: str) -> None:
    with pytest.raises(LinesideError, match=says):
        claim(tmp_path / "agent.sock", group=group)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(LinesideError, match="cannot be made"):
        claim(tmp_path / "nowhere" / "agent.sock")
