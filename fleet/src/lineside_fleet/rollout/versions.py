"""The component versions of a rollout: made where the account lacks them, and the same from its start to its end."""

from collections.abc import Callable
from pathlib import Path

from lineside.recipes import comparing
from lineside.settings import read_file
from lineside_fleet.aws import components
from lineside_fleet.aws.clients import Aws
from lineside_fleet.errors import Refused
from lineside_fleet.rollout import carrying
from lineside_fleet.rollout_file import Rollout
from lineside_fleet.state.document import RolloutState


def make(aws: Aws, state: RolloutState, rollout: Rollout, folder: Path, pause: Callable[[float], None]) -> None:
    """Make the versions that the account lacks, and see that all are what was planned; raises Refused, AwsError."""
    owner = _owner(state)
    for name, wanted in rollout.components.items():
        if wanted.recipe is None:
            continue
        if components.find_recipe(aws.greengrass, owner, name, wanted.version) is None:
            recipe = read_file(folder / wanted.recipe)
            step = carrying.token(state.id, name, wanted.version)
            components.create(aws.greengrass, owner, recipe, step, pause)
    hold_still(aws, state, rollout)


def hold_still(aws: Aws, state: RolloutState, rollout: Rollout) -> None:
    """Raise Refused where a component that the rollout brings is not what it was at the start; AwsError."""
    for name, wanted in rollout.components.items():
        recipe = components.find_recipe(aws.greengrass, _owner(state), name, wanted.version)
        planned = state.recipes.get(f"{name}@{wanted.version}")
        if recipe is None or comparing.fingerprint(recipe) != planned:
            raise Refused(
                f"component {name} {wanted.version} is {'gone' if recipe is None else 'not what was planned'}",
                remedy="Somebody deleted it, or made it anew: roll back, and start a new rollout",
            )


def _owner(state: RolloutState) -> components.Owner:
    account, region = state.stages[-1].target_arn.split(":")[4], state.stages[-1].target_arn.split(":")[3]
    return components.Owner(account, region)
