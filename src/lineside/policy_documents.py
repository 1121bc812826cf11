"""A policy as a document: read with everything that is wrong with it, for every door that takes one."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

from lineside.contract import Capture, Policy
from lineside.documents import read_json
from lineside.wording import words

_SHOWN = 80
_WHAT: Mapping[str, type[BaseModel]] = {"policy.capture.": Capture, "policy.": Policy}


class PolicyFaults(ValueError):
    """A document is no policy; `faults` has a sentence for each thing that is wrong, its path first."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


def read_policy(payload: bytes) -> Policy:
    """Read a policy from JSON; raises PolicyFaults with every fault."""
    try:
        document = read_json(payload)
    except ValueError as error:
        raise PolicyFaults([f"policy: {error}"]) from None
    return policy_of(document)


def policy_of(document: Any, *, strict: bool = False) -> Policy:
    """Return the policy that a JSON value is; raises PolicyFaults with every fault.

    strict: true and false are no text, and numbers neither; else `"0.6"` and `"true"` mean what they say.
    """
    try:
        if strict:  # by JSON, for which a list is what Python calls a tuple
            return Policy.model_validate_json(to_json(document, inf_nan_mode="strings"), strict=True)
        return Policy.model_validate(document)
    except ValidationError as error:
        raise PolicyFaults([_fault(item) for item in error.errors(include_url=False)]) from None


def named(policy: Policy) -> dict[str, Any]:
    """Return what a policy names, as JSON: not what it leaves to the defaults."""
    return policy.model_dump(mode="json", exclude_unset=True)


def _fault(item: Mapping[str, Any]) -> str:
    path = ".".join(("policy", *(str(part) for part in item["loc"])))
    if item["type"] == "extra_forbidden":
        kind = next(kind for start, kind in _WHAT.items() if path.startswith(start))
        return f"{path}: not a part of a policy. Known: {', '.join(kind.model_fields)}"
    return f"{path}: {words(item)} (got {item['input']!r:.{_SHOWN}})"
