"""What is known of a deployment, as it lies in the database; and of the models that deployments have brought."""

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel

from lineside_deployer.desired.document import Deployment


class Phase(StrEnum):
    """How far a deployment is."""

    FETCHING = "FETCHING"
    """Nothing has changed yet."""
    CHANGING = "CHANGING"
    """How the models were is noted, and they change one by one."""
    ACCEPTING = "ACCEPTING"
    """It is decided that the change is for good."""
    RESTORING = "RESTORING"
    """It is decided that the models come back to how they were."""
    DONE = "DONE"


class ModelRecord(BaseModel):
    """One model of a deployment."""

    handle: str
    desired: Literal["DEPLOY", "UNDEPLOY"]
    action: Literal["install", "withdraw", "none"]
    checksum: str = ""
    version: str | None = None
    """The version that serves by what is known; None where none does."""
    needed: tuple[str, ...] = ()
    """The versions that stay when it is accepted."""
    is_changed: bool = False
    status: Literal["", "SUCCESS", "FAIL"] = ""
    reason: str = ""
    rollback_failure: str = ""


class Record(BaseModel):
    """One deployment."""

    deployment: Deployment
    digest: str
    phase: Phase
    models: list[ModelRecord]
    starts: int = 0
    """How often a process has begun or gone on to change the models."""
    started: float
    ended: float | None = None
    may_retry: bool = False
    """Whether what failed may come about without another document: the next regular look tries again."""

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        return self.phase is Phase.DONE

    @property
    def status(self) -> Literal["INPROGRESS", "SUCCESS", "FAIL"]:
        """What became of it."""
        if not self.is_done:
            return "INPROGRESS"
        return "FAIL" if any(each.status == "FAIL" for each in self.models) else "SUCCESS"

    @property
    def message(self) -> str:
        """Why it failed, in a sentence; empty where it did not."""
        return next((f"{each.handle}: {each.reason}" for each in self.models if each.status == "FAIL"), "")


class Installed(BaseModel):
    """A model that a deployment has brought: of which package, and its version."""

    handle: str
    checksum: str
    version: str
    deployment: str
