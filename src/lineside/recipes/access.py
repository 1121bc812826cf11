"""The rules of `accessControl`: services, policies, operations, resources."""

import re
from collections.abc import Iterator

from lineside.greengrass.services import OPERATIONS, PUBSUB
from lineside.recipes.document import Value
from lineside.recipes.findings import Finding, flag, unknown_keys
from lineside.settings import nearest

_KEYS = ("policyDescription", "operations", "resources")
_WILDCARDS = re.compile(r"\*(?!\})")
_PUBSUB_WILDCARDS = re.compile(r"(?:^|/)[+#](?:/|$)")


def findings(control: Value | None) -> Iterator[Finding]:
    """Yield what is wrong with the policies of one component."""
    if control is None:
        return
    where = "accessControl"
    if not isinstance(control.data, dict):
        yield flag(control, where, "access-malformed", "expected services, each with its policies by id")
        return
    seen: dict[str, int] = {}
    for service, policies in control.items():
        path = f"{where}.{service}"
        if service not in OPERATIONS:
            known = nearest(service, list(OPERATIONS))
            yield Finding(control.keys[service], path, service, "access-service", f"not a service of IPC{known}")
            continue
        if not isinstance(policies.data, dict) or not policies.data:
            yield flag(
                policies, path, "access-malformed", "expected policies by id, each with operations and resources"
            )
            continue
        for policy, entry in policies.items():
            line = policies.keys[policy]
            if policy in seen:
                says = f"also in line {seen[policy]}; a policy's id is its own among all components"
                yield Finding(line, f"{path}.{policy}", policy, "policy-id-twice", says)
            seen.setdefault(policy, line)
            yield from _policy(service, entry, f"{path}.{policy}")


def policy_ids(control: Value | None) -> dict[str, int]:
    """Return the ids of a component's policies with their lines."""
    services = control.items() if control else ()
    return {policy: group.keys[policy] for _service, group in services for policy, _entry in group.items()}


def _policy(service: str, entry: Value, path: str) -> Iterator[Finding]:
    if not isinstance(entry.data, dict):
        yield flag(entry, path, "access-malformed", "expected operations and resources")
        return
    yield from unknown_keys(entry, path, _KEYS, "a policy")
    operations, resources = entry.get("operations"), entry.get("resources")
    for name, given in (("operations", operations), ("resources", resources)):
        if given is None or not isinstance(given.data, list) or not given.data:
            yield flag(given or entry, f"{path}.{name}", "access-malformed", "expected a list with at least one entry")
    yield from _operations(service, operations, f"{path}.operations")
    yield from _resources(service, resources, f"{path}.resources")


def _operations(service: str, operations: Value | None, path: str) -> Iterator[Finding]:
    for place, each in operations.entries() if operations else ():
        where = f"{path}.{place}"
        if each.text is not None and "*" in each.text:
            yield flag(each, where, "access-wildcard", "every operation is allowed by it; list those that are used")
        elif each.text not in OPERATIONS[service]:
            known = nearest(str(each.data), list(OPERATIONS[service]))
            yield flag(each, where, "access-operation", f"not an operation of {service}{known}")


def _resources(service: str, resources: Value | None, path: str) -> Iterator[Finding]:
    for place, each in resources.entries() if resources else ():
        where = f"{path}.{place}"
        if not each.text:
            yield flag(each, where, "access-malformed", "expected a topic, shadow or resource as text")
        elif _WILDCARDS.search(each.text):
            yield flag(each, where, "access-wildcard", "stands for resources that nobody listed; list each")
        elif service == PUBSUB and _PUBSUB_WILDCARDS.search(each.text):
            says = (
                "+ and # are plain characters in a policy of local topics: it allows no topic that is used; list each"
            )
            yield flag(each, where, "access-topic", says)
