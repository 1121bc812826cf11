"""One line of NVIDIA's tegrastats, of every Jetson from the Nano to Thor and of JetPack 4 to 7.

The line is a row of fields without a version. Each form of a field has a pattern here; what has none is counted and
left out, so that a newer tegrastats costs its new fields only. `tests/fixtures/hardware/tegrastats` has lines of each
board.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from lineside_exporter.device.figures import Figures, Gpu, is_connected_rail, is_real_temperature, sensor

MAX_CHARACTERS = 16_384
"""Longest line that is read; what follows is left out."""

_MB: Final = 1024 * 1024
_HUNDRED: Final = 100.0


@dataclass(frozen=True)
class Load:
    """How busy an engine or core is at which clock; each None where the line does not say."""

    ratio: float | None
    """0 to 1."""
    mhz: tuple[int, ...] = ()
    """One clock; several of a GPU with several clusters."""


@dataclass
class Line:
    """What one line says. Sizes in bytes, temperatures in degrees Celsius, power in watts."""

    ram: tuple[int, int] | None = None
    """Used and all."""
    swap: tuple[int, int] | None = None
    iram: tuple[int, int] | None = None
    cpus: tuple[Load | None, ...] = ()
    """By core; None: it is off."""
    gpu: Load | None = None
    memory_controller: Load | None = None
    engines: dict[str, Load | None] = field(default_factory=dict)
    """Encoders, decoders and the like; None: it is off."""
    temperatures: dict[str, float] = field(default_factory=dict)
    power: dict[str, float] = field(default_factory=dict)
    """The present value of each rail, not the average that is printed behind it; an idle one may be just below 0."""
    unknown: int = 0
    """How many fields are of no known form."""


def parse(line: str) -> Line:
    """Return what a line says; never raises, whatever the text is."""
    found = Line()
    rest = _DATE.sub("", line[:MAX_CHARACTERS].strip())
    at = 0
    while at < len(rest):
        if rest[at].isspace():
            at += 1
            continue
        for pattern, take in _FORMS:
            match = pattern.match(rest, at)
            if match:
                take(found, match)
                at = match.end()
                break
        else:
            unknown = _UNKNOWN.match(rest, at)
            at = unknown.end() if unknown else len(rest)
            found.unknown += 1
    return found


def is_empty(line: Line) -> bool:
    """Return whether a line says nothing of a device: it is a message, or no line of tegrastats at all."""
    return line.ram is None and not line.cpus and line.gpu is None and not line.temperatures and not line.power


def figures(line: Line) -> Figures:
    """Return what a line says as any source would."""
    gpu = Gpu(
        load=line.gpu.ratio if line.gpu else None,
        temperatures=line.temperatures,
        power=line.power,
    )
    return Figures((gpu,), memory_controller_load=line.memory_controller.ratio if line.memory_controller else None)


_DATE = re.compile(r"^\d{2}-\d{2}-\d{4} \d{2}:\d{2}:\d{2}\s+", re.ASCII)
_CLOCKS = r"(?:@(?:\[(?P<many>[\d,]*)\]|(?P<one>\d{1,9})))"
_CORE = re.compile(r"(?P<percent>\d{1,3})%(?:@(?P<one>\d{1,9}))?", re.ASCII)
_CELSIUS = r"-?\d{1,6}(?:\.\d{1,6})?"
_UNKNOWN = re.compile(r"\S+(?:\s+(?:[\d@\[(]\S*|off\b))*", re.ASCII)
"""A word, and the values behind it."""


def _form(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern + r"(?=\s|$)", re.ASCII)


def _pair(match: re.Match[str], unit: int) -> tuple[int, int]:
    return int(match["used"]) * unit, int(match["total"]) * unit


def _ram(line: Line, match: re.Match[str]) -> None:
    line.ram = _pair(match, _MB)


def _swap(line: Line, match: re.Match[str]) -> None:
    line.swap = _pair(match, _MB)


def _iram(line: Line, match: re.Match[str]) -> None:
    line.iram = _pair(match, 1024)


def _cpus(line: Line, match: re.Match[str]) -> None:
    cores: list[Load | None] = []
    for word in match["cores"].split(","):
        core = _CORE.fullmatch(word.strip())
        if core:
            cores.append(Load(_ratio(core["percent"]), _numbers(core["one"] or match["shared"])))
        elif word.strip() == "off":
            cores.append(None)
        else:
            line.unknown += 1
    line.cpus = tuple(cores)


def _memory_controller(line: Line, match: re.Match[str]) -> None:
    line.memory_controller = _load(match)


def _gpu(line: Line, match: re.Match[str]) -> None:
    """Take a GPU's load; JetPack 5.0 writes a field for each of its two clusters: the busier one counts."""
    load = _load(match)
    if line.gpu is None:
        line.gpu = load
    else:
        known = [each.ratio for each in (line.gpu, load) if each.ratio is not None]
        line.gpu = Load(max(known, default=None), line.gpu.mhz + load.mhz)


