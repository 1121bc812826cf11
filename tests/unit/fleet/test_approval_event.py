import pytest

from lineside.errors import SettingsError
from lineside_fleet.approval.event import KIND, SOURCE, Approved, approved
from lineside_fleet.approval.settings import read_approvals
from lineside_fleet.errors import Refused

ARN = "arn:aws:sagemaker:eu-central-1:123456789012:model-package/surface-defect/3"
DETAIL = {
    "ModelPackageGroupName": "surface-defect",
    "ModelPackageVersion": 3,
    "ModelPackageArn": ARN,
    "ModelApprovalStatus": "Approved",
}


def event(**more):
    return {"source": SOURCE, "detail-type": KIND, "detail": {**DETAIL, **more}}


def test_an_approval_names_group_version_and_package():
    assert approved(event()) == Approved("surface-defect", 3, ARN)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (None, "the event is None of None"),
        ([], "the event is None"),
        ({"source": SOURCE, "detail-type": "SageMaker Training Job State Change"}, "Training Job"),
        ({**event(), "source": "somebody.else"}, "of 'somebody.else'"),
        (event(ModelApprovalStatus="Rejected"), "surface-defect version 3 is Rejected, not Approved"),
        (event(ModelApprovalStatus="PendingManualApproval"), "not Approved"),
        (event(ModelApprovalStatus=""), "is not decided"),
        (event(ModelPackageVersion="three"), "ModelPackageVersion"),
        (event(ModelPackageArn="arn:aws:s3:::bucket"), "ModelPackageArn"),
        ({"source": SOURCE, "detail-type": KIND}, "detail is wrong"),
    ],
)
def test_everything_else_is_refused_and_changes_nothing(given, words):
    with pytest.raises(Refused, match=words) as caught:
        approved(given)
    assert "Nothing was changed" in str(caught.value)


APPROVALS = """\
groups:
  surface-defect: {template: templates/surface-defect.yaml}
sign: {key: keys/plant.key}
registry: registry.example.com/lineside
bucket: plant-artifacts
"""


def test_the_approvals_file_has_its_paths_from_its_folder(tmp_path):
    path = tmp_path / "approvals.yaml"
    path.write_text(APPROVALS, encoding="utf-8")
    settings = read_approvals(path)
    assert settings.groups["surface-defect"].template == tmp_path / "templates/surface-defect.yaml"
    assert settings.sign.key == tmp_path / "keys/plant.key"
    assert settings.groups["surface-defect"].version_of(3) == "1.3.0"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("template:", "templat:", "did you mean 'template'"),
        ("bucket: plant-artifacts", "bucket: Plant", "bucket"),
        ("sign: {key: keys/plant.key}\n", "", "sign"),
        ("defect.yaml}", "defect.yaml, version: 1.0.0}", "must hold {version}"),
    ],
)
def test_a_wrong_approvals_file_is_refused(tmp_path, old, new, words):
    path = tmp_path / "approvals.yaml"
    path.write_text(APPROVALS.replace(old, new), encoding="utf-8")
    with pytest.raises(SettingsError, match=words):
        read_approvals(path)
