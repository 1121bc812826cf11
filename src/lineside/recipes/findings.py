"""A finding: where a recipe breaks a rule, the value that does, the rule, and what is allowed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lineside.recipes.document import Value
from lineside.settings import nearest

_SHOWN = 80


@dataclass(frozen=True)
class Finding:
    """One thing wrong: its line from 1, the path of keys to it, its value as text, the rule's name, what is allowed."""

    line: int
    path: str
    value: str
    rule: str
    says: str

    def __str__(self) -> str:
        """Return the finding on one line, without its file."""
        shown = self.value if len(self.value) <= _SHOWN else f"{self.value[:_SHOWN]}..."
        value = f" {shown!r}:" if shown else ""
        return f"{self.line}: {self.path or 'recipe'}:{value} {self.says} [{self.rule}]"


def flag(value: Value, path: str, rule: str, says: str) -> Finding:
    """Return a finding about one value; a group or a list is not shown."""
    shown = "" if isinstance(value.data, dict | list) or value.data is None else str(value.data)
    return Finding(value.line, path, shown, rule, says)


def unknown_keys(group: Value, path: str, known: Sequence[str], what: str) -> Iterator[Finding]:
    """Yield each key of a group that is none of these, whatever their case; the group itself where it is no group."""
    if not isinstance(group.data, dict):
        yield flag(group, path, "type-wrong", f"expected the keys of {what}: {', '.join(known)}")
        return
    lower = {key.lower() for key in known}
    for key, line in group.keys.items():
        if key.lower() not in lower:
            where = f"{path}.{key}" if path else key
            yield Finding(line, where, key, "key-unknown", f"not a key of {what}{nearest(key, list(known))}")
