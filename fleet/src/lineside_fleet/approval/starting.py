"""From an approval to its rollout's first stage. An event that comes twice does what it did the first time."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from lineside.errors import SettingsError
from lineside.settings import Layer, nearest, problems_of, read_file
from lineside_fleet.approval import artefact
from lineside_fleet.approval.event import approved
from lineside_fleet.approval.publication import Published, publish_model
from lineside_fleet.approval.settings import ApprovalSettings, GroupSettings
from lineside_fleet.aws.clients import Aws
from lineside_fleet.errors import FleetError, Refused
from lineside_fleet.rollout import files
from lineside_fleet.rollout.running import Runner
from lineside_fleet.rollout_file import Rollout


def on_approval(
    event: Any, settings: ApprovalSettings, *, aws: Aws | None = None, say: Callable[[str], None] = lambda _: None
) -> str:
    """Publish the approved model and start its rollout; return where the rollout's file is. Raises LinesideError.

    An event that approves nothing, or a model of a group that nobody named, is Refused before anything is asked of AWS.
    """
    found = approved(event)
    group = settings.groups.get(found.group)
    if group is None:
        raise Refused(
            f"{found.group} is no group of the approvals file{nearest(found.group, sorted(settings.groups))}",
            remedy="Nothing was changed: name the group there if its models shall roll out",
        )
    template = _template(group)
    aws = aws or Aws()
    bucket, key = artefact.find(aws, found)
    try:
        with tempfile.TemporaryDirectory(prefix="lineside-approval-") as folder:
            work = Path(folder)
            model = artefact.fetch(aws, bucket, key, work, settings.artefact_bytes)
            published = publish_model(aws, settings, group, found.version, model, work, say)
    except OSError as error:
        raise FleetError(
            f"{error.filename or tempfile.gettempdir()}: {error.strerror}",
            remedy="Make room there, or set TMPDIR: an approval needs thrice the model's bytes; then run it again",
        ) from None
    where = _write(settings, template, f"{found.group}-{found.version}", published, aws)
    rollout, beside = files.read(where, aws)
    state = Runner(rollout, beside, aws=aws).start()
    say(f"rollout {state.name} is {state.phase}: stage {state.current.name}")
    return where


def _template(group: GroupSettings) -> dict[str, Any]:
    """Return the template, found right before anything is published."""
    document = read_file(group.template)
    trial = _filled(document, "trial", Published(group.component or "com.lineside.Model.Trial", "1.0.0", ""))
    try:
        Rollout.model_validate(trial)
    except ValidationError as error:
        raise SettingsError(problems_of(Rollout, error, Layer(str(group.template), trial))) from None
    return document


def _filled(template: dict[str, Any], name: str, published: Published) -> dict[str, Any]:
    components = template.get("components") or {}
    own = components.get(published.component) if isinstance(components, dict) else None
    part = {**(own if isinstance(own, dict) else {}), "version": published.version}
    return {**template, "rollout": name, "components": {**components, published.component: part}}


def _write(settings: ApprovalSettings, template: dict[str, Any], name: str, published: Published, aws: Aws) -> str:
    """Write the rollout file, or find the same one there; return where. Raises Refused where another is."""
    document = _filled(template, name, published)
    if "{rollout}" in str(document.get("state", "")):
        document["state"] = document["state"].replace("{rollout}", name)
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True).encode()
    where = f"{settings.rollouts.rstrip('/')}/{name}.yaml"
    files.keep(where, text, aws)
    return where
