"""The plan: everything is looked at, and everything that is wrong is said, before anything changes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lineside.recipes import comparing
from lineside.settings import read_file
from lineside_fleet.aws import components, deployments, things
from lineside_fleet.aws.clients import Aws
from lineside_fleet.aws.deployments import Revision
from lineside_fleet.aws.things import Core, Group
from lineside_fleet.errors import Refused
from lineside_fleet.rollout import component_set, images, recipes, stages
from lineside_fleet.rollout.component_set import Change
from lineside_fleet.rollout_file import FLEET, Rollout
from lineside_fleet.state.document import Before, StageState

LITE = "aws_nucleus_lite"
_SHOWN = 5


@dataclass(frozen=True)
class Plan:
    """What a rollout will do; `to_make` are recipes of component versions that the account has not yet."""

    rollout: Rollout
    target: Group
    stages: list[StageState]
    changes: Mapping[str, list[Change]]
    recipes: Mapping[str, str]
    to_make: list[dict[str, Any]]
    remarks: list[str] = field(default_factory=list)

    @property
    def devices(self) -> int:
        """How many devices the target has."""
        return len(self.stages[-1].things)


def owned_group(rollout: str, stage: str) -> str:
    """Return the name of the thing group that a rollout makes for a stage."""
    return f"lineside-{rollout}-{stage}".replace(".", "_")


def plan(aws: Aws, rollout: Rollout, folder: Path) -> Plan:
    """Return what would happen; changes nothing. Raises Refused with every problem, SettingsError, AwsError.

    `folder` is the rollout file's: recipes are named from there.
    """
    target = _group(aws, rollout.target, "target")
    fleet = things.members(aws.iot, target.name)
    if not fleet:
        raise Refused(f"target: group {target.name} is empty", remedy="Add its core devices to it")
    groups = {name: _group(aws, name, "stages") for name in dict.fromkeys(s.group for s in rollout.stages if s.group)}
    members = {name: things.members(aws.iot, name) for name in groups}
    selected, problems = stages.select(rollout, fleet, members)

    base = deployments.latest(aws.greengrass, target.arn)
    made = [_stage_state(aws, rollout, each, groups, target, base) for each in selected]
    final = StageState(
        name=FLEET,
        group=target.name,
        target_arn=target.arn,
        things=fleet,
        before=_before(base),
        restores=dict(base.components) if base else {},
        components=component_set.new_set(base.components if base else {}, rollout),
    )
    made.append(final)

    found, to_make, wrong = _recipes(aws, rollout, folder, target, made)
    problems += wrong
    cores = things.cores(aws.greengrass, target.arn)
    for each in selected:
        if not each.within and each.stage.group:
            cores |= things.cores(aws.greengrass, groups[each.stage.group].arn)
    problems += _device_problems(
        made, cores, {name.partition("@")[0]: recipe for name, recipe in found.items()}, rollout
    )
    if problems:
        raise Refused("\n".join(problems), remedy="Nothing was changed: correct it and plan again")
    return Plan(
        rollout=rollout,
        target=target,
        stages=made,
        changes={stage.name: component_set.changes(stage.restores, stage.components) for stage in made},
        recipes={name: comparing.fingerprint(recipe) for name, recipe in found.items()},
        to_make=to_make,
        remarks=list(_remarks(made, found, cores, rollout)),
    )


def _group(aws: Aws, name: str, where: str) -> Group:
    found = things.find_group(aws.iot, name)
    if found is None:
        raise Refused(f"{where}: there is no thing group {name!r}", remedy="Make it, or correct the name")
    return found


def _before(revision: Revision | None) -> Before | None:
    if revision is None:
        return None
    return Before(
        deployment_id=revision.id,
        components=dict(revision.components),
        policies=dict(revision.policies),
        job_settings=dict(revision.job_settings),
    )


def _stage_state(
    aws: Aws,
    rollout: Rollout,
    selected: stages.Selected,
    groups: Mapping[str, Group],
    target: Group,
    base: Revision | None,
) -> StageState:
    stage = selected.stage
    own = groups[stage.group] if stage.group else None
    before = deployments.latest(aws.greengrass, own.arn) if own else None
    # Within the target the devices have the target's set, unless the group's own is newer and in its place.
    source = before if before is not None and (not selected.within or _is_newer(before, base)) else None
    restored = source or (base if selected.within else None)
    return StageState(
        name=stage.name,
        group=own.name if own else owned_group(rollout.rollout, stage.name),
        target_arn=own.arn if own else "",
        owns_group=own is None,
        parent_arn=target.arn if selected.within else None,
        things=list(selected.things),
        before=_before(before),
        restores=dict(restored.components) if restored else {},
        components=component_set.new_set(restored.components if restored else {}, rollout),
    )


def _is_newer(own: Revision, base: Revision | None) -> bool:
    return own.parent is not None and (base is None or own.created > base.created)


def _recipes(
    aws: Aws, rollout: Rollout, folder: Path, target: Group, made: Sequence[StageState]
) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]], list[str]]:
    """Return the recipe of each component of all sets, those that are to be made, and what is wrong."""
    owner = components.Owner(target.account, target.region)
    wanted = {(name, part["componentVersion"]) for stage in made for name, part in stage.components.items()}
    found: dict[str, dict[str, Any]] = {}
    to_make: list[dict[str, Any]] = []
    problems: list[str] = []
    for name, version in sorted(wanted):
        asked = rollout.components.get(name)
        file = asked.recipe if asked is not None else None
        there = components.find_recipe(aws.greengrass, owner, name, version)
        recipe = there
        if file is not None:
            ours = read_file(folder / file)
            problems += _recipe_problems(name, version, ours, there, folder / file)
            if there is None:
                recipe = ours
                to_make.append(ours)
        if recipe is None:
            problems.append(
                f"components.{name}: neither the account nor AWS has version {version}; publish it, or name its recipe"
            )
        else:
            found[f"{name}@{version}"] = recipe
    # What the target runs already is as it is; what the rollout brings has to be pinned.
    brought = {
        name: recipes.images(recipe) for name, recipe in found.items() if name.partition("@")[0] in rollout.components
    }
    return found, to_make, [*problems, *images.problems(brought, rollout.images)]


def _recipe_problems(
    name: str, version: str, ours: Mapping[str, Any], there: Mapping[str, Any] | None, file: Path
) -> Iterator[str]:
    said = (str(ours.get("ComponentName")), str(ours.get("ComponentVersion")))
    if said != (name, version):
        yield f"{file}: is the recipe of {said[0]} {said[1]}, and the rollout wants {name} {version}"
    elif there is not None:
        places = list(comparing.differences(comparing.canonical(ours), comparing.canonical(there)))
        if places:
            yield (
                f"components.{name}: version {version} exists with other content than {file.name}, at "
                f"{', '.join(places[:_SHOWN])}; a version never changes: give the recipe a new one"
            )


def _device_problems(
    made: Sequence[StageState], cores: Mapping[str, Core], found: Mapping[str, Any], rollout: Rollout
) -> Iterator[str]:
    strangers = sorted({thing for stage in made for thing in stage.things if thing not in cores})
    if strangers:
        shown = ", ".join(strangers[:_SHOWN])
        yield f"{len(strangers)} things of the stages are no core devices ({shown}); take them out of the groups"
    for name in rollout.components:
        fits = recipes.architectures(found[name]) if name in found else None
        if fits is None:
            continue
        wrong = sorted(
            {
                thing
                for stage in made
                for thing in stage.things
                if thing in cores
                and recipes.ARCHITECTURES.get(cores[thing].architecture, cores[thing].architecture) not in fits
            }
        )
        if wrong:
            kinds = ", ".join(sorted({cores[thing].architecture for thing in wrong}))
            yield (
                f"components.{name}: has manifests for {', '.join(sorted(fits))}, and {len(wrong)} devices are {kinds} "
                f"({', '.join(wrong[:_SHOWN])})"
            )


def _remarks(
    made: Sequence[StageState], found: Mapping[str, Any], cores: Mapping[str, Core], rollout: Rollout
) -> Iterator[str]:
    pinned = set(made[-1].components)
    needed = {need for recipe in found.values() for need in recipes.dependencies(recipe)} - pinned
    if "aws.greengrass.Nucleus" not in pinned and "aws.greengrass.NucleusLite" not in pinned:
        needed.add("aws.greengrass.Nucleus")
    if needed:
        yield (
            f"not pinned: {', '.join(sorted(needed))}: each device takes the newest version that fits when it deploys, "
            "so devices can come to differ; add them to components"
        )
    lite = sum(cores[thing].runtime == LITE for thing in made[-1].things if thing in cores)
    if lite and rollout.failures.handling == "ROLLBACK":
        yield f"{lite} devices run nucleus lite, which rolls nothing back: `lineside fleet rollback` does it for them"
    away = sum(cores[thing].status != "HEALTHY" for thing in made[-1].things if thing in cores)
    if away:
        yield f"{away} devices are not HEALTHY before the rollout"
    for stage in made[:-1]:
        if stage.before is None and stage.parent_arn is None:
            yield f"stage {stage.name}: its group has no deployment yet; a rollback leaves it with no components"
