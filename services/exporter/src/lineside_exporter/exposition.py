"""Prometheus text (exposition format 0.0.4), read from a peer that is not trusted, and families joined into one text.

OpenMetrics is not spoken: there are no exemplars and no units to gain, and every scraper reads this format.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from lineside_exporter.errors import NoMetrics
from lineside_exporter.sources.source import KINDS, Family, Reading

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

SERIES, LABELS, TIMESTAMP, CONFLICT = "too-many-series", "label-too-long", "timestamp", "type-conflict"
REPEATED = "repeated"
REASONS = (SERIES, LABELS, TIMESTAMP, CONFLICT, REPEATED)
"""Why a family, or with `repeated` the second sample of a series, is not shown though its source is."""

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*+"
_LABEL_NAME = r"[a-zA-Z_][a-zA-Z0-9_]*+"
_TEXT = r'(?:[^"\\\n]|\\[^\n])*+'
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
# Nothing is tried twice (*+): a line made to be slow would hold up everything.
_LABEL = rf'[ \t]*+{_LABEL_NAME}[ \t]*+=[ \t]*+"{_TEXT}"[ \t]*+'
_SERIES = re.compile(rf"({_NAME})[ \t]*+(?:\{{((?:{_LABEL}(?:,{_LABEL})*+,?+)?+[ \t]*+)\}})?+")
_LABELS = re.compile(rf'({_LABEL_NAME})[ \t]*+=[ \t]*+"({_TEXT})"')
# One value that Prometheus cannot read costs it the whole text: NaN has no sign, and no number may overflow.
_VALUE = re.compile(r"[+-]?(?:(?:[0-9]++\.?[0-9]*+|\.[0-9]++)(?:[eE][+-]?[0-9]++)?|(?i:inf|infinity))|(?i:nan)")
_REST = re.compile(r"[ \t]*+([^\s]++)(?:[ \t]++(-?[0-9]++))?+")
_FULL_NAME = re.compile(_NAME)
_SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("_sum", "_count")}
_AS_UNTYPED = frozenset({"unknown", "info", "stateset", "gaugehistogram"})
"""Types of OpenMetrics, which this format has no word for."""
_SHOWN = 80
_LINES_A_SERIES, _MIN_LINES = 10, 50_000
"""Lines that are read at most: what is left out of a text has to be read too."""


@dataclass(frozen=True)
class Bounds:
    """What one source may bring: series in all, characters of one label's value."""

    series: int
    label_characters: int


@dataclass
class _Open:
    """A family that is being parsed."""

    kind: str | None = None
    help: str | None = None
    lines: list[str] = field(default_factory=list)
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class _Series:
    """A series: its metric, its labels in no order, how it is shown, whether a label is too long."""

    name: str
    labels: frozenset[tuple[str, str]]
    names: frozenset[str]
    shown: str
    is_too_long: bool


class Parser:
    """Reads the texts of one source, each series with `label` in front; a family beyond a bound is left out whole.

    A label of the same name that a series has already becomes `exported_<name>`. What it knows of the series of one
    text it uses for the next: they seldom change.
    """

    def __init__(self, bounds: Bounds, label: tuple[str, str] | None = None) -> None:
        self._bounds = bounds
        self._label = label
        self._known: dict[str, _Series] = {}

    def parse(self, text: str) -> Reading:
        """Return the families of a text.

        What Prometheus takes costs no source: of two samples of a series the first counts, of two HELP too, and a
        family whose samples contradict its type is left out alone. Raises NoMetrics with the first line that is none,
        and where there are far more lines than the series that are shown could have.
        """
        max_lines = max(_LINES_A_SERIES * self._bounds.series, _MIN_LINES)
        if (lines := text.count("\n")) > max_lines:
            raise NoMetrics(f"{lines} lines; {max_lines} are read at most, for {self._bounds.series} series")
        families: dict[str, _Open] = {}
        known: dict[str, _Series] = {}
        seen: set[tuple[str, frozenset[tuple[str, str]]]] = set()
        repeated = 0
        for number, raw in enumerate(text.split("\n"), start=1):
            line = raw.strip(" \t\r")
            try:
                if line.startswith("#"):
                    _describe(line, families)
                elif line:
                    repeated += self._take(line, families, known, seen)
            except ValueError as error:
                raise NoMetrics(f"line {number}: {error}: {line[:_SHOWN]!r}") from None
        self._known = known
        reading = _bounded(families, self._bounds)
        if repeated:
            reading.dropped[REPEATED] += repeated
        return reading

    def _take(
        self,
        line: str,
        families: dict[str, _Open],
        known: dict[str, _Series],
        seen: set[tuple[str, frozenset[tuple[str, str]]]],
    ) -> bool:
        """Take a sample into its family; return whether it is left out, for its series has one."""
        text, _space, value = line.rpartition(" ")
        series, timestamp = self._known.get(text), None
        if series is None:
            text, series, value, timestamp = self._new(line)
        _check(value)
        identity = (series.name, series.labels)
        if identity in seen:
            return True
        seen.add(identity)
        if len(known) < self._bounds.series:
            known[text] = series
        family = _family(series.name, series.names, families)
        if timestamp is not None:
            family.reason = TIMESTAMP
        elif series.is_too_long:
            family.reason = LABELS
        family.lines.append(f"{series.shown} {value}")
        return False

    def _new(self, line: str) -> tuple[str, _Series, str, str | None]:
        """Return the text of a series, the series, its value and its timestamp."""
        match = _SERIES.match(line)
        rest = _REST.fullmatch(line, match.end()) if match else None
        if match is None or rest is None:
            raise ValueError("not a sample")
        name, inside = match.groups()
        if inside is None and line[len(name)] not in " \t":
            raise ValueError("not a sample")
        labels: list[tuple[str, str]] = [(each, _escaped(said)) for each, said in _LABELS.findall(inside or "")]
        names = frozenset(each for each, _ in labels)
        if len(names) < len(labels):
            raise ValueError("a label twice")
        if any(each.startswith("__") for each in names):
            raise ValueError("a label that is reserved, by its leading __")
        shown = labels
        if self._label is not None:
            own = self._label[0]
            shown = [self._label, *((_other(each, names) if each == own else each, said) for each, said in labels)]
        text = ",".join([f'{each}="{said}"' for each, said in shown])
        series = _Series(
            name=name,
            labels=frozenset(labels),
            names=names,
            shown=f"{name}{{{text}}}" if text else name,
            is_too_long=any(len(said) > self._bounds.label_characters for _, said in labels),
        )
        return match[0].rstrip(" \t"), series, rest[1], rest[2]


