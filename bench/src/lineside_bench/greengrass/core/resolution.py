"""Which versions of components go together, and the order in which they start and stop. Pure.

The components of the deployment have the versions that it names. What they depend on gets the highest version that all
who need it allow, of the recipes that are there; a component of AWS' own has no recipe here and is taken as provided.
"""

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType

from semantic_version import Version

from lineside_bench.greengrass.core.recipe import Dependency, DependencyType, Recipe

PROVIDED: Mapping[str, str] = MappingProxyType(
    {
        "aws.greengrass.Nucleus": "2.12.6",
        "aws.greengrass.NucleusLite": "2.6.0",
        "aws.greengrass.Cli": "2.12.6",
        "aws.greengrass.DockerApplicationManager": "2.0.13",
        "aws.greengrass.TokenExchangeService": "2.0.3",
        "aws.greengrass.ShadowManager": "2.3.9",
        "aws.greengrass.StreamManager": "2.1.13",
        "aws.greengrass.SecretManager": "2.1.8",
        "aws.greengrass.LogManager": "2.3.8",
        "aws.greengrass.Cloudwatch": "3.2.0",
    }
)
"""Components of AWS' own that count as there and RUNNING, in these versions."""


class Unresolvable(Exception):
    """No versions fulfil what a deployment asks for; the text says of which component, and who asks for what."""


def resolve(
    roots: Mapping[str, str], recipes: Iterable[Recipe], provided: Mapping[str, str] = PROVIDED
) -> dict[str, Recipe]:
    """Return the recipe of each component that a deployment brings, by name. Raises Unresolvable."""
    known: dict[str, dict[str, Recipe]] = {}
    for recipe in recipes:
        known.setdefault(recipe.name, {})[recipe.version] = recipe
    chosen: dict[str, Recipe] = {}
    for name, version in roots.items():
        if name in provided and name not in known:
            continue
        chosen[name] = _exact(name, version, known.get(name, {}))
    tried: set[frozenset[tuple[str, str]]] = set()
    while True:
        needs = _needs(chosen, provided, known)
        after = {name: recipe for name, recipe in chosen.items() if name in roots}
        for name, wanted in needs.items():
            if name in roots and name in chosen:
                _check(name, chosen[name].version, wanted)
            elif name in provided and name not in known:
                _check(name, roots.get(name, provided[name]), wanted)
            else:
                after[name] = _highest(name, wanted, known.get(name, {}))
        if after == chosen:
            return chosen
        state = frozenset((name, recipe.version) for name, recipe in after.items())
        if state in tried:
            raise Unresolvable(f"the ranges of {', '.join(sorted(needs))} contradict each other; none fits all")
        tried.add(state)
        chosen = after


def order(chosen: Mapping[str, Recipe]) -> list[str]:
    """Return the names in the order of their start: what another needs before it, else by name.

    Raises Unresolvable where components need each other in a circle.
    """
    done: list[str] = []

    def visit(name: str, way: tuple[str, ...]) -> None:
        if name in way:
            raise Unresolvable(f"components depend on each other in a circle: {' > '.join([*way, name])}")
        if name in done:
            return
        for each in sorted(dependency.name for dependency in chosen[name].dependencies):
            if each in chosen:
                visit(each, (*way, name))
        done.append(name)

    for name in sorted(chosen):
        visit(name, ())
    return done


def closure(name: str, chosen: Mapping[str, Recipe]) -> set[str]:
    """Return the names of all that a component depends on, provided ones too."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        recipe = chosen.get(waiting.pop())
        new = {each.name for each in recipe.dependencies} - found if recipe else set()
        found |= new
        waiting.extend(new)
    return found


def hard(recipe: Recipe, names: Collection[str]) -> list[str]:
    """Return which of these components a recipe needs HARD."""
    return [each.name for each in recipe.dependencies if each.kind is DependencyType.HARD and each.name in names]


Asked = list[tuple[str, Dependency]]
"""Who asks for a component, and for what of it."""


def _needs(
    chosen: Mapping[str, Recipe], provided: Mapping[str, str], known: Mapping[str, Mapping[str, Recipe]]
) -> dict[str, Asked]:
    needs: dict[str, Asked] = {}
    for name, recipe in chosen.items():
        for dependency in recipe.dependencies:
            needs.setdefault(dependency.name, []).append((f"{name} {recipe.version}", dependency))
    for name, wanted in needs.items():
        if name not in known and name not in provided:
            raise Unresolvable(f"no recipe of {name} is there; {_asks(wanted)}")
    return needs


def _exact(name: str, version: str, known: Mapping[str, Recipe]) -> Recipe:
    if version in known:
        return known[version]
    there = f"there are {', '.join(_sorted(known))}" if known else "no recipe of it is there"
    raise Unresolvable(f"{name} {version} is deployed; {there}")


def _check(name: str, version: str, wanted: Asked) -> None:
    if not all(dependency.allows(version) for _by, dependency in wanted):
        raise Unresolvable(f"{name} is deployed in {version}; {_asks(wanted)}")


def _highest(name: str, wanted: Asked, known: Mapping[str, Recipe]) -> Recipe:
    for version in reversed(_sorted(known)):
        if all(dependency.allows(version) for _by, dependency in wanted):
            return known[version]
    raise Unresolvable(f"of {name} there are {', '.join(_sorted(known))}; {_asks(wanted)}")


def _asks(wanted: Asked) -> str:
    return ", ".join(f"{by} asks for {dependency.requirement}" for by, dependency in wanted)


def _sorted(versions: Iterable[str]) -> list[str]:
    return sorted(versions, key=Version)
