"""What is to be done next between the shadow and us, as functions from state and event to state.

A message about a change is a bell and no more: the whole shadow is then read. A delta names only what differs from
`reported`, says nothing of a name that was taken away, and of two in quick succession one may be lost; the shadow
itself has the last word of both. What is reported carries the version that was read: where somebody edits between,
the shadow refuses it, and it is read again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lineside_topic_bridge.steering.shadow.documents import Shadow, compact, difference, updated, wish_of
from lineside_topic_bridge.steering.wishes import Wish

MAX_CONFLICTS = 5
"""After so many conflicts on end a report waits for the next bell or look: somebody edits without a pause."""


@dataclass(frozen=True)
class Sync:
    """How we stand with the shadow."""

    shadow: Shadow | None = None
    """As it was read, with what was reported since; None: never."""
    must_read: bool = True
    wanted: Mapping[str, Any] | None = None
    """What is to be reported; None: nothing yet."""
    conflicts: int = 0
    """On end."""
    is_refused: bool = False
    """Whether the shadow refused what is wanted for another reason than its version: the same is not sent again."""


@dataclass(frozen=True)
class Update:
    """One update of `reported`."""

    change: Mapping[str, Any]
    version: int

    def payload(self, token: str) -> bytes:
        """Return the document of the update; `token` comes back with the answer, 64 characters at most."""
        version = {"version": self.version} if self.version else {}
        return compact({"state": {"reported": self.change}, **version, "clientToken": token})


def rung(sync: Sync) -> Sync:
    """Know that the shadow changed, or may have."""
    return replace(sync, must_read=True, conflicts=0, is_refused=False)


def reading(sync: Sync) -> Sync:
    """Know that it is being read: what rings from now on needs another reading."""
    return replace(sync, must_read=False)


def has_read(sync: Sync, shadow: Shadow, max_bytes: int) -> tuple[Sync, Wish | None]:
    """Take the shadow; return also what it wishes, None where that is what it wished before."""
    is_news = sync.shadow is None or sync.shadow.desired != shadow.desired
    return replace(sync, shadow=shadow), wish_of(shadow, max_bytes) if is_news else None


def wants(sync: Sync, reported: Mapping[str, Any]) -> Sync:
    """Take what is to be reported; it takes the place of what was."""
    return sync if sync.wanted == reported else replace(sync, wanted=reported, is_refused=False)


def next_update(sync: Sync) -> Update | None:
    """Return what is to be sent, None where nothing is, or the shadow is to be read first."""
    if sync.shadow is None or sync.must_read or sync.wanted is None or sync.is_refused:
        return None
    change = difference(sync.shadow.reported or {}, sync.wanted)
    return Update(change, sync.shadow.version) if change else None


def accepted(sync: Sync, update: Update, version: int) -> Sync:
    """Know that an update is in the shadow, which has this version now."""
    before = sync.shadow or Shadow()
    shadow = replace(before, reported=updated(before.reported or {}, update.change), version=version)
    # More than one edition later: somebody else's came between, and its bell may be lost.
    must_read = sync.must_read or version != update.version + 1
    return replace(sync, shadow=shadow, conflicts=0, must_read=must_read)


def conflicted(sync: Sync) -> Sync:
    """Know that the shadow is another one than was read."""
    conflicts = sync.conflicts + 1
    return replace(sync, must_read=True, conflicts=conflicts, is_refused=conflicts >= MAX_CONFLICTS)


def refused(sync: Sync) -> Sync:
    """Know that the shadow refuses what we report, whatever its version."""
    return replace(sync, is_refused=True)
