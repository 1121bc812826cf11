"""The two files by which inference and builder speak, and the one beside each plan: written whole, read with suspicion.

What cannot be read is as if it were not there, or named as damaged: whoever reads goes on.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from lineside.durable_files import replace_file
from lineside.plans.device import Device
from lineside.plans.key import Options, is_key, is_sha256, key_of

ASK, BUILDER, LOCK = "ask.json", "builder.json", "builder.lock"
BUILDING, MODELS = "building", "models"
PLAN, PLAN_DOCUMENT = "1/model.plan", "plan.json"
_ASK_SCHEMA, _BUILDER_SCHEMA, _PLAN_SCHEMA = "lineside/plan-ask/1", "lineside/plan-builder/1", "lineside/plan/1"
_MOST = 1024 * 1024
_MODE = 0o644
_MAX_NAMES = 4096


class Damaged(ValueError):
    """A document is not what it should be; the text says why."""


@dataclass(frozen=True)
class Build:
    """One build that is asked for; `number` tells it from the tries before."""

    number: str
    key: str
    model: str
    """The ONNX file, relative to the model repository."""
    sha256: str
    options: Options
    limit_s: float
    """Longest time of trtexec, not counting pauses."""
    max_bytes: int
    """Largest plan that may be kept."""

    def as_document(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {**self.__dict__, "options": self.options.as_document()}

    @classmethod
    def of_document(cls, found: Any) -> "Build":
        """Read it; raises Damaged."""
        if not isinstance(found, dict) or set(found) != set(cls.__dataclass_fields__):
            raise Damaged(f"expected a build with {', '.join(cls.__dataclass_fields__)}")
        model, limit_s, max_bytes = found["model"], found["limit_s"], found["max_bytes"]
        if not isinstance(model, str) or PurePosixPath(model).is_absolute() or ".." in PurePosixPath(model).parts:
            raise Damaged(f"model {model!r:.80} is no path below the model repository")
        if not isinstance(found["number"], str) or not found["number"]:
            raise Damaged("number: expected a text")
        if not isinstance(found["key"], str) or not is_key(found["key"]) or not is_sha256(found["sha256"]):
            raise Damaged(f"key {found['key']!r:.80} and sha256 {found['sha256']!r:.80} are not a plan's")
        if isinstance(limit_s, bool) or not isinstance(limit_s, (int, float)) or not 0 < limit_s < 1e7:  # noqa: PLR2004 - months
            raise Damaged(f"limit_s is {limit_s!r:.40}")
        if type(max_bytes) is not int or max_bytes < 1:
            raise Damaged(f"max_bytes is {max_bytes!r:.40}")
        try:
            options = Options.of_document(found["options"])
        except ValueError as error:
            raise Damaged(str(error)) from None
        return cls(found["number"], found["key"], model, found["sha256"], options, float(limit_s), max_bytes)


@dataclass(frozen=True)
class Refusal:
    """Why a plan that was built is not used: it does not do what its model does."""

    reason: str
    tolerance: float
    """That it was judged by; a larger one is a reason to judge anew."""


@dataclass(frozen=True)
class Ask:
    """What the inference service wants now, and what it remembers.

    `used` are plans by when they were used last, the latest at the end; `refused` those that are wrong, by key.
    """

    build: Build | None = None
    go: bool = False
    """Whether the build may run at this moment; else it is paused, or does not start."""
    delete: tuple[str, ...] = ()
    used: tuple[str, ...] = ()
    refused: Mapping[str, Refusal] = field(default_factory=dict)

    def as_document(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "schema": _ASK_SCHEMA,
            "build": self.build and self.build.as_document(),
            "go": self.go,
            "delete": list(self.delete),
            "used": list(self.used),
            "refused": {key: dict(each.__dict__) for key, each in self.refused.items()},
        }

    @classmethod
    def of_document(cls, found: Any) -> "Ask":
        """Read it; raises Damaged."""
        _check(found, _ASK_SCHEMA, {"build", "go", "delete", "used", "refused"})
        if type(found["go"]) is not bool:
            raise Damaged("go: expected true or false")
        build = None if found["build"] is None else Build.of_document(found["build"])
        refused = found["refused"]
        if not isinstance(refused, dict) or not all(map(_is_refusal, refused.values())):
            raise Damaged("refused: expected reasons by plan")
        refusals = {key: Refusal(each["reason"], each["tolerance"]) for key, each in refused.items()}
        return cls(build, found["go"], _names(found["delete"]), _names(found["used"]), refusals)


@dataclass(frozen=True)
class Outcome:
    """What became of the build of this number; `reason` is empty where it was built."""

    number: str
    key: str
    reason: str
    seconds: float
    """That trtexec ran, not counting pauses."""


@dataclass(frozen=True)
class BuilderState:
    """What the builder says of itself; it counts only while the builder lives."""

    device: Device | None = None
    unable: str = ""
    """Why nothing can be built here."""
    building: str | None = None
    """The key of the plan that is being built."""
    paused: bool = False
    last: Outcome | None = None
    failed: Mapping[str, int] = field(default_factory=dict)
    """How often each key could not be built; a build that was cut off counts."""

    def as_document(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "schema": _BUILDER_SCHEMA,
            "device": self.device and self.device.as_document(),
            "unable": self.unable,
            "building": self.building,
            "paused": self.paused,
            "last": self.last and dict(self.last.__dict__),
            "failed": dict(self.failed),
        }

    @classmethod
    def of_document(cls, found: Any) -> "BuilderState":
        """Read it; raises Damaged."""
        _check(found, _BUILDER_SCHEMA, {"device", "unable", "building", "paused", "last", "failed"})
        last, failed, building = found["last"], found["failed"], found["building"]
        try:
            device = None if found["device"] is None else Device.of_document(found["device"])
        except ValueError as error:
            raise Damaged(str(error)) from None
        if last is not None and (not isinstance(last, dict) or set(last) != set(Outcome.__dataclass_fields__)):
            raise Damaged("last: expected an outcome")
        if not isinstance(failed, dict) or any(type(count) is not int for count in failed.values()):
            raise Damaged("failed: expected counts")
        if building is not None and not isinstance(building, str):
            raise Damaged("building: expected a key or null")
        outcome = None if last is None else Outcome(**last)
        return cls(device, str(found["unable"]), building, found["paused"] is True, outcome, dict(failed))


@dataclass(frozen=True)
class Plan:
    """What lies beside a plan: what it was built of, and the file's own SHA-256."""

    model_sha256: str
    device: Device
    options: Options
    sha256: str
    bytes: int
    seconds: float

    @property
    def key(self) -> str:
        """The key of these parts, which must be the folder's name."""
        return key_of(self.model_sha256, self.device, self.options)

    def as_document(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "schema": _PLAN_SCHEMA,
            **self.__dict__,
            "device": self.device.as_document(),
            "options": self.options.as_document(),
        }

    @classmethod
    def of_document(cls, found: Any) -> "Plan":
        """Read it; raises Damaged."""
        _check(found, _PLAN_SCHEMA, set(cls.__dataclass_fields__))
        if not is_sha256(found["sha256"]) or not is_sha256(found["model_sha256"]) or type(found["bytes"]) is not int:
            raise Damaged("expected two SHA-256 and a size")
        try:
            device, options = Device.of_document(found["device"]), Options.of_document(found["options"])
        except ValueError as error:
            raise Damaged(str(error)) from None
        return cls(found["model_sha256"], device, options, found["sha256"], found["bytes"], float(found["seconds"]))


