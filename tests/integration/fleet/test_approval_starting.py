"""From the Model Registry's event to a rollout's first stage: SageMaker and S3 simulated, Greengrass stood in for."""

import errno
import tarfile

import pytest
import yaml

from lineside.packages import verify
from lineside_fleet.approval import aws_lambda
from lineside_fleet.aws.clients import Aws
from lineside_fleet.rollout_file import read_rollout
from tests.support import rollouts
from tests.support.approvals import (
    BUCKET,
    COMPONENT,
    GROUP,
    MODELS,
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


def put(approvals, **more):
    document = yaml.safe_load(approvals.read_text(encoding="utf-8")) | more
    approvals.write_text(yaml.safe_dump(document), encoding="utf-8")


def test_a_bomb_is_refused(plant, s3, approvals, tmp_path):
    put(approvals, artefact_bytes=100_000)
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
    put(approvals, rollouts=f"s3://{MODELS}/rollouts")
    answer = aws_lambda.handler(event, None)
    name = f"{GROUP}-{event['detail']['ModelPackageVersion']}"
    assert answer == {"rollout": name, "file": f"s3://{MODELS}/rollouts/{name}.yaml", "why": "approved"}
    assert len(plant.cloud.world.deployments) == 3
    assert aws_lambda.handler(event, None) == answer  # Lambda delivers at least once
    assert len(plant.cloud.world.deployments) == 3


def test_a_rollout_in_s3_is_carried_on_from_there_by_a_command_elsewhere(plant, s3, approvals, tmp_path):
    put(approvals, rollouts=f"s3://{MODELS}/rollouts/")
    event = register(s3, archive_of(model_folder(tmp_path / "trained")))
    status, text = on_approval(event, approvals)
    name = f"{GROUP}-{event['detail']['ModelPackageVersion']}"
    where = f"s3://{MODELS}/rollouts/{name}.yaml"
    assert (status, text.splitlines()[-1]) == (0, f"rollout file: {where}")
    assert sorted(keys(s3, MODELS))[-2:] == [f"rollouts/{name}.state.json", f"rollouts/{name}.yaml"]
    assert not (approvals.parent / "rollouts").exists()
    plant.cloud.world.tick(10)
    assert command("evaluate", where)[0] == 0  # the template has no gate
    status, text = command("promote", where)
    assert (status, "stage tenth is deployed" in text) == (0, True), text


def test_a_rollout_in_s3_of_another_template_is_left_as_it_is(plant, s3, approvals, tmp_path):
    put(approvals, rollouts=f"s3://{MODELS}/rollouts")
    event = register(s3, archive_of(model_folder(tmp_path / "trained")))
    key = f"rollouts/{GROUP}-{event['detail']['ModelPackageVersion']}.yaml"
    s3.put_object(Bucket=MODELS, Key=key, Body=b"rollout: another")
    status, text = on_approval(event, approvals)
    assert status == 2
    assert f"s3://{MODELS}/{key} is there with another content" in text
    assert s3.get_object(Bucket=MODELS, Key=key)["Body"].read() == b"rollout: another"
    assert len(plant.cloud.world.deployments) == 2


WITH_RECIPE = {COMPONENT: {"version": "1.0.0", "recipe": "r.yaml"}}


@pytest.mark.usefixtures("plant")
@pytest.mark.parametrize(
    ("body", "words"),
    [
        (None, "is not there"),
        (b"[]", "expected a rollout's settings by name"),
        (b"\xff", "utf-8"),
        (yaml.safe_dump(rollouts.document(target=None)).encode(), "target"),
        (
            yaml.safe_dump(
                rollouts.document(components={COMPONENT: {"version": "1.0.0", "recipe": "r.yaml"}})
            ).encode(),
            "names a recipe file",
        ),
    ],
)
def test_what_is_no_rollout_in_s3_is_said(s3, body, words):
    if body is not None:
        s3.put_object(Bucket=MODELS, Key="r.yaml", Body=body)
    status, text = command("plan", f"s3://{MODELS}/r.yaml")
    assert (status, f"s3://{MODELS}/r.yaml" in text) == (2, True)
    assert words in text


@pytest.mark.parametrize("place", ["s3://", "s3:///prefix", "https://example.com/x", ""])
def test_a_place_for_rollouts_that_is_none_is_refused(plant, s3, approvals, tmp_path, place):
    put(approvals, rollouts=place)
    status, text = on_approval(register(s3, archive_of(model_folder(tmp_path / "trained"))), approvals)
    assert (status, untouched(plant, s3)) == (2, True)
    assert "rollouts" in text
