"""EventBridge's event of the Model Registry: whether it approves a model, and which. Pure."""

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lineside.contract import explain
from lineside_fleet.errors import Refused

SOURCE, KIND = "aws.sagemaker", "SageMaker Model Package State Change"


class _Detail(BaseModel):
    model_config = ConfigDict(frozen=True)

    ModelPackageGroupName: Annotated[str, Field(min_length=1, max_length=63)]
    ModelPackageVersion: Annotated[int, Field(ge=1)]
    ModelPackageArn: Annotated[str, Field(pattern=r"^arn:[^:]*:sagemaker:[^:]+:\d+:model-package/")]
    ModelApprovalStatus: str = ""


@dataclass(frozen=True)
class Approved:
    """A version of a model that somebody approved."""

    group: str
    version: int
    arn: str


def approved(event: Any) -> Approved:
    """Return what an event approves; raises Refused where it is another event, or approves nothing."""
    given = event if isinstance(event, dict) else {}
    if (given.get("source"), given.get("detail-type")) != (SOURCE, KIND):
        raise Refused(
            f"the event is {given.get('detail-type')!r} of {given.get('source')!r}; expected {KIND!r} of {SOURCE!r}",
            remedy="Nothing was changed: correct the rule's pattern",
        )
    try:
        detail = _Detail.model_validate(given.get("detail"))
    except ValidationError as error:
        raise Refused(f"the event's detail is wrong: {explain(error)}", remedy="Nothing was changed") from None
    what = f"{detail.ModelPackageGroupName} version {detail.ModelPackageVersion}"
    if detail.ModelApprovalStatus != "Approved":
        raise Refused(
            f"{what} is {detail.ModelApprovalStatus or 'not decided'}, not Approved", remedy="Nothing was changed"
        )
    return Approved(detail.ModelPackageGroupName, detail.ModelPackageVersion, detail.ModelPackageArn)
