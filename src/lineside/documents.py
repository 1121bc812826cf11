"""Documents that people write, YAML and JSON: a name that stands twice in one group is refused, not overwritten.

Neither format says what a second value means, and both parsers in use silently take the last one: of two `inference:`
sections the first would be ignored, with its cameras and limits.
"""

import json
from typing import Any

import yaml

_LOST = "the first would be lost; write one of them"
_MERGE = "tag:yaml.org,2002:merge"


class _Twice(Exception):
    """A key stands twice in one mapping."""


class _Unique(yaml.SafeLoader):
    """YAML's plain types only; a key given twice in one mapping is an error, at its line."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Return the node of a mapping as it is written, before `<<` brings in what its own keys may replace."""
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen: dict[object, int] = {}
        for key, _value in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
                continue
            name = self.construct_object(key)
            line = key.start_mark.line + 1
            if name in seen:
                raise _Twice(f"{name!r} is given twice, in lines {seen[name]} and {line}: {_LOST}")
            seen[name] = line
        return node


def read_yaml(text: str) -> Any:
    """Return what a YAML text holds; raises ValueError that says where it is wrong, or given twice."""
    try:
        return yaml.load(text, _Unique)  # noqa: S506 - a SafeLoader
    except _Twice as error:
        raise ValueError(str(error)) from None
    except yaml.YAMLError as error:
        raise ValueError(f"not YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise ValueError("not YAML: nested too deeply") from None


def read_json(text: str | bytes) -> Any:
    """Return what a JSON text holds; raises ValueError, for a name that is given twice and for NaN too."""
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_refused)
    except RecursionError:
        raise ValueError("not JSON: nested too deeply") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{name!r} is given twice in one group: {_LOST}")
        found[name] = value
    return found


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant} is no number of JSON")
