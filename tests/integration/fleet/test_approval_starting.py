"""From the Model Registry's event to a rollout's first stage: SageMaker and S3 simulated, Greengrass stood in for."""

import errno
import tarfile

import pytest
import yaml

from lineside.packages import verify
from lineside_fleet.approval import aws_lambda
from lineside_fleet.aws.clients import Aws
from lineside_fleet.rollout_file import read_rollout
from tests.support.approvals import (
    BUCKET,
    COMPONENT,
    GROUP,
    approvals,
    archive_of,
    command,
    keys,
    on_approval,
    plant,
    register,
    untouched,
)
from tests.support.model_packages import model_folder

__all__ = ["approvals", "plant"]


@pytest.fixture
def s3(moto_server):
    return moto_server.client


def test_an_approved_model_is_packed_signed_published_and_staged(plant, s3, approvals, tmp_path):
    event = register(s3, archive_of(model_folder(tmp_path / "trained")))
    status, text = on_approval(event, approvals)
    assert status == 0, text
    number = event["detail"]["ModelPackageVersion"]
    file = approvals.parent / "rollouts" / f"{GROUP}-{number}.yaml"
    assert read_rollout(file).components[COMPONENT].version == f"1.{number}.0"
    plant.cloud.world.tick(5)
    assert plant.cloud.world.devices["staging-01"].installed()[COMPONENT] == f"1.{number}.0"
    assert COMPONENT not in plant.cloud.world.devices["core-0001"].installed()

    key = next(each for each in keys(s3, BUCKET) if each.endswith(".tar.gz"))
    package = tmp_path / "fetched.tar.gz"
    s3.download_file(BUCKET, key, str(package))
    s3.download_file(BUCKET, f"{key}.sig", f"{package}.sig")
    (tmp_path / "roots").mkdir(mode=0o755)
    (tmp_path / "roots" / "plant.pub").write_bytes((tmp_path / "plant.key.pub").read_bytes())
    assert verify(package, None, tmp_path / "roots")

    before = (keys(s3, BUCKET), len(plant.cloud.world.deployments))
    assert on_approval(event, approvals)[0] == 0  # the same event again
    assert (keys(s3, BUCKET), len(plant.cloud.world.deployments)) == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ModelApprovalStatus": "Rejected"}, "is Rejected, not Approved"),
        ({"ModelPackageGroupName": "detectors"}, "no group of the approvals file; did you mean 'detector'"),
    ],
)
def test_what_is_not_to_roll_out_is_refused_and_nothing_changed(plant, s3, approvals, tmp_path, change, words):
    event = register(s3, archive_of(model_folder(tmp_path / "trained")))
    event["detail"] |= change
    status, text = on_approval(event, approvals)
    assert (status, untouched(plant, s3)) == (2, True)
    assert words in text


def test_an_approval_that_was_taken_back_is_refused(plant, s3, approvals, tmp_path):
    event = register(s3, archive_of(model_folder(tmp_path / "trained")))
    Aws().sagemaker.client.update_model_package(
        ModelPackageArn=event["detail"]["ModelPackageArn"], ModelApprovalStatus="Rejected"
    )
    status, text = on_approval(event, approvals)
    assert (status, untouched(plant, s3)) == (2, True)
    assert "is Rejected by now" in text


def link(name, target):
    made = tarfile.TarInfo(name)
    made.type, made.linkname = tarfile.SYMTYPE, target
    return made


@pytest.mark.parametrize(
    ("archive", "words"),
    [
        (lambda _: b"no archive", "cannot be unpacked"),
        (lambda folder: archive_of(folder)[:200], "cannot be unpacked"),
        (lambda folder: archive_of(folder, extra=tarfile.TarInfo("../../evil")), "cannot be unpacked"),
        (lambda folder: archive_of(folder, extra=link("detector/out", "/etc/passwd")), "cannot be unpacked"),
        (lambda folder: archive_of(folder / "3", name="detector"), "holds 0 models"),
        (lambda folder: archive_of(folder, name="other"), "Call it 'other'"),
    ],
)
def test_an_artefact_that_is_no_model_is_refused(plant, s3, approvals, tmp_path, archive, words):
    event = register(s3, archive(model_folder(tmp_path / "trained")))
    status, text = on_approval(event, approvals)
    assert status != 0
    assert words in text
    assert untouched(plant, s3)


def test_a_bomb_is_refused(plant, s3, approvals, tmp_path):
    document = yaml.safe_load(approvals.read_text(encoding="utf-8")) | {"artefact_bytes": 100_000}
    approvals.write_text(yaml.safe_dump(document), encoding="utf-8")
    event = register(s3, archive_of(model_folder(tmp_path / "trained", content=b"\0" * 50_000_000)))
    assert "100000 bytes" in on_approval(event, approvals)[1]
    assert untouched(plant, s3)


def test_a_full_disk_is_said(plant, s3, approvals, tmp_path, monkeypatch):
    event = register(s3, archive_of(model_folder(tmp_path / "trained")))

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device", "/tmp/model.tar.gz")

    monkeypatch.setattr("lineside_fleet.approval.artefact.fetch", full)
    status, text = on_approval(event, approvals)
    assert (status, untouched(plant, s3)) == (2, True)
    assert "/tmp/model.tar.gz: No space left on device. Make room" in text


def test_what_is_no_event_and_a_missing_file_are_refused(approvals, tmp_path):
    (tmp_path / "event.json").write_text("{", encoding="utf-8")
    for file in ("event.json", "none.json"):
        status, text = command("on-approval", tmp_path / file, "--approvals", approvals)
        assert status == 2
        assert file in text


def test_the_lambda_answers_what_approves_nothing_and_starts_what_does(plant, s3, approvals, tmp_path, monkeypatch):
    monkeypatch.setenv(aws_lambda.VARIABLE, str(approvals))
    event = register(s3, archive_of(model_folder(tmp_path / "trained")))
    rejected = {**event, "detail": {**event["detail"], "ModelApprovalStatus": "Rejected"}}
    assert aws_lambda.handler(rejected, None)["rollout"] == ""
    assert untouched(plant, s3)
    answer = aws_lambda.handler(event, None)
    assert answer == {"rollout": f"{GROUP}-{event['detail']['ModelPackageVersion']}", "why": "approved"}
    assert len(plant.cloud.world.deployments) == 3
