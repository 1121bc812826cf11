from typing import Any

import pytest

from lineside_deployer.desired.document import Definition, Deployment, Digest
from lineside_deployer.planning import plan
from lineside_deployer.records import Installed, Phase, Record

SUM = "0a" * 32


def wanted(state: str = "DEPLOY", digest: str = SUM) -> Deployment:
    more: Any = {"S3Url": "s3://bucket/key", "Checksum": Digest(Type="SHA256", Sum=digest)}
    return Deployment(
        DeploymentName="d",
        Definitions=(Definition(ModelHandle="m", State=state, **more),),  # type: ignore[arg-type]
    )


HERE = {"m": Installed(handle="m", checksum=f"SHA256:{SUM}", version="2", deployment="d")}


def actions(record: Record | None) -> list[str] | None:
    return None if record is None else [each.action for each in record.models]


@pytest.mark.parametrize(
    ("deployment", "installed", "present", "expected"),
    [
        (wanted(), {}, {}, "install"),
        (wanted(), {}, {"m": "2"}, "install"),
        (wanted(), HERE, {"m": "2"}, "none"),
        (wanted(), HERE, {"m": "1"}, "install"),
        (wanted(), HERE, {}, "install"),
        (wanted(digest="0b" * 32), HERE, {"m": "2"}, "install"),
        (wanted(digest=SUM.upper()), HERE, {"m": "2"}, "none"),
        (wanted("UNDEPLOY"), HERE, {"m": "2"}, "withdraw"),
        (wanted("UNDEPLOY"), {}, {"m": "2"}, "withdraw"),
        (wanted("UNDEPLOY"), HERE, {}, "none"),
    ],
)
def test_what_is_done_depends_on_what_is_there(
    deployment: Deployment, installed: dict[str, Installed], present: dict[str, str], expected: str
) -> None:
    assert actions(plan(deployment, None, installed, present, 0.0)) == [expected]


def ended(deployment: Deployment, status: Any, **fields: Any) -> Record:
    record = plan(deployment, None, {}, {"m": "2"} if deployment.Definitions[0].State == "UNDEPLOY" else {}, 1.0)
    assert record is not None
    for each in record.models:
        each.status = status
    return record.model_copy(update={"phase": Phase.DONE, "ended": 2.0} | fields)


def test_what_was_done_is_done_again_only_where_it_is_not_there_any_more() -> None:
    done = ended(wanted(), "SUCCESS")
    assert plan(wanted(), done, HERE, {"m": "2"}, 3.0) is None
    assert actions(plan(wanted(), done, HERE, {}, 3.0)) == ["install"]


def test_what_failed_waits_for_another_document() -> None:
    failed = ended(wanted(), "FAIL")
    assert plan(wanted(), failed, {}, {}, 3.0) is None
    assert actions(plan(wanted(digest="0c" * 32), failed, {}, {}, 3.0)) == ["install"]
    assert actions(plan(wanted(), failed.model_copy(update={"may_retry": True}), {}, {}, 3.0)) == ["install"]


def test_what_was_begun_goes_on_as_it_was_begun() -> None:
    begun = plan(wanted(), None, {}, {}, 1.0)
    assert plan(wanted(), begun, HERE, {"m": "2"}, 3.0) is begun
