"""A camera's features in a file, as the makers' viewers export them: which line sets what, and in which order.

Read are the text form of GenApi's persistence (pylon's .pfs and others': name, tab, value; newer ones have the selector
between them as {GainSelector=All}), and name and value with =, ; or , between them. Lines with # are comments.
Written is the first form, with selectors as lines of their own, which all readers of it know.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lineside_inference.errors import CameraFailed
from lineside_inference.settings import SERVICE_FEATURES
from lineside_inference.sources.cameras.genicam.features import ORDER, Value

MOST_BYTES = 1 << 20
_GUID = "{05D8C294-F295-4dfb-9D01-096BD04049F4}"
"""By this first line GenApi knows its own text form."""
_NAME = re.compile(r"[A-Za-z_]\w{0,99}")
_SELECTED = re.compile(r"\{(.*)\}")
_HEADINGS = {"name", "feature", "featurename", "node", "parameter"}
_SHOWN = 60
OF_ONE_CAMERA = frozenset(
    {
        *("DeviceUserID", "GevCCP", "GevSCDA", "GevSCPHostPort", "GevMCDA", "GevMCPHostPort"),
        *("GevPersistentIPAddress", "GevPersistentSubnetMask", "GevPersistentDefaultGateway"),
        *("GevCurrentIPConfigurationDHCP", "GevCurrentIPConfigurationPersistentIP", "GevCurrentIPConfigurationLLA"),
    }
)
"""Features that say which camera it is and where it sends, not how it takes images: left out of files, both ways."""
SKIPPED = OF_ONE_CAMERA | SERVICE_FEATURES


@dataclass(frozen=True)
class Line:
    """One feature's value; `value` is text where a file has it, `selected` the selectors that it is of."""

    name: str
    value: Value
    where: str = ""
    """As it is said in errors: the file and the line's number; empty for what the settings say themselves."""
    selected: tuple[tuple[str, str], ...] = ()


def read(path: Path) -> list[Line]:
    """Return a file's lines; raises CameraFailed where it cannot be read, or with the number of a line that is none."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise CameraFailed(
            f"features_file {path} cannot be read: {error.strerror or error}",
            remedy="See whether it is there, and whether this service's user may read it",
        ) from None
    if len(data) > MOST_BYTES or b"\0" in data:
        raise CameraFailed(
            f"features_file {path} is no file of features: it has more than {MOST_BYTES} bytes, or is no text",
            remedy="Export the camera's features as text (pylon: .pfs), in UTF-8",
        )
    text = data.decode("utf-8-sig", "replace")  # names and values are of ASCII: only comments suffer
    return list(parse(text, path.name))


def parse(text: str, name: str) -> Iterator[Line]:
    """Yield a file's lines by its text and name; raises CameraFailed."""
    is_first = True
    for number, raw in enumerate(text.splitlines(), 1):
        if not raw.strip() or raw.lstrip().startswith("#"):
            continue
        where = f"{name}, line {number}"
        cells = _cells(raw, where)
        if is_first and cells[0].lower() in _HEADINGS and cells[-1].lower() == "value":
            is_first = False
            continue
        is_first = False
        if not _NAME.fullmatch(cells[0]):
            raise _no_line(where, raw, f"{cells[0]!r:.{_SHOWN}} is no name of a feature")
        yield Line(cells[0], cells[-1], where, _selected(cells[1], where, raw) if len(cells) > 2 else ())  # noqa: PLR2004


def arranged(lines: Iterable[Line], selectors: Mapping[str, Sequence[str]]) -> list[Line]:
    """Return the lines in the order in which they are written, each behind the selectors that it is of.

    `selectors` has the selectors of each feature that has some, as the camera describes it; where a line does not say
    what it is of, the lines of its selectors before it do, as in files of the older form. Left out is what belongs to
    the service or to one camera. Raises CameraFailed where a feature has two values.
    """
    names = {each for several in selectors.values() for each in several}
    chosen: dict[str, str] = {}
    last: dict[str, Line] = {}
    placed: list[Line] = []
    for line in lines:
        if line.name in names:
            chosen[line.name] = str(line.value)
            last[line.name] = line
            continue
        own = tuple((each, chosen[each]) for each in selectors.get(line.name, ()) if each in chosen)
        placed.append(line if line.selected or not own else Line(line.name, line.value, line.where, own))
    _check_twice(placed)
    place = {name: number for number, name in enumerate(ORDER)}
    kept = [line for line in placed if not (line.where and line.name in SKIPPED)]
    kept.sort(key=lambda line: place.get(line.name, len(ORDER)))
    return list(_with_selectors(kept, last))


def written(lines: Iterable[Line], about: str) -> str:
    """Return the text of a file with these lines, in the form that makers' viewers read."""
    shown = "".join(each if each.isprintable() else "?" for each in about)
    head = f"# {_GUID}\n# GenApi persistence file (version 3.1.0)\n# Device = {shown}\n"
    return head + "".join(f"{line.name}\t{_text(line.value)}\n" for line in lines)


def _cells(raw: str, where: str) -> list[str]:
    for separator in ("\t", "=", ";", ","):
        if separator in raw:
            break
    else:
        raise _no_line(where, raw, "there is nothing between name and value")
    cells = [each.strip() for each in (raw.split("\t") if separator == "\t" else raw.split(separator, 1))]
    if len(cells) == 3 and _SELECTED.fullmatch(cells[1]):  # noqa: PLR2004 - name, selectors, value
        return cells
    if len(cells) != 2:  # noqa: PLR2004 - name, value
        raise _no_line(where, raw, f"it has {len(cells)} columns")
    return [
        cells[0].strip('"'),
        cells[1][1:-1] if len(cells[1]) > 1 and cells[1][0] == cells[1][-1] == '"' else cells[1],
    ]


def _selected(cell: str, where: str, raw: str) -> tuple[tuple[str, str], ...]:
    pairs = []
    for each in re.split("[,;]", cell[1:-1]):
        name, is_given, value = each.strip().partition("=")
        if not is_given or not _NAME.fullmatch(name.strip()):
            raise _no_line(where, raw, f"{cell:.{_SHOWN}} does not say of which selector it is")
        pairs.append((name.strip(), value.strip()))
    return tuple(pairs)


def _check_twice(lines: Iterable[Line]) -> None:
    seen: dict[tuple[str, tuple[tuple[str, str], ...]], Line] = {}
    for line in lines:
        before = seen.setdefault((line.name, line.selected), line)
        if before is not line and before.value != line.value and line.name not in SKIPPED:
            raise CameraFailed(
                f"{line.where}: {line.name} is {line.value!r}, and was {before.value!r} in {before.where}",
                remedy="Leave one of the two lines",
            )


def _with_selectors(lines: Iterable[Line], last: Mapping[str, Line]) -> Iterator[Line]:
    now: dict[str, str] = {}
    for line in lines:
        for name, value in line.selected:
            if now.get(name) != value:
                now[name] = value
                yield Line(name, value, line.where)
        yield line
    for name, line in last.items():  # what was selected at the end, as the file leaves it
        if now.get(name) != str(line.value) and not (line.where and name in SKIPPED):
            yield line


def _text(value: Value) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def _no_line(where: str, raw: str, why: str) -> CameraFailed:
    return CameraFailed(
        f"{where}: {raw.strip()!r:.{_SHOWN}}: {why}",
        remedy="A line is a feature's name and its value with a tab, =, ; or , between them, or a comment behind #",
    )
