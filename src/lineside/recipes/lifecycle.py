"""The rules of a lifecycle: steps, time limits, scripts and the variables in them."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lineside.recipes import dialect
from lineside.recipes.document import Value
from lineside.recipes.findings import Finding, flag, unknown_keys
from lineside.settings import close_to

_STOPPING = re.compile(r"\bdocker\s+stop\s+(?:-t|--time|--timeout)[\s=]+([0-9]+)")
_RESTARTING = re.compile(r"\bdocker\s+(?:run|create)\b[^\n;&|]*?\s--restart[\s=]+(?!no\b)(\S+)", re.DOTALL)
_PRIVILEGED = re.compile(r"\bdocker\s+(?:run|create)\b.*?\s--privileged\b", re.DOTALL)


@dataclass(frozen=True)
class Surroundings:
    """What a manifest's steps can name: its artifacts by kind, the recipe's configuration; on which nucleus."""

    artifacts: Collection[str]
    default: Mapping[str, Any]
    is_lite: bool


def findings(steps: Value, path: str, around: Surroundings) -> Iterator[Finding]:
    """Yield what is wrong with the steps of one manifest."""
    if not isinstance(steps.data, dict):
        yield flag(steps, path, "type-wrong", f"expected steps: {', '.join(dialect.STEPS)}")
        return
    names = {name.lower(): name for name in steps.data}
    for name, step in steps.items():
        where = f"{path}.{name}"
        if name.lower() == dialect.SETENV:
            yield from _setenv(step, where, around)
        elif name.lower() not in dialect.STEPS:
            hint = close_to(name.lower(), list(dialect.STEPS)) or f"; one of {', '.join(dialect.STEPS)}"
            yield Finding(steps.keys[name], where, name, "step-unknown", f"not a step: it would never be run{hint}")
        elif around.is_lite and name.lower() not in dialect.LITE_STEPS:
            says = f"nucleus lite never runs it; it knows {', '.join(dialect.LITE_STEPS)}: let startup clean up first"
            yield Finding(steps.keys[name], where, name, "lite-step", says)
        elif around.is_lite and name != name.lower():
            says = "nucleus lite reads steps in lower case only"
            yield Finding(steps.keys[name], where, name, "lite-case", f"{says}; write {name.lower()}")
        else:
            yield from _step(name.lower(), step, where, around)
    if "run" in names and "startup" in names:
        says = "run beside startup: only one of them is carried out; keep startup where others wait for it"
        yield Finding(steps.keys[names["run"]], f"{path}.{names['run']}", names["run"], "run-and-startup", says)


def _step(name: str, step: Value, path: str, around: Surroundings) -> Iterator[Finding]:
    script: Value | None = step
    limit = None
    if isinstance(step.data, dict):
        yield from unknown_keys(step, path, dialect.STEP_KEYS, "a step")
        script, limit = step.get("Script"), step.get("Timeout")
        if around.is_lite and step.get("Skipif") is not None:
            yield flag(step.data.get("Skipif", step), f"{path}.Skipif", "lite-step", "nucleus lite has no Skipif")
        setenv = step.get("Setenv")
        if setenv is not None:
            yield from _setenv(setenv, f"{path}.Setenv", around)
    if script is None or not (script.text or "").strip():
        yield flag(
            script or step, f"{path}.Script", "script-empty", "the step does nothing; give it a script or leave it out"
        )
        return
    seconds = _seconds(limit)
    if limit is not None and seconds is None:
        yield flag(limit, f"{path}.Timeout", "timeout-value", "expected whole seconds, at least 1")
    elif limit is None and name not in dialect.ENDLESS_STEPS:
        yield flag(
            step,
            f"{path}.Timeout",
            "timeout-missing",
            "give the step's Timeout in seconds: the nucleus' own is a guess",
        )
    yield from _script(script, path, seconds)
    yield from _variables(script, path, around)


def _seconds(limit: Value | None) -> int | None:
    if limit is None or isinstance(limit.data, bool):
        return None
    text = str(limit.data)
    return int(text) if text.isdecimal() and int(text) > 0 else None


def _script(script: Value, path: str, seconds: int | None) -> Iterator[Finding]:
    text = script.text or ""
    size = len(text.encode())
    where = f"{path}.Script"
    if size > dialect.MAX_SCRIPT_BYTES:
        says = f"{size} bytes; nucleus lite takes {dialect.MAX_SCRIPT_BYTES}: put it into an artifact and call that"
        yield Finding(script.line, where, "", "script-too-long", says)
    stop = _STOPPING.search(text)
    if stop and seconds is not None and int(stop[1]) >= seconds:
        says = (
            f"the step ends after {seconds} s, before the container's {stop[1]} s: it would be cut off; raise Timeout"
        )
        yield _at(script, stop.start(), where, stop[0], "stop-longer-than-step", says)
    if restarts := _RESTARTING.search(text):
        says = "a container that Docker starts again has a token that is no longer valid; leave it to Greengrass"
        yield _at(script, restarts.start(), where, restarts[0].split()[-1], "container-restarts", says)
    if privileged := _PRIVILEGED.search(text):
        says = "gives the container the whole machine; a GPU comes by --runtime nvidia"
        yield _at(script, privileged.start(), where, "--privileged", "container-privileged", says)


def _variables(text: Value, path: str, around: Surroundings) -> Iterator[Finding]:
    """Yield each brace that is no recipe variable, and each variable that has no value."""
    script = text.text or ""
    where = f"{path}.Script" if not path.endswith("Setenv") else path
    rest = list(script)
    for found in dialect.VARIABLE.finditer(script):
        rest[found.start() : found.end()] = " " * len(found[0])
        component, kind, what = found.groups()
        if component and around.is_lite:
            says = "nucleus lite knows no other component's variables"
            yield _at(text, found.start(), where, found[0], "lite-variable", says)
        elif kind == "configuration":
            if not component and not _is_there(around.default, what):
                says = (
                    "is no key of DefaultConfiguration: nucleus lite ends the step, the classic one leaves it as it is"
                )
                yield _at(text, found.start(), where, found[0], "variable-unknown", says)
            elif around.is_lite and "~1" in what:
                says = "nucleus lite does not read ~1 as a slash; give the key a name without one"
                yield _at(text, found.start(), where, found[0], "lite-variable", says)
        elif what not in dialect.VARIABLES[kind]:
            says = f"of {kind} there is {' and '.join(dialect.VARIABLES[kind])}"
            yield _at(text, found.start(), where, found[0], "variable-unknown", says)
        elif kind == "artifacts" and not component:
            yield from _artifacts_path(text, script, found, where, around.artifacts)
    braces = "".join(rest)
    if match := re.search(r"[{}]", braces):
        excerpt = script[max(0, match.start() - 8) : match.start() + 24].split("\n")[0]
        says = "nucleus lite takes every brace for a recipe variable; write $NAME, or put the script into an artifact"
        yield _at(text, match.start(), where, excerpt.strip(), "script-braces", says)


def _artifacts_path(
    text: Value, script: str, found: re.Match[str], where: str, artifacts: Collection[str]
) -> Iterator[Finding]:
    after = script[found.end() : found.end() + 1]
    if after not in {"", "/", '"', "'", " ", "\n", ":", ";"}:
        says = "write a slash behind it: the path ends with one on nucleus lite only"
        yield _at(text, found.start(), where, f"{found[0]}{after}", "artifacts-path", says)
    elif found[3] == "decompressedPath" and "archive" not in artifacts:
        says = "the manifest has no artifact with Unarchive: ZIP, so that nothing is there"
        yield _at(text, found.start(), where, found[0], "artifacts-path", says)
    elif found[3] == "path" and "file" not in artifacts:
        says = "the manifest brings no file, only images: nothing is there"
        yield _at(text, found.start(), where, found[0], "artifacts-path", says)


def _setenv(group: Value, path: str, around: Surroundings) -> Iterator[Finding]:
    if not isinstance(group.data, dict):
        yield flag(group, path, "type-wrong", "expected variables and their values")
        return
    for value in group.data.values():
        if value.text is not None:
            yield from _variables(value, path, around)


def _is_there(default: Mapping[str, Any], pointer: str) -> bool:
    """Whether a JSON pointer (RFC 6901) finds something."""
    if not pointer.startswith("/"):
        return False
    value: Any = default
    for step in pointer[1:].split("/"):
        key = step.replace("~1", "/").replace("~0", "~")
        if not isinstance(value, dict) or key not in value:
            return False
        value = value[key]
    return True


def _at(script: Value, place: int, path: str, value: str, rule: str, says: str) -> Finding:
    """Return a finding in a line of a script; a block of text begins in the line after its sign."""
    text = script.text or ""
    lines = text.count("\n", 0, place)
    return Finding(script.line + 1 + lines if script.is_block else script.line, path, value, rule, says)
