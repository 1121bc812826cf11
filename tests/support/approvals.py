"""SageMaker's Model Registry and S3 simulated, Greengrass stood in for: what an approval needs, and the commands."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from lineside.packages import make_key
from lineside_bench.cloud.server import Server
from lineside_fleet.approval.event import KIND, SOURCE
from lineside_fleet.aws.clients import Aws
from lineside_fleet.commands import fleet
from tests.support import rollouts
from tests.support.stand_in_cloud import serving

GROUP = "detector"
COMPONENT = "com.lineside.Model.Detector"
BUCKET, MODELS = "plant-artifacts", "plant-models"
REGISTRY = "registry.example.com/lineside"


@pytest.fixture
def plant(monkeypatch, aws_environment, moto_server):
    """A fleet of ten, a staging group of two, empty buckets; the variables of all of them."""
    del aws_environment
    with serving(devices=10, away_every=0) as running:
        rollouts.at(running, monkeypatch)
        for service in ("S3", "SAGEMAKER"):
            monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", moto_server.url)
        for bucket in (BUCKET, MODELS):
            _empty(moto_server.client, bucket)
        yield running


def _empty(s3: Any, bucket: str) -> None:
    if bucket in [each["Name"] for each in s3.list_buckets()["Buckets"]]:
        for key in keys(s3, bucket):
            s3.delete_object(Bucket=bucket, Key=key)
    else:
        s3.create_bucket(Bucket=bucket)


def keys(s3: Any, bucket: str) -> list[str]:
    """Return the keys of a bucket."""
    return [each["Key"] for each in s3.list_objects_v2(Bucket=bucket).get("Contents", ())]


def untouched(server: Server, s3: Any) -> bool:
    """Return whether nothing was published and nothing deployed."""
    return len(server.cloud.world.deployments) == 2 and keys(s3, BUCKET) == []


def archive_of(folder: Path, *, name: str = "detector", extra: tarfile.TarInfo | None = None) -> bytes:
    """Return a model's folder as SageMaker has it."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as tar:
        tar.add(folder, arcname=name)
        if extra is not None:
            tar.addfile(extra)
    return made.getvalue()


def register(s3: Any, archive: bytes, group: str = GROUP) -> dict[str, Any]:
    """Put an archive into S3, register it as approved, and return the event that SageMaker sends."""
    sagemaker, key = Aws().sagemaker.client, f"{group}/model.tar.gz"
    s3.put_object(Bucket=MODELS, Key=key, Body=archive)
    groups = sagemaker.list_model_package_groups()["ModelPackageGroupSummaryList"]
    if group not in [each["ModelPackageGroupName"] for each in groups]:
        sagemaker.create_model_package_group(ModelPackageGroupName=group, ModelPackageGroupDescription="bench")
    containers = [{"Image": "none", "ModelDataUrl": f"s3://{MODELS}/{key}"}]
    specification = {"Containers": containers, "SupportedContentTypes": [], "SupportedResponseMIMETypes": []}
    arn = sagemaker.create_model_package(
        ModelPackageGroupName=group, InferenceSpecification=specification, ModelApprovalStatus="Approved"
    )["ModelPackageArn"]
    detail = {
        "ModelPackageGroupName": group,
        "ModelPackageVersion": sagemaker.describe_model_package(ModelPackageName=arn).get("ModelPackageVersion") or 1,
        "ModelPackageArn": arn,
        "ModelApprovalStatus": "Approved",
    }
    return {"source": SOURCE, "detail-type": KIND, "detail": detail}


@pytest.fixture
def approvals(tmp_path):
    """An approvals file with its template, key and digests."""
    make_key(tmp_path / "plant.key")
    template = rollouts.document()
    del template["rollout"], template["components"]
    (tmp_path / "template.yaml").write_text(yaml.safe_dump(template), encoding="utf-8")
    images = [f"{REGISTRY}/{name}@sha256:{'1' * 64}\n" for name in ("inference", "triton-cpu", "triton-l4t")]
    (tmp_path / "digests.txt").write_text("".join(images), encoding="utf-8")
    path = tmp_path / "approvals.yaml"
    document = {
        "groups": {GROUP: {"template": "template.yaml"}},
        "sign": {"key": "plant.key"},
        "registry": REGISTRY,
        "bucket": BUCKET,
        "digests": "digests.txt",
    }
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


def command(*arguments: object) -> tuple[int, str]:
    """Run `lineside fleet` and return its exit status and what it printed."""
    done = CliRunner().invoke(fleet, [str(each) for each in arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


def on_approval(event: Any, approvals: Path) -> tuple[int, str]:
    """Run `lineside fleet on-approval`."""
    file = approvals.with_name("event.json")
    file.write_text(json.dumps(event), encoding="utf-8")
    return command("on-approval", file, "--approvals", approvals)
