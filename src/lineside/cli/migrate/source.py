"""What of Edge Manager's a file is, and the keys that it gives.

A deployment is taken as CreateDeployment takes it and GetDeployment gives it, where `merge` is JSON in a text, and as
Greengrass' command line takes it, where MERGE is the configuration itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lineside.documents import read_json, read_yaml
from lineside.edge_manager import agent_file
from lineside.edge_manager.settings import EdgeManagerSettings
from lineside.errors import LinesideError
from lineside.greengrass.configuration import EDGE_MANAGER, FOREIGN

COMPONENT_KEYS = tuple(name for name in EdgeManagerSettings.model_fields if name[0].isupper())
"""The keys that the component's documentation names."""
_MAX_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Source:
    """A configuration of Edge Manager's."""

    kind: Literal["component", "agent"]
    keys: Mapping[str, Any]
    """What it gives, by its own names."""
    resets: tuple[str, ...] = ()
    """Keys that a deployment puts back to their defaults."""
    version: str | None = None
    """Of the component that a deployment names."""

    def settings(self) -> dict[str, Any]:
        """Return the settings that the keys stand for, as a document, unread."""
        if self.kind == "agent":
            return dict(agent_file.read(self.keys).document)
        given = {name: value for name, value in self.keys.items() if name in COMPONENT_KEYS}
        return {"edge_manager": {"serve": True} | given}

    def place(self, key: str) -> tuple[str, ...] | None:
        """Return the path of the setting that a key stands for, None where it stands for none."""
        if self.kind == "agent":
            return agent_file.NAMES.get(key)
        return ("edge_manager", key) if key in COMPONENT_KEYS else None


class NotEdgeManagers(LinesideError):
    """A file is none of Edge Manager's, or cannot be read."""

    code = "not-edge-managers"


def read(file: Path) -> Source:
    """Read a file; raises NotEdgeManagers that says what was expected."""
    try:
        with file.open("rb") as opened:
            content = opened.read(_MAX_BYTES + 1)
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise NotEdgeManagers(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise NotEdgeManagers(f"{file}: not a text in UTF-8") from None
    if len(content) > _MAX_BYTES:
        raise NotEdgeManagers(f"{file}: has more than {_MAX_BYTES} bytes")
    try:
        document = read_json(text) if text.lstrip().startswith("{") else read_yaml(text)
        return recognised(document)
    except ValueError as error:
        raise NotEdgeManagers(f"{file}: {error}") from None


def recognised(document: Any) -> Source:
    """Return what a document is; raises ValueError where it is nothing of Edge Manager's."""
    if not isinstance(document, Mapping):
        raise ValueError("expected a group of names and values")  # noqa: TRY004 - it is the reader's value
    if agent_file.is_agent_file(document):
        return Source("agent", document)
    if any(name in COMPONENT_KEYS for name in document):
        return _component(document, {})
    components = document.get("components", document)
    if isinstance(components, Mapping) and EDGE_MANAGER in components:
        entry = components[EDGE_MANAGER]
        if not isinstance(entry, Mapping):
            raise ValueError(f"{EDGE_MANAGER}: expected a group of names and values")
        return _component(_merge(entry), entry)
    if "components" in document:
        named = ", ".join(map(str, components)) if isinstance(components, Mapping) else "none"
        raise ValueError(f"a deployment without {EDGE_MANAGER} (its components: {named:.200})")
    if any(name in document for name in ("configurationUpdate", "merge", "MERGE")):
        return _component(_merge(document), document)
    raise ValueError(
        f"nothing of SageMaker Edge Manager: expected a deployment with {EDGE_MANAGER}, keys as DeviceFleetName, "
        f"or names that begin with {agent_file.PREFIX}"
    )


def _component(keys: Mapping[str, Any], entry: Mapping[str, Any]) -> Source:
    version = entry.get("componentVersion")
    own = {str(name): value for name, value in keys.items() if name not in FOREIGN}
    return Source("component", own, _resets(entry), str(version) if version is not None else None)


def _update(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    update = entry.get("configurationUpdate", entry)
    return update if isinstance(update, Mapping) else {}


def _merge(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    update = _update(entry)
    merge = update.get("merge", update.get("MERGE", {}))
    if isinstance(merge, str):
        try:
            merge = read_json(merge) if merge.strip() else {}
        except ValueError as error:
            raise ValueError(f"the text of merge: {error}") from None
    if not isinstance(merge, Mapping):
        raise ValueError("merge: expected names and values, or a text with their JSON")  # noqa: TRY004 - same
    return merge


def _resets(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the keys that a deployment resets; `""` resets all of them."""
    update = _update(entry)
    resets = update.get("reset", update.get("RESET", []))
    return tuple(map(str, resets)) if isinstance(resets, Sequence) and not isinstance(resets, str) else ()
