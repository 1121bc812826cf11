"""What is remembered of a rollout between two commands. Everything that was decided at its start is in here."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA = "lineside/rollout/1"
Phase = Literal["running", "promoted", "aborted", "rolling-back", "rolled-back"]
StagePhase = Literal["waiting", "deploying", "deployed", "done", "failed", "undone"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", validate_assignment=True)


class Before(_Part):
    """The deployment that a target had."""

    deployment_id: str
    components: dict[str, Any]
    policies: dict[str, Any] = {}
    job_settings: dict[str, Any] = {}


class Look(_Part):
    """One verdict of the gate, or of a person."""

    at: str
    verdict: Literal["promote", "hold", "stop"]
    why: str
    number: int = 0


class StageState(_Part):
    """One stage; the last one is the target itself."""

    name: str
    group: str
    target_arn: str = ""
    owns_group: bool = False
    """Whether the group is made for this rollout."""
    parent_arn: str | None = None
    things: list[str]
    before: Before | None = None
    """None: the target had no deployment."""
    restores: dict[str, Any] = {}
    """The components that a rollback gives the target again: its own before, or its parent's."""
    components: dict[str, Any]
    phase: StagePhase = "waiting"
    deployment_id: str = ""
    job_id: str = ""
    deployed_at: str = ""
    done_at: str = ""
    counts: dict[str, int] = {}
    looks: list[Look] = []
    undo_id: str = ""
    undo_job: str = ""


class Event(_Part):
    """One thing that was done."""

    at: str
    what: str


class RolloutState(_Part):
    """The whole of it."""

    schema_: Literal["lineside/rollout/1"] = Field(alias="schema", default="lineside/rollout/1")
    id: str
    """Random: what this rollout makes at AWS is marked with it."""
    name: str
    digest: str
    """Of the rollout file."""
    phase: Phase = "running"
    stage: int = 0
    """The index of the stage that is under way."""
    stages: list[StageState]
    recipes: dict[str, str]
    """SHA-256 of each component's recipe, by name@version: the same are deployed in every stage."""
    log: list[Event] = []

    @property
    def current(self) -> StageState:
        """The stage under way."""
        return self.stages[self.stage]

    def to_json(self) -> str:
        """Return the document."""
        return self.model_dump_json(by_alias=True, indent=2) + "\n"
