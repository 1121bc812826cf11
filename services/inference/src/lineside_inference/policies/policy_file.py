"""What survives a restart: the policy, and the versions in force, in one JSON file that is replaced whole.

A file that cannot be read is set aside as `policy.json.bad-<time>` and said; the settings' policy applies then.
"""

import os
from pathlib import Path
from typing import Literal

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lineside.contract import Name, Policy, explain, utc_now
from lineside.durable_files import replace_file, sync
from lineside_inference.errors import StateNotKept

log = structlog.get_logger("lineside.inference.policy")

FILE = "policy.json"
_MAX_BYTES = 1024 * 1024


class Kept(BaseModel):
    """The file's content."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_: Literal["lineside/policy-state/1"] = Field(alias="schema", default="lineside/policy-state/1")
    policy: Policy
    in_force: dict[Name, str] = {}
    settings: Policy | None = Field(default=None, exclude_if=lambda policy: policy is None)
    """The settings' policy at that time: what changed in it since is the newer choice."""


class PolicyFile:
    """The file in the state folder; `folder` None keeps nothing."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    @property
    def is_kept(self) -> bool:
        """Whether there is a folder to keep it in."""
        return self._folder is not None

    def read(self) -> Kept | None:
        """Return what was kept, None where nothing was; raises StateNotKept where the folder cannot be used."""
        if self._folder is None:
            return None
        path = self._folder / FILE
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with path.open("rb") as stream:
                text = stream.read(_MAX_BYTES + 1)
        except FileNotFoundError:
            self._try_out()
            return None
        except OSError as error:
            raise self._unusable(error) from None
        self._try_out()
        try:
            return Kept.model_validate_json(text)
        except ValidationError as error:
            self.set_aside(explain(error))
            return None

    def write(self, kept: Kept) -> None:
        """Replace the file: whole and on the disk when this returns, untouched where it raises StateNotKept."""
        if self._folder is None:
            return
        try:
            replace_file(self._folder / FILE, kept.model_dump_json(by_alias=True, indent=1).encode())
            sync(self._folder)
        except OSError as error:
            raise self._unusable(error) from None

    def set_aside(self, reason: str) -> None:
        """Keep a file that cannot be used out of the way, for people to look at."""
        if self._folder is None:
            return
        path = self._folder / FILE
        aside = path.with_name(f"{FILE}.bad-{utc_now():%Y%m%dT%H%M%S%f}")
        try:
            path.replace(aside)
        except OSError as error:
            raise self._unusable(error) from None
        log.error("the kept policy cannot be used; the settings' applies", file=str(aside), reason=reason[:600])

    def _try_out(self) -> None:
        """Say at the start that nothing can be written there, not at the first change."""
        if self._folder is not None and not os.access(self._folder, os.W_OK | os.X_OK):
            raise StateNotKept(f"inference.state_dir {self._folder} cannot be written", remedy="Allow it, or change it")

    def _unusable(self, error: OSError) -> StateNotKept:
        return StateNotKept(
            f"inference.state_dir {self._folder} cannot be used: {error.strerror}",
            remedy="Make it a folder that this service may write, with room on its disk",
        )
