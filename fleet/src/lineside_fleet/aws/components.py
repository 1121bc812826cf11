"""Component versions: what the account, or AWS itself, has of them."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lineside.documents import read_json
from lineside_fleet.aws.clients import Api
from lineside_fleet.errors import AwsError, Refused

_MISSING = ("ResourceNotFoundException",)
_TRIES = 60


@dataclass(frozen=True)
class Owner:
    """Whose components: an account in a region."""

    account: str
    region: str

    def arn(self, name: str, version: str, account: str | None = None) -> str:
        """Return a version's ARN; `account` is `aws` for AWS' own."""
        return f"arn:aws:greengrass:{self.region}:{account or self.account}:components:{name}:versions:{version}"


def find_recipe(greengrass: Api, owner: Owner, name: str, version: str) -> dict[str, Any] | None:
    """Return a version's recipe, None where neither the account nor AWS has it; raises AwsError.

    The account's own comes first: a private component takes the place of the public one of its name.
    """
    own = [owner.arn(name, version)]
    for arn in [*own, owner.arn(name, version, "aws")] if name.startswith("aws.") else own:
        answer = greengrass.call("get_component", absent=_MISSING, arn=arn, recipeOutputFormat="JSON")
        if answer is not None:
            recipe = read_json(answer["recipe"])
            return recipe if isinstance(recipe, dict) else {}
    return None


def create(greengrass: Api, owner: Owner, recipe: dict[str, Any], token: str, pause: Callable[[float], None]) -> None:
    """Make a component version and return when it can be deployed; raises Refused, AwsError.

    A version that is there already is left as it is: whoever calls has compared it, or does so next.
    """
    name, version = str(recipe["ComponentName"]), str(recipe["ComponentVersion"])
    text = json.dumps(recipe).encode()
    greengrass.call("create_component_version", absent=("ConflictException",), inlineRecipe=text, clientToken=token)
    for attempt in range(_TRIES):
        status = greengrass.ask("describe_component", arn=owner.arn(name, version)).get("status") or {}
        match status.get("componentState"):
            case "DEPLOYABLE":
                return
            case "FAILED" | "DEPRECATED":
                why = status.get("errors") or status.get("message")
                raise Refused(
                    f"component {name} {version} cannot be deployed: {status['componentState']}: {why}",
                    remedy="Correct the recipe, and give it a new version",
                )
        pause(min(10.0, 0.5 * 2**attempt))
    raise AwsError(
        f"component {name} {version} is not deployable yet",
        remedy="AWS still works on it: run the command again",
        transient=True,
    )
