"""The rollout file: which versions, to which devices in which stages, and what has to hold between them."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from lineside.errors import SettingsError
from lineside.settings import Layer, Section, problems_of, read_file
from lineside_fleet.gate.settings import GateSettings

MAX_STAGES = 10
FLEET = "fleet"
"""The name of the last stage, which every rollout has: the whole target."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$", min_length=1, max_length=64)]
GroupName = Annotated[str, Field(pattern=r"^[A-Za-z0-9:_-]{1,128}$")]
ThingName = Annotated[str, Field(pattern=r"^[A-Za-z0-9:_-]{1,128}$")]
ComponentName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$", min_length=1, max_length=128)]
Version = Annotated[str, Field(min_length=1, max_length=64)]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Percent = Annotated[float, Field(ge=0, le=100)]

_SEMVER = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?")


class ComponentWanted(Section):
    """One component as the rollout wants it; its version alone may stand for the group."""

    version: Version = Field(description="The one version, for instance 1.4.0; a deployment takes no ranges.")
    recipe: Path | None = Field(
        None,
        description="Its recipe, beside the rollout file: the version is made of it where the account has none, and "
        "has to be the same where it has one.",
    )
    merge: dict[str, Any] | None = Field(
        None, description="Configuration to merge; absent: what the deployment before merged."
    )
    reset: list[str] | None = Field(None, description="JSON pointers of configuration to reset to its default.")

    @field_validator("version")
    @classmethod
    def _one_version(cls, version: str) -> str:
        if not _SEMVER.fullmatch(version):
            raise ValueError("expected a version of three numbers, for instance 1.4.0; a deployment takes no ranges")
        return version

    @property
    def update(self) -> dict[str, Any] | None:
        """The configuration's change as the API has it, None where the file says nothing of it."""
        if self.merge is None and self.reset is None:
            return None
        merge = {} if self.merge is None else {"merge": json.dumps(self.merge, sort_keys=True)}
        return {**merge, **({} if self.reset is None else {"reset": self.reset})}


class FailureSettings(Section):
    """What is done about devices that fail, and when a stage is done."""

    handling: Literal["ROLLBACK", "DO_NOTHING"] = Field(
        "ROLLBACK", description="What a device does where the deployment fails on it; nucleus lite rolls nothing back."
    )
    most_percent: Percent = Field(
        0.0, description="Most devices of a stage that may fail, reject or time out; one more and the stage failed."
    )
    enough_percent: Percent = Field(
        100.0,
        description="The stage is done when so many have succeeded and the patience is over; 100: when all have ended.",
    )
    patience_minutes: int = Field(
        1440, ge=1, le=525600, description="Minutes after which devices that are away are not waited for."
    )


class JobSettings(Section):
    """How AWS carries a deployment to the devices of a stage."""

    per_minute: int | None = Field(
        None, ge=1, le=1000, description="Devices that are told a minute; absent: all at once."
    )
    in_progress_minutes: int | None = Field(
        None, ge=1, le=10080, description="Minutes after which a device that has begun counts as timed out."
    )
    abort_percent: float | None = Field(
        None, gt=0, le=100, description="AWS cancels the rest when so many of the devices that ended have failed."
    )
    abort_after_devices: int = Field(1, ge=1, description="Devices that must have ended before abort_percent counts.")


class StageRules(Section):
    """What may be said for all stages, and for one."""

    window_minutes: int | None = Field(
        None, ge=0, le=525600, description="Minutes from when a stage is done to when the gate may let it on."
    )
    failures: FailureSettings | None = Field(None, description="Devices that fail, and when a stage is done.")
    job: JobSettings | None = Field(None, description="How AWS carries it to the devices.")


