"""What is to be done for a deployment: from what is wanted, what was done, and what is there."""

from collections.abc import Mapping

from lineside_deployer.desired.document import Definition, Deployment
from lineside_deployer.records import Installed, ModelRecord, Phase, Record


def plan(
    deployment: Deployment,
    known: Record | None,
    installed: Mapping[str, Installed],
    present: Mapping[str, str],
    now: float,
) -> Record | None:
    """Return the deployment to carry out, None where nothing is to be done.

    `known` is the latest record of its name, `installed` what deployments have brought, `present` the version of each
    model in the repository. What was begun goes on as it was begun; what failed is tried again with another document
    only, or where the cause may have gone.
    """
    is_same = known is not None and known.digest == deployment.digest
    if known is not None and is_same and not known.is_done:
        return known
    models = [_model(each, installed, present) for each in deployment.Definitions]
    if known is not None and is_same:
        if known.status == "FAIL" and not known.may_retry:
            return None
        if known.status == "SUCCESS" and all(each.action == "none" for each in models):
            return None
    return Record(deployment=deployment, digest=deployment.digest, phase=Phase.FETCHING, models=models, started=now)


def _model(definition: Definition, installed: Mapping[str, Installed], present: Mapping[str, str]) -> ModelRecord:
    handle, version = definition.ModelHandle, present.get(definition.ModelHandle)
    if definition.Checksum is None or definition.State == "UNDEPLOY":
        action = "withdraw" if version is not None else "none"
        return ModelRecord(handle=handle, desired="UNDEPLOY", action=action, version=version)
    checksum = f"{definition.Checksum.Type}:{definition.Checksum.Sum.lower()}"
    ours = installed.get(handle)
    is_here = ours is not None and ours.checksum == checksum and ours.version == version
    return ModelRecord(
        handle=handle, desired="DEPLOY", action="none" if is_here else "install", checksum=checksum, version=version
    )
