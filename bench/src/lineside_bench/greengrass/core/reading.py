"""Values of documents that people wrote: each is taken as the type that it must have, or refused with its place. Pure.

A refusal is a BenchError: which file, where in it, what stands there, what is allowed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lineside.documents import read_json, read_yaml
from lineside_bench.errors import BenchError


@dataclass(frozen=True)
class Node:
    """One value of a document, with its place: the file's name and the keys down to it."""

    value: Any
    place: str

    def wrong(self, expected: str) -> BenchError:
        """Return the refusal of this value; `expected` is what it should be."""
        shown = repr(self.value)
        return BenchError(f"{self.place} is {shown[:80]}; expected {expected}", remedy="Correct it and run again")

    def items(self) -> Iterator[tuple[str, "Node"]]:
        """Yield the entries of a map, none where nothing is given; raises BenchError for anything else."""
        if self.value is None:
            return
        if not isinstance(self.value, Mapping):
            raise self.wrong("names and values")
        for name, value in self.value.items():
            yield str(name), Node(value, self._below(str(name)))

    def entries(self) -> Iterator["Node"]:
        """Yield the entries of a list, none where nothing is given; raises BenchError for anything else."""
        if self.value is None:
            return
        if not isinstance(self.value, list):
            raise self.wrong("a list")
        for index, value in enumerate(self.value):
            yield Node(value, f"{self.place}[{index}]")

    def get(self, key: str) -> "Node":
        """Return the entry of a key, in any case; an absent one has the value None."""
        found = [node for name, node in self.items() if name.lower() == key.lower()]
        if len(found) > 1:
            raise BenchError(f"{found[1].place} is given twice", remedy="Keep one of them")
        return found[0] if found else Node(None, self._below(key))

    def text(self) -> str:
        """Return text; raises BenchError."""
        if not isinstance(self.value, str) or not self.value:
            raise self.wrong("text")
        return self.value

    def optional_text(self, default: str = "") -> str:
        """Return text, or the default where nothing is given; raises BenchError."""
        return default if self.value is None else self.text()

    def optional_seconds(self) -> float | None:
        """Return a time limit in seconds, None where nothing is given; raises BenchError."""
        value = self.value
        if value is None:
            return None
        try:
            seconds = -1.0 if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            seconds = -1.0
        if not 0 < seconds < float("inf"):
            raise self.wrong("seconds, a number above 0")
        return seconds

    def flag(self) -> bool:
        """Return true or false, false where nothing is given; raises BenchError."""
        known = {None: False, False: False, True: True, "true": True, "false": False}
        value = self.value.lower() if isinstance(self.value, str) else self.value
        if isinstance(value, list | dict) or value not in known:
            raise self.wrong("true or false")
        return known[value]

    def document(self) -> dict[str, Any]:
        """Return a map as it is, an empty one where nothing is given; raises BenchError."""
        return {name: node.value for name, node in self.items()}

    def _below(self, key: str) -> str:
        """Return the place of an entry: `file: a.b.c`."""
        return f"{self.place}.{key}" if ": " in self.place else f"{self.place}: {key}"


def parsed(text: str, name: str, *, is_json: bool) -> Node:
    """Return a document's root; raises BenchError where the text is no YAML or JSON, or no map."""
    try:
        value = read_json(text) if is_json else read_yaml(text)
    except ValueError as error:
        raise BenchError(f"{name}: {error}", remedy="Correct it and run again") from None
    root = Node(value, name)
    if not isinstance(value, Mapping):
        raise root.wrong("names and values")
    return root


def read_file(path: Path) -> Node:
    """Return the root of a YAML or JSON file; raises BenchError."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise BenchError(f"{path}: not UTF-8", remedy="Save it as UTF-8") from None
    except OSError as error:
        what = f"{path}: cannot be read: {error.strerror}"
        raise BenchError(what, remedy="Check its name and who may read it") from None
    return parsed(text, str(path), is_json=path.suffix == ".json")