class Stage(StageRules):
    """One stage: exactly one of group, percentage, names, pattern."""

    name: Name = Field(description="The stage's name.")
    group: GroupName | None = Field(None, description="A thing group, wholly within the target or wholly beside it.")
    percentage: float | None = Field(
        None, gt=0, le=100, description="So many of the target's devices that no other kind of stage names."
    )
    names: tuple[ThingName, ...] | None = Field(None, min_length=1, description="Things of the target by name.")
    pattern: str | None = Field(
        None, min_length=1, max_length=128, description="Things of the target whose name fits: * and ? as in a shell."
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        ways = [name for name in ("group", "percentage", "names", "pattern") if getattr(self, name) is not None]
        if len(ways) != 1:
            given = " and ".join(ways) or "none of them"
            raise ValueError(f"stage {self.name}: give one of group, percentage, names, pattern (got {given})")
        if self.name == FLEET:
            raise ValueError(f"stage {FLEET}: the name is the last stage's, which is the whole target; choose another")
        return self


class Rollout(StageRules):
    """A rollout: versions to a target, by stages."""

    rollout: Name = Field(description="The rollout's name; one name is one rollout.")
    target: GroupName = Field(description="The thing group of the whole fleet; the last stage is all of it.")
    components: dict[ComponentName, ComponentWanted] = Field(
        min_length=1,
        description="Components by name, each its version or a group. Those that the target has and that are not named "
        "stay at the version that its deployment pins.",
    )
    remove: tuple[ComponentName, ...] = Field((), description="Components that the target shall not have any more.")
    images: dict[str, Digest] = Field(
        {}, description="Digests of images by name without a tag; each image of a recipe that is named must have it."
    )
    stages: tuple[Stage, ...] = Field(
        min_length=1, max_length=MAX_STAGES, description="The stages before the whole target, in their order."
    )
    state: str = Field(
        "",
        description="Where the rollout's state is kept: a file, or s3://bucket/key; a file beside this one by default.",
    )
    window_minutes: int = Field(
        1440, ge=0, le=525600, description="Minutes from when a stage is done to when the gate may let it on."
    )
    failures: FailureSettings = Field(
        default_factory=FailureSettings, description="Devices that fail, and when a stage is done."
    )
    job: JobSettings = Field(default_factory=JobSettings, description="How AWS carries it to the devices.")
    gate: GateSettings | None = Field(
        default_factory=GateSettings,
        description="What a stage's version has to show against the one before it (the-gate.md); null: nothing, a "
        "stage that is done goes on after its window.",
    )

    @field_validator("components", mode="before")
    @classmethod
    def _versions_alone(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        return {name: {"version": each} if isinstance(each, str) else each for name, each in given.items()}

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        names = [stage.name for stage in self.stages]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"stages: {twice[0]!r} is the name of two stages; give each its own")
        total = sum(stage.percentage or 0 for stage in self.stages)
        if total > 100:  # noqa: PLR2004 - percent
            raise ValueError(
                f"stages: the percentages add up to {total:g}; 100 at most, for no device is in two stages"
            )
        both = sorted(set(self.components) & set(self.remove))
        if both:
            raise ValueError(f"remove: {both[0]} is among the components too; keep one of them")
        return self

    def window_of(self, stage: str) -> int:
        """Return a stage's window in minutes."""
        own = next((each.window_minutes for each in self.stages if each.name == stage), None)
        return self.window_minutes if own is None else own

    def failures_of(self, stage: str) -> FailureSettings:
        """Return a stage's rules for devices that fail."""
        return next((each.failures for each in self.stages if each.name == stage and each.failures), self.failures)

    def job_of(self, stage: str) -> JobSettings:
        """Return how a stage is carried out."""
        return next((each.job for each in self.stages if each.name == stage and each.job), self.job)

    @property
    def digest(self) -> str:
        """SHA-256 of all that the file says, and nothing of defaults: a newer version may have others."""
        values = self.model_dump(mode="json", exclude={"state"}, exclude_unset=True)
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def read_rollout(path: Path) -> Rollout:
    """Return a rollout file's content; raises SettingsError with every problem, its place, and the nearest name."""
    return rollout_of(read_file(path), str(path), lambda name: str(path.with_name(name)))


def rollout_of(document: dict[str, Any], where: str, beside: Callable[[str], str]) -> Rollout:
    """Return a rollout; `beside` is the place of a file's name beside it, for the state. Raises SettingsError."""
    try:
        rollout = Rollout.model_validate(document)
    except ValidationError as error:
        raise SettingsError(problems_of(Rollout, error, Layer(where, document))) from None
    if rollout.state:
        return rollout
    return rollout.model_copy(update={"state": beside(f"{rollout.rollout}.state.json")})
