"""What is done with approved models: the approvals file."""

import re
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from lineside.errors import SettingsError
from lineside.settings import Layer, Section, problems_of, read_file
from lineside_fleet.rollout_file import ComponentName

_BUCKET = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/|$)")


class SigningSettings(Section):
    """Who signs the packages."""

    key: Path = Field(description="The private key (PEM).")
    certificate: Path | None = Field(None, description="Its certificate (PEM), where the machines trust an authority.")
    chain: tuple[Path, ...] = Field((), description="Certificates between that and the root.")
    password_file: Path | None = Field(None, description="File whose first line is the key's password.")


class GroupSettings(Section):
    """One group of the Model Registry."""

    template: Path = Field(description="Rollout file without the model's version and the rollout's name.")
    component: ComponentName | None = Field(
        None, description="The model's component; com.lineside.Model.<Name> of the model's own name by default."
    )
    version: Annotated[str, Field(pattern=r"^[0-9A-Za-z.+{}-]+$")] = Field(
        "1.{version}.0", description="The component's version; {version} is the number in the Model Registry."
    )

    @model_validator(mode="after")
    def _counts(self) -> Self:
        if "{version}" not in self.version or not self.version_of(1).replace(".", "").isalnum():
            raise ValueError("version: must hold {version}, or every approval would be of one version")
        return self

    def version_of(self, number: int) -> str:
        """Return the component's version of a version in the Model Registry."""
        return self.version.replace("{version}", str(number))


class ApprovalSettings(Section):
    """The approvals file."""

    groups: dict[str, GroupSettings] = Field(min_length=1, description="By the name of the model package group.")
    sign: SigningSettings = Field(description="Who signs the packages.")
    registry: str = Field(min_length=1, description="Where the images of the components are.")
    bucket: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")] = Field(
        description="The bucket of the components' artifacts."
    )
    digests: Path | None = Field(
        None, description="Lines image@sha256:..., as `lineside recipe render` takes them: images are pinned by them."
    )
    lineside_version: str | None = Field(None, description="Of the components' images; this installation's by default.")
    rollouts: str = Field(
        "rollouts", description="Where the rollout files are written: a folder, or s3://bucket/prefix."
    )
    artefact_bytes: int = Field(
        2 * 1024**3, ge=1024, description="Largest model that is taken, packed and unpacked, in bytes."
    )

    @field_validator("rollouts")
    @classmethod
    def _is_a_place(cls, given: str) -> str:
        if not given or ("://" in given and not _BUCKET.match(given)):
            raise ValueError(f"expected a folder, or s3://bucket/prefix (got {given!r})")
        return given


def read_approvals(path: Path) -> ApprovalSettings:
    """Return the approvals file's content, paths from its folder; raises SettingsError."""
    document = read_file(path)
    try:
        settings = ApprovalSettings.model_validate(document)
    except ValidationError as error:
        raise SettingsError(problems_of(ApprovalSettings, error, Layer(str(path), document))) from None
    here = path.parent
    sign = settings.sign.model_copy(
        update={
            "key": here / settings.sign.key,
            "certificate": here / settings.sign.certificate if settings.sign.certificate else None,
            "chain": tuple(here / each for each in settings.sign.chain),
            "password_file": here / settings.sign.password_file if settings.sign.password_file else None,
        }
    )
    groups = {
        name: group.model_copy(update={"template": here / group.template}) for name, group in settings.groups.items()
    }
    digests = here / settings.digests if settings.digests else None
    rollouts = settings.rollouts if "://" in settings.rollouts else str(here / settings.rollouts)
    return settings.model_copy(update={"sign": sign, "groups": groups, "digests": digests, "rollouts": rollouts})
