"""A plan and a rollout's state, for people and as JSON. Pure."""

import json
from collections.abc import Sequence

from lineside.tables import table
from lineside_fleet.rollout.planning import Plan
from lineside_fleet.rollout.standing import Standing
from lineside_fleet.state.document import RolloutState

_SHOWN = 4


def _some(things: Sequence[str]) -> str:
    more = len(things) - _SHOWN
    return ", ".join(things[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def plan_text(plan: Plan) -> str:
    """Return the plan as tables."""
    stages = [
        [
            stage.name,
            str(len(stage.things)),
            stage.group + (" (is made)" if stage.owns_group else ""),
            "instead of the target's" if stage.parent_arn else "its own",
            _some(stage.things),
        ]
        for stage in plan.stages
    ]
    text = f"rollout {plan.rollout.rollout} to {plan.target.name}, {plan.devices} devices\n\n"
    text += table(("stage", "devices", "thing group", "set", "things"), stages, right=("devices",))
    for name, changes in plan.changes.items():
        rows = [[each.component, each.before or "-", each.after or "-", each.kind] for each in changes]
        text += f"\nset of stage {name}\n" + table(("component", "now", "then", "is"), rows)
    for recipe in plan.to_make:
        text += f"\nto be made: {recipe['ComponentName']} {recipe['ComponentVersion']}"
    text += "".join(f"\nremark: {remark}" for remark in plan.remarks)
    return text.rstrip("\n") + "\n\nnothing was changed\n"


def plan_json(plan: Plan) -> str:
    """Return the plan as JSON."""
    made = {
        "rollout": plan.rollout.rollout,
        "target": plan.target.arn,
        "stages": [
            {
                "name": stage.name,
                "group": stage.group,
                "makes_group": stage.owns_group,
                "instead_of": stage.parent_arn,
                "things": stage.things,
                "components": stage.components,
                "changes": {each.component: each.kind for each in plan.changes[stage.name] if each.kind != "kept"},
            }
            for stage in plan.stages
        ],
        "recipes": dict(plan.recipes),
        "makes": [f"{recipe['ComponentName']}@{recipe['ComponentVersion']}" for recipe in plan.to_make],
        "remarks": plan.remarks,
    }
    return json.dumps(made, indent=2) + "\n"


def status_text(state: RolloutState, stands: Standing, why: Sequence[str]) -> str:
    """Return how a rollout stands."""
    rows = []
    for index, stage in enumerate(state.stages):
        counts = dict(stands.counts) if index == state.stage else stage.counts
        said = ", ".join(f"{number} {status}" for status, number in counts.items())
        verdict = stage.looks[-1].verdict if stage.looks else ""
        rows.append([stage.name, str(len(stage.things)), stage.phase, said, verdict])
    text = f"rollout {state.name} is {state.phase}\n\n"
    text += table(("stage", "devices", "is", "devices' executions", "gate"), rows, right=("devices",))
    text += f"\nstage {state.current.name} is {stands.state}: {stands.why}\n"
    text += "".join(f"  {each}\n" for each in why)
    return text + "".join(f"{event.at} {event.what}\n" for event in state.log[-5:])


def status_json(state: RolloutState, stands: Standing, why: Sequence[str]) -> str:
    """Return how a rollout stands as JSON."""
    made = {
        "rollout": state.name,
        "phase": state.phase,
        "stage": state.current.name,
        "standing": {"state": stands.state, "why": stands.why, "counts": dict(stands.counts), "failed": list(why)},
        "stages": [
            {
                "name": stage.name,
                "devices": len(stage.things),
                "phase": stage.phase,
                "counts": stage.counts,
                "deployment": stage.deployment_id,
                "looks": [look.model_dump() for look in stage.looks],
            }
            for stage in state.stages
        ],
    }
    return json.dumps(made, indent=2) + "\n"
