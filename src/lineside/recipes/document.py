"""A recipe as it was written: values with their lines, from YAML or JSON."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from lineside.documents import read_json


@dataclass(frozen=True)
class Value:
    """One value and the line on which it begins, counted from 1.

    `data` is a `dict[str, Value]`, a `list[Value]`, or a plain value; `keys` has the line of each key of a map, `twice`
    the keys that stand in it more than once; `is_block`: a text of several lines, which begins one line further down.
    """

    data: Any
    line: int
    keys: dict[str, int] = field(default_factory=dict)
    twice: tuple[tuple[str, int], ...] = ()
    is_block: bool = False

    def get(self, key: str) -> "Value | None":
        """Return the entry of a map, its key in any case; None where there is none."""
        if not isinstance(self.data, dict):
            return None
        found: Value | None = next((value for name, value in self.data.items() if name.lower() == key.lower()), None)
        return found

    def items(self) -> Iterator[tuple[str, "Value"]]:
        """Yield the entries of a map; nothing of any other value."""
        if isinstance(self.data, dict):
            yield from self.data.items()

    def entries(self) -> Iterator[tuple[int, "Value"]]:
        """Yield the entries of a list with their places; nothing of any other value."""
        if isinstance(self.data, list):
            yield from enumerate(self.data)

    @property
    def text(self) -> str | None:
        """The value where it is text."""
        return self.data if isinstance(self.data, str) else None

    def plain(self) -> Any:
        """Return the value without its lines."""
        if isinstance(self.data, dict):
            return {name: value.plain() for name, value in self.data.items()}
        if isinstance(self.data, list):
            return [value.plain() for value in self.data]
        return self.data


class _Loader(yaml.SafeLoader):
    """YAML's plain types, but dates: a version or a date stays the text that it is."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read(text: str, *, is_json: bool) -> Value:
    """Return a recipe's values with their lines; raises ValueError that says where the text is wrong.

    JSON is checked as JSON, and its lines are found by reading it as YAML, which it is once its tabs are spaces.
    """
    if is_json:
        try:
            read_json(text)
        except ValueError as error:
            if "given twice" not in str(error):  # that is found below, with its line
                raise
        text = text.replace("\t", " ")
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        return Value(None, 1) if node is None else _value(loader, node)
    except yaml.YAMLError as error:
        raise ValueError(f"not YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise ValueError("not YAML: nested too deeply, or an alias of itself") from None
    finally:
        loader.dispose()


def _value(loader: _Loader, node: yaml.Node) -> Value:
    line = node.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode):
        return Value([_value(loader, each) for each in node.value], line)
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Value] = {}
        keys: dict[str, int] = {}
        twice: list[tuple[str, int]] = []
        for key, value in node.value:
            name, place = str(getattr(key, "value", "")), key.start_mark.line + 1
            if name in found:
                twice.append((name, place))
            found[name], keys[name] = _value(loader, value), place
        return Value(found, line, keys, tuple(twice))
    return Value(loader.construct_object(node), line, is_block=getattr(node, "style", None) in {"|", ">"})
