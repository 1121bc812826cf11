"""The agent's socket: where it is, and whether somebody can be reached there; where not, why."""

import grp
import os
import pwd
import socket
import stat
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

import lineside.settings
from lineside.cli.edge_manager.errors import NotReached, TimedOut
from lineside.edge_manager.settings import MAX_SOCKET_PATH, EdgeManagerSettings

_ELSEWHERE = "Name another socket by --socket, or the box's settings file by --config"


class _Settings(lineside.settings.Settings):
    """What the commands read of the box's settings file."""

    edge_manager: EdgeManagerSettings = Field(default_factory=lambda: EdgeManagerSettings.model_validate({}))


@dataclass(frozen=True, slots=True)
class Place:
    """A socket, and the largest message that is taken there."""

    socket: Path
    max_message_bytes: int


def locate(config: Path | None, given: Path | None) -> Place:
    """Return the socket that was given, else the one of the settings; raises SettingsError where these are wrong."""
    if given is not None and config is None:
        settings = EdgeManagerSettings.model_validate({})
    else:
        settings = lineside.settings.load(_Settings, file=config).edge_manager
    return Place(given or settings.UnixSocketName, settings.max_message_bytes)


def check(path: Path, timeout_s: float) -> None:
    """Raise NotReached where nobody can be reached at a socket's path, TimedOut where nobody takes the connection."""
    size = len(os.fsencode(path))
    if size > MAX_SOCKET_PATH:
        raise NotReached(f"{path} has {size} bytes", remedy=f"The path of a socket has {MAX_SOCKET_PATH} at most")
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise NotReached(
            f"there is no socket at {path}",
            remedy="It appears when the inference service has reached Triton, where edge_manager.serve is true: "
            f"`lineside doctor` says how they stand. {_ELSEWHERE}",
        ) from None
    except OSError as error:
        raise NotReached(
            f"{_user()} may not look for {path}: {error.strerror}",
            remedy=f"This takes x on every folder of the path; {_closed(path)}",
        ) from None
    if not stat.S_ISSOCK(status.st_mode):
        raise NotReached(f"{path} is no socket", remedy=_ELSEWHERE)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
        trial.settimeout(timeout_s)
        try:
            trial.connect(os.fsencode(path))
        except PermissionError:
            raise NotReached(
                f"{_user()} may not connect to {path}: it has mode {stat.S_IMODE(status.st_mode):04o}, user "
                f"{_name_of(status.st_uid)} and group {(group := group_of(status.st_gid))}",
                remedy=f"Connecting takes w: join group {group} where its mode lets a group write (usermod -aG {group} "
                "USER, then log in again), or set edge_manager.socket_group and socket_mode",
            ) from None
        except (TimeoutError, BlockingIOError):
            raise TimedOut(
                f"whoever serves at {path} takes no connections", remedy="It hangs: see the log of its service"
            ) from None
        except OSError as error:
            raise NotReached(
                f"nobody serves at {path}: {error.strerror}",
                remedy="Its process is gone, and the file stayed: start the inference service",
            ) from None


def group_of(number: int) -> str:
    """Return a group's name, its number where this system knows none."""
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def _name_of(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def _user() -> str:
    return f"user {_name_of(os.geteuid())}"


def _closed(path: Path) -> str:
    """Return which folder of a path is closed to this user, with its mode."""
    for folder in reversed(path.parents):
        if not os.access(folder, os.X_OK, effective_ids=True):
            status = folder.stat()
            mode, group = stat.S_IMODE(status.st_mode), group_of(status.st_gid)
            return f"{folder} has mode {mode:04o}, user {_name_of(status.st_uid)} and group {group}"
    return "see `namei -l` of it"