def _engine(line: Line, match: re.Match[str]) -> None:
    name = match["name"].lower().removesuffix("_freq")
    line.engines[name] = None if match["off"] else _load(match)


def _temperature(line: Line, match: re.Match[str]) -> None:
    name, celsius = sensor(match["name"]), float(match["celsius"])
    if is_real_temperature(name, celsius):
        line.temperatures[name] = celsius


def _power(line: Line, match: re.Match[str]) -> None:
    if is_connected_rail(match["name"]):
        line.power[match["name"]] = int(match["now"]) / 1000


def _nothing(_line: Line, _match: re.Match[str]) -> None:
    """Ignore a known field."""


def _load(match: re.Match[str]) -> Load:
    groups = match.groupdict()
    return Load(_ratio(groups["percent"]), _numbers(groups["many"] or groups["one"] or groups.get("clock")))


def _ratio(percent: str | None) -> float | None:
    return None if percent is None else min(1.0, int(percent) / _HUNDRED)


def _numbers(text: str | None) -> tuple[int, ...]:
    return tuple(int(word[:9]) for word in (text or "").split(",") if word)


_FORMS: Final[tuple[tuple[re.Pattern[str], Callable[[Line, re.Match[str]], None]], ...]] = (
    (_form(r"RAM (?P<used>\d{1,9})/(?P<total>\d{1,9})MB(?: ?\(lfb \d+x\d+[kM]B\))?"), _ram),
    (_form(r"SWAP (?P<used>\d{1,9})/(?P<total>\d{1,9})MB(?: ?\(cached \d+MB\))?"), _swap),
    (_form(r"IRAM (?P<used>\d{1,9})/(?P<total>\d{1,9})kB(?: ?\(lfb \d+kB\))?"), _iram),
    (_form(r"CPU \[(?P<cores>[^\]]*)\](?:@(?P<shared>\d{1,9}))?"), _cpus),
    (_form(rf"EMC(?:_FREQ)? (?:(?P<percent>\d{{1,3}})%)?{_CLOCKS}?"), _memory_controller),
    (_form(rf"GR3D2?(?:_FREQ)? (?:(?P<percent>\d{{1,3}})%)?{_CLOCKS}?"), _gpu),
    (_form(r"MTS fg \d+% bg \d+%"), _nothing),
    (
        _form(
            r"(?P<name>(?:NVENC|NVDEC|NVJPG|NVDLA|PVA|SE|MSENC|VIC|OFA|APE|NVCSI|ISP)\d?(?:_FREQ)?) "
            rf"(?:(?P<off>off|OFF)|(?P<percent>\d{{1,3}})%{_CLOCKS}?|@?(?P<clock>\d{{1,9}})|@\[[\d,]*\])"
        ),
        _engine,
    ),
    # From JetPack 7.2 on the highest value so far stands behind each: of temperatures, and of rails behind the average.
    (_form(rf"(?P<name>[A-Za-z][\w.-]*)@(?P<celsius>{_CELSIUS})C(?:/{_CELSIUS}C)?"), _temperature),
    (_form(r"(?P<name>[A-Za-z][\w.-]*) (?P<now>-?\d{1,9})(?:mW)?(?:/-?\d{1,9}(?:mW)?){1,2}"), _power),
    (_form(r"(?P<name>[A-Za-z][\w.-]*) (?P<now>-?\d{1,9})mW"), _power),
)
