"""The desired state as a document: what GetDeployments answered Edge Manager's devices, read as it is.

    {"Deployments": [{"DeploymentName", "Type", "FailureHandlingPolicy", "Definitions": [
        {"ModelHandle", "S3Url", "Checksum": {"Type", "Sum"}, "State": "DEPLOY" | "UNDEPLOY"}]}]}

or one deployment's `Definitions` alone. One fault refuses all of it. A name that the document has beside these is
passed over, as that of a newer service.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from lineside.contract import explain
from lineside.documents import read_json
from lineside_deployer.errors import DocumentRefused

MAX_BYTES = 256 * 1024
_MAX = 64
_DIGITS = {"SHA1": 40, "SHA256": 64}
_URL = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/([^\x00-\x1f\x7f]+)")
_UNNAMED = "definitions"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class Digest(_Part):
    """A package's digest, in hexadecimal digits."""

    Type: Literal["SHA1", "SHA256"]
    Sum: str

    @model_validator(mode="after")
    def _has_its_length(self) -> Self:
        if not re.fullmatch(f"[0-9a-fA-F]{{{_DIGITS[self.Type]}}}", self.Sum):
            raise ValueError(
                f"a Sum of {self.Type} has {_DIGITS[self.Type]} hexadecimal digits (got {self.Sum!r:.100})"
            )
        return self


class Definition(_Part):
    """One model: where its package is, and whether it shall be here."""

    ModelHandle: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=63)]
    S3Url: Annotated[str, Field(max_length=1024)] = ""
    Checksum: Digest | None = None
    State: Literal["DEPLOY", "UNDEPLOY"]

    @field_validator("S3Url")
    @classmethod
    def _is_an_object(cls, url: str) -> str:
        found = _URL.fullmatch(url) if url else None
        steps = found[2].split("/") if found else []
        if url and (not steps or any(step in {"", ".", ".."} for step in steps)):
            raise ValueError("expected s3://bucket/key of an object, without empty names, `.` and `..`")
        return url

    @model_validator(mode="after")
    def _deployed_from_somewhere(self) -> Self:
        if self.State == "DEPLOY" and not (self.S3Url and self.Checksum):
            raise ValueError(f"{self.ModelHandle}: DEPLOY needs S3Url and Checksum")
        return self

    @property
    def bucket(self) -> str:
        """The package's bucket."""
        return self.S3Url.removeprefix("s3://").partition("/")[0]

    @property
    def key(self) -> str:
        """The package's key in it."""
        return self.S3Url.removeprefix("s3://").partition("/")[2]


class Deployment(_Part):
    """Models that change together."""

    DeploymentName: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=63)]
    Type: Literal["Model"] = "Model"
    FailureHandlingPolicy: Literal["ROLLBACK_ON_FAILURE", "DO_NOTHING"] = "ROLLBACK_ON_FAILURE"
    Definitions: Annotated[tuple[Definition, ...], Field(min_length=1, max_length=_MAX)]

    @property
    def digest(self) -> str:
        """Says what is wanted: the same for the same definitions, in whatever way the document was written."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:32]


class _Document(_Part):
    Deployments: Annotated[tuple[Deployment, ...], Field(max_length=_MAX)]


@dataclass(frozen=True)
class Rules:
    """What the settings allow: packages below these `s3://bucket/prefix/`, and whether SHA-1 will do."""

    allowed: Sequence[str]
    allow_sha1: bool = False


def read(text: bytes, rules: Rules) -> tuple[Deployment, ...]:
    """Return the deployments of a document in their order; raises DocumentRefused with every fault."""
    if len(text) > MAX_BYTES:
        raise DocumentRefused(f"the desired state has {len(text)} bytes; {MAX_BYTES} at most are read")
    try:
        document = read_json(text)
    except ValueError as error:
        raise DocumentRefused(f"the desired state: {error}") from None
    if not isinstance(document, dict):
        raise DocumentRefused(f"the desired state: expected a JSON object, got {type(document).__name__}")
    try:
        deployments = _Document.model_validate(_with_deployments(document)).Deployments
    except ValidationError as error:
        raise DocumentRefused(f"the desired state: {explain(error)}", remedy="Nothing of it is done: mend it") from None
    if faults := list(_faults(deployments, rules)):
        raise DocumentRefused(f"the desired state: {'; '.join(faults)}", remedy="Nothing of it is done: mend it")
    return deployments


def _with_deployments(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document of one deployment's definitions as that of deployments."""
    if "Deployments" in document or "Definitions" not in document:
        return document
    mark = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:8]
    return {"Deployments": [{"DeploymentName": f"{_UNNAMED}-{mark}"} | document]}


def _faults(deployments: Sequence[Deployment], rules: Rules) -> Iterator[str]:
    names = Counter(each.DeploymentName for each in deployments)
    yield from (f"two deployments are named {name!r}" for name, count in names.items() if count > 1)
    definitions = [each for deployment in deployments for each in deployment.Definitions]
    handles = Counter(each.ModelHandle for each in definitions)
    yield from (
        f"ModelHandle {handle!r} is defined {count} times: which one is meant is not known"
        for handle, count in handles.items()
        if count > 1
    )
    for each in definitions:
        if each.S3Url and not any(each.S3Url.startswith(place) for place in rules.allowed):
            places = ", ".join(rules.allowed) or "nothing"
            yield f"{each.ModelHandle}: {each.S3Url!r} is not below what deployer.allowed names ({places})"
        if each.Checksum is not None and each.Checksum.Type == "SHA1" and not rules.allow_sha1:
            yield f"{each.ModelHandle}: a checksum of SHA1; give SHA256, or set deployer.allow_sha1"