def read(path: Path) -> Any:
    """Return a document's JSON, None where there is none; raises Damaged."""
    try:
        with path.open("rb") as stream:
            text = stream.read(_MOST + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Damaged(f"{path} cannot be read: {error.strerror}") from None
    if len(text) > _MOST:
        raise Damaged(f"{path} has more than {_MOST} bytes")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Damaged(f"{path} is no JSON") from None


def write(path: Path, document: Mapping[str, Any]) -> None:
    """Put a document there, whole; raises OSError."""
    replace_file(path, json.dumps(document, indent=1).encode(), mode=_MODE)


def _check(found: Any, schema: str, names: set[str]) -> None:
    if not isinstance(found, dict) or found.get("schema") != schema or set(found) != names | {"schema"}:
        raise Damaged(f"expected schema {schema} with {', '.join(sorted(names))}")


def _is_refusal(found: Any) -> bool:
    return (
        isinstance(found, dict)
        and set(found) == set(Refusal.__dataclass_fields__)
        and isinstance(found["reason"], str)
        and isinstance(found["tolerance"], (int, float))
    )


def _names(found: Any) -> tuple[str, ...]:
    if (
        not isinstance(found, list)
        or len(found) > _MAX_NAMES
        or not all(isinstance(name, str) and is_key(name) for name in found)
    ):
        raise Damaged("expected a list of plans' names")
    return tuple(found)