def render(metrics: Iterable[Metric], parser: Parser) -> Reading:
    """Return the families of what prometheus_client made; raises NoMetrics where a name or figure cannot be written."""

    class Given(Collector):
        def collect(self) -> Iterable[Metric]:
            return metrics

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Given())
    try:
        text = generate_latest(registry).decode()
    except (UnicodeEncodeError, OverflowError) as error:
        raise NoMetrics(f"a name or figure of it cannot be written: {error}") from None
    return parser.parse(text)


def join(readings: Iterable[Sequence[Family]]) -> bytes:
    """Return one text of all families: each name once, the first one's help, the samples in the readings' order."""
    by_name: dict[str, list[Family]] = {}
    for family in chain.from_iterable(readings):
        by_name.setdefault(family.name, []).append(family)
    return "".join(chain.from_iterable(_written(by_name[name]) for name in sorted(by_name))).encode()


def _written(families: list[Family]) -> Iterator[str]:
    first = families[0]
    yield f"# HELP {first.name} {first.help}\n# TYPE {first.name} {first.kind}\n"
    for family in families:
        yield "\n".join(family.lines)
        yield "\n"


def _check(value: str) -> None:
    if not _VALUE.fullmatch(value):
        raise ValueError("not a sample")
    if math.isinf(float(value)) and value[-1] not in "fFyY":
        raise ValueError("a number larger than any that can be shown")


def _describe(line: str, families: dict[str, _Open]) -> None:
    words = line.split(None, 3)
    if len(words) < 3 or words[0] != "#" or words[1] not in {"HELP", "TYPE"}:  # noqa: PLR2004 - "#", the word, the name
        return
    _hash, word, name = words[:3]
    rest = words[3] if len(words) > len(words[:3]) else ""
    if not _FULL_NAME.fullmatch(name):
        raise ValueError("not a metric's name")
    family = families.setdefault(name, _Open())
    kind = "untyped" if rest in _AS_UNTYPED else rest
    if word == "HELP":
        family.help = rest if family.help is None else family.help
    elif kind not in KINDS:
        raise ValueError(f"not a type; expected one of {', '.join(KINDS)}")
    elif family.lines and kind in _SUFFIXES and family.kind != kind:
        family.reason = CONFLICT
    elif family.kind is None:
        family.kind = kind


def _escaped(text: str) -> str:
    """Return a label's text as the format has it: Prometheus takes a backslash before any other letter for itself."""
    if "\\" not in text:
        return text
    return _ESCAPE.sub(lambda found: found[0] if found[1] in '\\"n' else f"\\{found[0]}", text)


def _other(name: str, taken: frozenset[str]) -> str:
    while name in taken:
        name = f"exported_{name}"
    return name


def _family(name: str, labels: frozenset[str], families: dict[str, _Open]) -> _Open:
    """Return the family of a sample; one that has a sample which is none of its type is not shown."""
    known = families.get(name)
    if known is None or known.kind in _SUFFIXES:
        for suffix in ("_bucket", "_sum", "_count"):
            base = families.get(name.removesuffix(suffix)) if name.endswith(suffix) else None
            if base is not None and base.kind is not None and suffix in _SUFFIXES.get(base.kind, ()):
                if suffix == "_bucket" and "le" not in labels:
                    base.reason = CONFLICT
                return base
    if known is None:
        known = families[name] = _Open()
    if known.kind == "histogram" or (known.kind == "summary" and "quantile" not in labels):
        known.reason = CONFLICT
    return known


def _bounded(families: dict[str, _Open], bounds: Bounds) -> Reading:
    reading, series = Reading([]), 0
    for name, family in families.items():
        count = len(family.lines)
        if family.reason is None and series + count > bounds.series:
            family.reason = SERIES
        if family.reason is not None:
            reading.dropped[family.reason] += count
        elif count:
            series += count
            reading.families.append(Family(name, family.kind or "untyped", family.help or "", tuple(family.lines)))
    return reading
