"""What is wrong with a recipe: the rules that Greengrass holds it to on the device, and that its schema lets pass.

The public schema takes a mistyped step, `run` beside `startup`, an empty image name, and any `accessControl`; what is
wrong then shows on the device, as a component that does nothing or a deployment that fails. Some rules are ours: no
wildcard in a policy, a time limit for each step, no brace in a script, which nucleus lite would take for a variable.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lineside.recipes import access, artifacts, dialect, lifecycle
from lineside.recipes.document import Value, read
from lineside.recipes.findings import Finding, flag, unknown_keys
from lineside.settings import close_to

__all__ = ["Finding", "check", "check_together"]


@dataclass(frozen=True)
class Checked:
    """One recipe's findings, and for the comparison with others' its name and its policy ids with their lines."""

    findings: tuple[Finding, ...]
    policies: Mapping[str, int]
    component: str
    version: str = ""
    line: int = 1
    """Where its name stands."""


def check(text: str, *, is_json: bool = False) -> Checked:
    """Return what is wrong with one recipe, in the order of its lines."""
    try:
        recipe = read(text, is_json=is_json)
    except ValueError as error:
        return Checked((Finding(1, "", "", "unreadable", str(error)),), {}, "")
    if not isinstance(recipe.data, dict):
        wrong = flag(recipe, "", "not-a-recipe", "expected the keys of a recipe, for instance ComponentName")
        return Checked((wrong,), {}, "")
    found = sorted(_findings(recipe), key=lambda finding: (finding.line, finding.path))
    name, version = recipe.get("ComponentName"), recipe.get("ComponentVersion")
    return Checked(
        tuple(found),
        access.policy_ids(_access(recipe)),
        str(name.data) if name else "",
        str(version.data) if version else "",
        name.line if name else 1,
    )


def check_together(recipes: Mapping[str, Checked]) -> dict[str, list[Finding]]:
    """Return the findings by file, with those that only show when recipes are compared: a policy id or a name twice."""
    found = {file: list(checked.findings) for file, checked in recipes.items()}
    owner: dict[str, tuple[str, str]] = {}
    files: dict[tuple[str, str], str] = {}
    for file, checked in recipes.items():
        if checked.component and (other := files.setdefault((checked.component, checked.version), file)) != file:
            says = f"{checked.version} is in {other} too, and a device gets one of them; give one another version"
            found[file].append(Finding(checked.line, "ComponentName", checked.component, "component-twice", says))
        for policy, line in checked.policies.items():
            first, component = owner.setdefault(policy, (file, checked.component))
            if component != checked.component:
                says = f"also a policy of {component} ({first}); of two components' policies with one id one is lost"
                found[file].append(Finding(line, f"accessControl.{policy}", policy, "policy-id-twice", says))
    return found


_ANY_KIND = ("docker", "file", "archive")
"""Steps for all manifests may use what any of them brings."""


def _findings(recipe: Value) -> Iterator[Finding]:
    yield from _twice(recipe, "")
    yield from unknown_keys(recipe, "", dialect.RECIPE_KEYS, "a recipe")
    yield from _head(recipe)
    yield from _dependencies(recipe)
    yield from _configuration(recipe)
    manifests = recipe.get("Manifests")
    if manifests is not None:
        yield from _manifests(recipe, manifests)
    overall = recipe.get("Lifecycle")
    if overall is not None:
        yield from _overall(recipe, overall)


def _twice(value: Value, path: str) -> Iterator[Finding]:
    """Yield each key that stands twice in one map, wherever it is."""
    for name, line in value.twice:
        says = "given twice in one group: the first would be lost; write one of them"
        yield Finding(line, f"{path}{name}", name, "key-twice", says)
    for name, inner in value.items():
        yield from _twice(inner, f"{path}{name}.")
    for place, inner in value.entries():
        yield from _twice(inner, f"{path}{place}.")


def _head(recipe: Value) -> Iterator[Finding]:
    for key in dialect.REQUIRED_KEYS:
        if recipe.get(key) is None:
            yield flag(recipe, key, "key-missing", "must be given")
    form = recipe.get("RecipeFormatVersion")
    if form is not None and form.data != dialect.FORMAT_VERSION:
        yield flag(form, "RecipeFormatVersion", "format-version", f"the only one is '{dialect.FORMAT_VERSION}'")
    name = recipe.get("ComponentName")
    if name is not None:
        text = name.text or ""
        if len(text) > dialect.MAX_NAME:
            says = f"{len(text)} characters; at most {dialect.MAX_NAME} are taken"
            yield flag(name, "ComponentName", "name-too-long", says)
        elif not dialect.COMPONENT_NAME.fullmatch(text):
            yield flag(
                name, "ComponentName", "name-malformed", "letters, digits and . _ -, for instance com.example.Name"
            )
    version = recipe.get("ComponentVersion")
    if version is not None and not _is_version(version.text or ""):
        says = "expected major.minor.patch of semantic versioning in quotes, for instance '1.4.0'"
        yield flag(version, "ComponentVersion", "version-malformed", says)


def _is_version(text: str) -> bool:
    return len(text) <= dialect.MAX_VERSION and dialect.SEMVER.fullmatch(text) is not None


def _dependencies(recipe: Value) -> Iterator[Finding]:
    dependencies = recipe.get("ComponentDependencies")
    if dependencies is None:
        return
    where = "ComponentDependencies"
    if not isinstance(dependencies.data, dict):
        yield flag(dependencies, where, "type-wrong", "expected components by name")
        return
    for name, entry in dependencies.items():
        path = f"{where}.{name}"
        yield from unknown_keys(entry, path, dialect.DEPENDENCY_KEYS, "a dependency")
        needed = entry.get("VersionRequirement")
        if needed is None:
            yield flag(
                entry, path, "dependency-range", "has no VersionRequirement; give a range, for instance '^1.2.0'"
            )
        elif not dialect.RANGE.fullmatch((needed.text or "").strip()):
            says = "not a range of versions; for instance '^1.2.0', '~1.2.0' or '>=1.2.0 <2.0.0'"
            yield flag(needed, f"{path}.VersionRequirement", "dependency-range", says)
        kind = entry.get("DependencyType")
        if kind is not None and kind.data not in {"HARD", "SOFT"}:
            yield flag(kind, f"{path}.DependencyType", "dependency-type", "HARD or SOFT")


def _access(recipe: Value) -> Value | None:
    configuration = recipe.get("ComponentConfiguration")
    default = configuration.get("DefaultConfiguration") if configuration else None
    return default.get("accessControl") if default else None


def _configuration(recipe: Value) -> Iterator[Finding]:
    configuration = recipe.get("ComponentConfiguration")
    if configuration is None:
        return
    yield from unknown_keys(configuration, "ComponentConfiguration", ("DefaultConfiguration",), "a configuration")
    default = configuration.get("DefaultConfiguration")
    if default is None:
        return
    if not isinstance(default.data, dict):
        yield flag(default, "ComponentConfiguration.DefaultConfiguration", "type-wrong", "expected names and values")
        return
    for name in default.data:
        if name != "accessControl" and name.lower() in {"accesscontrol", "access_control", "accesscontrols"}:
            line = default.keys[name]
            says = "is not accessControl: the nucleus would see no policy, and refuse every operation"
            yield Finding(line, f"DefaultConfiguration.{name}", name, "access-misspelt", says)
    yield from access.findings(default.data.get("accessControl"))


def _manifests(recipe: Value, manifests: Value) -> Iterator[Finding]:
    if not isinstance(manifests.data, list) or not manifests.data:
        yield flag(manifests, "Manifests", "type-wrong", "expected a list with at least one manifest")
        return
    default = _default(recipe)
    dependencies = recipe.get("ComponentDependencies")
    names = tuple(dependencies.data) if dependencies and isinstance(dependencies.data, dict) else ()
    before: list[tuple[int, Mapping[str, str]]] = []
    for place, manifest in manifests.entries():
        path = f"Manifests.{place}"
        if not isinstance(manifest.data, dict):
            yield flag(manifest, path, "type-wrong", "expected the keys of a manifest")
            continue
        yield from unknown_keys(manifest, path, dialect.MANIFEST_KEYS, "a manifest")
        platform = _platform(manifest)
        yield from _platform_findings(manifest, path)
        yield from _unreachable(manifest, path, platform, before)
        before.append((place, platform))
        is_lite = platform.get("runtime") == dialect.LITE
        own = manifest.get("Artifacts")
        steps = manifest.get("Lifecycle")
        if steps is None and recipe.get("Lifecycle") is None:
            yield flag(
                manifest,
                path,
                "lifecycle-missing",
                "has no Lifecycle, and the recipe has none for all: it does nothing",
            )
        yield from artifacts.findings(own, path, names, is_lite=is_lite)
        if steps is not None:
            around = lifecycle.Surroundings(artifacts.kinds(own), default, is_lite)
            yield from lifecycle.findings(steps, f"{path}.Lifecycle", around)


def _default(recipe: Value) -> Mapping[str, Any]:
    configuration = recipe.get("ComponentConfiguration")
    default = configuration.get("DefaultConfiguration") if configuration else None
    plain = default.plain() if default else None
    return plain if isinstance(plain, dict) else {}


def _overall(recipe: Value, overall: Value) -> Iterator[Finding]:
    """Yield the findings of the lifecycle for all manifests: steps, or steps by selection."""
    around = lifecycle.Surroundings(_ANY_KIND, _default(recipe), is_lite=False)
    selections = {
        name: value
        for name, value in overall.items()
        if name.lower() not in (*dialect.STEPS, dialect.SETENV)
        and isinstance(value.data, dict)
        and not value.get("Script")
    }
    steps = {name: value for name, value in overall.items() if name not in selections}
    if steps:
        part = Value(steps, overall.line, overall.keys)
        yield from lifecycle.findings(part, "Lifecycle", around)
    for name, value in selections.items():
        yield from lifecycle.findings(value, f"Lifecycle.{name}", around)


def _platform(manifest: Value) -> dict[str, str]:
    platform = manifest.get("Platform")
    return {name: str(value.data) for name, value in platform.items()} if platform else {}


def _platform_findings(manifest: Value, path: str) -> Iterator[Finding]:
    platform = manifest.get("Platform")
    if platform is None:
        return
    if not isinstance(platform.data, dict):
        yield flag(platform, f"{path}.Platform", "type-wrong", "expected attributes and values")
        return
    for name, value in platform.items():
        where = f"{path}.Platform.{name}"
        known = {"os": dialect.OPERATING_SYSTEMS, "architecture": dialect.ARCHITECTURES}.get(name)
        if value.text is None:
            yield flag(value, where, "platform-value", "only text is compared; put it in quotes")
        elif value.text.startswith("/") and _platform(manifest).get("runtime") == dialect.LITE:
            yield flag(value, where, "lite-regex", "nucleus lite knows no expressions; name the value")
        elif known and not value.text.startswith("/") and value.text not in known:
            meant = dialect.OTHER_NAMES.get(value.text)
            near = f"; it is called {meant!r}" if meant else close_to(value.text, list(known))
            hint = near or f"; one of {', '.join(known)}"
            yield flag(value, where, "platform-value", f"no device has this {name}{hint}")


def _unreachable(
    manifest: Value, path: str, platform: Mapping[str, str], before: Sequence[tuple[int, Mapping[str, str]]]
) -> Iterator[Finding]:
    """Yield a finding where an earlier manifest takes every device that this one would: the first that fits wins."""
    for place, earlier in before:
        if all(value in {"*", "all"} or platform.get(name) == value for name, value in earlier.items()):
            shown = ", ".join(f"{name} {value}" for name, value in platform.items()) or "any platform"
            says = (
                f"({shown}) is never chosen: Manifests.{place} fits the same devices and stands first; strictest first"
            )
            yield Finding(manifest.line, path, shown, "manifest-unreachable", says)
            return
