"""A file of features into a camera and out of one: written in order, read back, and refused by line number."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from lineside_inference.errors import CameraFailed
from lineside_inference.sources.cameras.genicam.device import Device
from lineside_inference.sources.cameras.genicam.features import Feature, Kind, Value, check_taken, from_text, resets
from lineside_inference.sources.cameras.genicam.features_file import SKIPPED, Line, arranged, read

_MOST_CHOICES = 32
_UNWALKED = ("File", "UserSet", "Sequencer")
"""Selectors that choose among files, saved sets and steps of a sequence: what they select is no setting by itself."""
_WRITABLE = "read and write"


def set_features(device: Device, file: Path | None, features: Mapping[str, Value]) -> None:
    """Write the settings' features, over those of a file where one is named; raises CameraFailed."""
    if file is None:
        device.apply(features)
    else:
        load(device, read(file), features)


def load(device: Device, lines: Sequence[Line], features: Mapping[str, Value]) -> None:
    """Write a file's lines and the settings' own features, which win, in one order; read each back.

    Raises CameraFailed with the file's name and the line's number where it is the file's.
    """
    selectors = device.selectors()
    choosing = {each for several in selectors.values() for each in several}
    of_file = [line for line in lines if line.name not in features or line.name in choosing]
    steps = arranged([*of_file, *(Line(name, value) for name, value in features.items())], selectors)
    for line in steps:
        _look(device, line)  # a name that the camera has not is said before anything is written
    plain = [line for line in steps if not line.selected and line.name not in choosing]
    device.reset(resets({line.name: line.value for line in plain}))
    wanted = {line.name: _write(device, line) for line in steps}
    for line in plain:  # again: one may have changed another
        with _said_of(line):
            now = device.look(line.name)
            if now.value is not None:
                check_taken(line.name, wanted[line.name], now.value, now.bounds)


def saved(device: Device, *, walks: bool) -> Iterator[Line]:
    """Yield what a camera is set to, in its own order; with `walks` also what each choice of its selectors selects.

    To walk takes control, since it chooses each in turn; afterwards is chosen what was.
    """
    selectors = device.selectors()
    choosing = {each for several in selectors.values() for each in several}
    names, streamable = device.names(), device.streamable()
    for name in names:
        if name in SKIPPED or selectors.get(name) or (streamable and name not in streamable):
            continue
        now = device.look(name)
        if now.value is None or now.access != _WRITABLE:
            continue
        selected = [each for each in names if name in selectors.get(each, ()) and each not in SKIPPED]
        if not selected:
            if name not in choosing:
                yield Line(name, now.value)
            continue
        if name.startswith(_UNWALKED):
            continue
        yield from _saved_selected(device, name, now, selected, streamable, walks=walks)


def _saved_selected(
    device: Device, selector: str, now: Feature, selected: Sequence[str], streamable: frozenset[str], *, walks: bool
) -> Iterator[Line]:
    """Yield a selector's choices, each with what it selects; the one that is chosen now comes last."""
    chosen = now.value if now.value is not None else ""
    choices: list[Value] = [chosen]
    if walks and 1 < len(now.bounds.choices) <= _MOST_CHOICES:
        choices = [*(each for each in now.bounds.choices if each != chosen), chosen]
    for choice in choices:
        if walks:
            try:
                device.write(selector, choice)
            except CameraFailed:
                continue
        yield Line(selector, choice)
        for name in selected:
            with suppress(CameraFailed):
                feature = device.look(name)
                if (
                    feature.value is not None
                    and feature.access == _WRITABLE
                    and (not streamable or name in streamable)
                    and feature.bounds.kind != "command"
                ):
                    yield Line(name, feature.value)


@contextmanager
def _said_of(line: Line) -> Iterator[None]:
    """Put the file and the line's number before what is refused."""
    try:
        yield
    except CameraFailed as error:
        if not line.where:
            raise
        raise CameraFailed(f"{line.where}: {error.what}", remedy=error.remedy) from None


def _look(device: Device, line: Line) -> Feature:
    with _said_of(line):
        return device.look(line.name)


def _write(device: Device, line: Line) -> Value:
    """Write one and return what was written; what a camera does not let be written is well where it is so already."""
    with _said_of(line):
        now = device.look(line.name)
        value = _of_file(str(line.value), now.bounds.kind) if line.where else line.value
        if line.where and now.access in {"read-only", "read-only now"} and now.value is not None:
            check_taken(line.name, value, now.value, now.bounds)
            return value
        device.write(line.name, value)
        return value


def _of_file(text: str, kind: Kind) -> Value:
    """Return what a word of a file means, where booleans are 1 and 0."""
    return text == "1" if kind == "boolean" and text in {"0", "1"} else from_text(text, kind)
