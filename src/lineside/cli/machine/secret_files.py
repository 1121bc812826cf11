"""The files of tokens, passwords and keys that the settings name: closed to the other users of this machine."""

from collections.abc import Sequence

from lineside.checks import Check, ok, skip, warn
from lineside.secrecy import exposed, files
from lineside.settings import Settings

SECRETS = "secret files"


def look(settings: Sequence[Settings]) -> Check:
    """Say which of them every user can read or write."""
    named = {where for each in settings for where, _path in files(each)}
    if not named:
        return skip(SECRETS, "the settings name none")
    open_to_all = {where: (path, mode) for each in settings for where, path, mode in exposed(each)}
    if not open_to_all:
        return ok(SECRETS, f"{len(named)} named, none open to every user")
    said = "; ".join(f"{where} {path} has mode {mode:03o}" for where, (path, mode) in sorted(open_to_all.items()))
    return warn(SECRETS, f"open to every user of this machine: {said}", "chmod 640 them, and change what is in them")
