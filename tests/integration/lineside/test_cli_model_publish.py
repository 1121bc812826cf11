"""A package as a Greengrass component, to a simulated S3 and a stubbed Greengrass: fields, refusals, again."""

import json
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from typer.testing import CliRunner

from lineside.cli.model import app, aws_clients, components
from lineside.packages import make_key, pack, sign
from lineside.recipes.publishing import PublishRefused, as_base64, sha256_of
from tests.support.aws import aws_environment, moto_server
from tests.support.model_packages import model_folder
from tests.support.simulated_s3 import Store

__all__ = ["aws_environment", "moto_server"]

NAME = "com.lineside.Model.Detector"
ARN = f"arn:aws:greengrass:eu-central-1:123456789012:components:{NAME}"
KEYS = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "eu-central-1"}

CREATED = {
    "componentName": NAME,
    "componentVersion": "1.0.0",
    "creationTimestamp": 0,
    "status": {"componentState": "REQUESTED"},
}


def run(*arguments: object, status: int = 0) -> str:
    done = CliRunner().invoke(app, [str(each) for each in arguments])
    assert done.exit_code == status, done.output
    return done.output


@pytest.fixture
def package(tmp_path: Path) -> Path:
    archive = pack(model_folder(tmp_path), tmp_path).archive
    make_key(tmp_path / "team.key")
    sign(archive, key=tmp_path / "team.key")
    return archive


class Cloud:
    """The simulated S3 with a bucket, and Greengrass' answers in their order."""

    def __init__(self, store: Store, bucket: str) -> None:
        self.bucket = bucket
        self.s3 = boto3.client("s3", endpoint_url=store.url, **KEYS)
        self.greengrass = boto3.client("greengrassv2", **KEYS)
        self.stub = Stubber(self.greengrass)

    def client(self, service: str, **_options: Any) -> Any:
        return self.s3 if service == "s3" else self.greengrass

    def answers(self, *listed: str) -> None:
        self.stub.add_response(
            "list_components", {"components": [{"arn": ARN, "componentName": each} for each in listed]}
        )


@pytest.fixture
def cloud(moto_server: Store, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Any:
    name = f"components-{abs(hash(request.node.name)) % 10**8}"
    cloud = Cloud(moto_server, moto_server.make_bucket(name))
    real = aws_clients.clients
    monkeypatch.setattr(components, "clients", lambda region: real(region, session=cloud))
    monkeypatch.setattr(components.time, "sleep", lambda _seconds: None)
    with cloud.stub:
        yield cloud


def written(package: Path, bucket: str, out: Path, *more: object) -> str:
    given = ("--registry", "plant.example/lineside", "--bucket", bucket, "--out", out)
    return run("component", package, *given, *more)


def test_the_fields_of_the_old_preset(tmp_path, package):
    said = written(
        package, "artifacts", tmp_path / "out", "--component-name", "com.example.Weld", "--component-version", "2.1.0",
        "--component-description", "Sees bad welds.", "--platform-architecture", "aarch64", "--nucleus", "classic",
    )  # fmt: skip
    text = (tmp_path / "out/com.example.Weld.yaml").read_text()
    assert "ComponentName: com.example.Weld\nComponentVersion: '2.1.0'\nComponentDescription: Sees bad welds.\n" in text
    assert text.count("- Name:") == 1
    assert "- Name: classic-arm64" in text
    assert (
        tmp_path / "out/artifacts/com.lineside/models/detector/2.1.0/detector-3.tar.gz"
    ).read_bytes() == package.read_bytes()
    assert (tmp_path / "out/artifacts/com.lineside/models/detector/2.1.0/detector-3.tar.gz.sig").is_file()
    assert said.endswith(f"next: lineside model publish {tmp_path / 'out'}\n")
    assert "has a recipe already" in run(
        "component", package, "--registry", "r", "--bucket", "artifacts", "--out", tmp_path / "out", status=1
    )


def test_what_is_wrong_is_said_before_anything_is_written(tmp_path, package):
    given = ("component", package, "--registry", "r", "--bucket", "artifacts", "--out", tmp_path / "out")
    assert "run on linux" in run(*given, "--platform-os", "windows", status=1)
    assert "is no platform" in run(*given, "--platform-architecture", "sparc", status=1)
    assert "the recipe would be wrong" in run(*given, "--component-version", "one", status=1)
    package.with_name(f"{package.name}.sig").unlink()
    assert "is not signed" in run(*given, status=1)
    assert not (tmp_path / "out").exists()
    run(*given, "--unsigned")


def test_it_is_published_and_again_it_changes_nothing(tmp_path, package, cloud):
    written(package, cloud.bucket, tmp_path / "out")
    cloud.answers()
    cloud.stub.add_response("create_component_version", CREATED)
    for state in ("REQUESTED", "DEPLOYABLE"):
        cloud.answers(NAME)
        cloud.stub.add_response("describe_component", {"status": {"componentState": state}})
    said = run("publish", tmp_path / "out")
    assert said.splitlines()[-2:] == [f"{NAME} 1.0.0: deployable", "published"]
    key = "com.lineside/models/detector/1.0.0/detector-3.tar.gz"
    assert aws_clients.S3(cloud.s3).sha256(cloud.bucket, key) == sha256_of(package)

    recipe = components.read_component(tmp_path / "out").recipe
    cloud.answers(NAME)
    cloud.stub.add_response("get_component", {"recipeOutputFormat": "JSON", "recipe": recipe.encode()})
    said = run("publish", tmp_path / "out")
    assert said.endswith("nothing was changed: all of it was there\n")
    assert said.count("is there, SHA-256") == 3
    cloud.stub.assert_no_pending_responses()


def test_another_content_under_a_number_that_is_out_is_refused(tmp_path, package, cloud):
    written(package, cloud.bucket, tmp_path / "out")
    recipe = json.loads(components.read_component(tmp_path / "out").recipe) | {"ComponentPublisher": "Somebody"}
    cloud.answers(NAME)
    cloud.stub.add_response("get_component", {"recipeOutputFormat": "JSON", "recipe": json.dumps(recipe).encode()})
    assert "exists with another content: componentpublisher" in run("publish", tmp_path / "out", status=1)
    assert "Contents" not in cloud.s3.list_objects_v2(Bucket=cloud.bucket)

    key = "com.lineside/models/detector/1.0.0/detector-3.tar.gz"
    cloud.s3.put_object(Bucket=cloud.bucket, Key=key, Body=b"other")
    cloud.answers()
    assert "is there with another content" in run("publish", tmp_path / "out", status=1)
    assert cloud.s3.get_object(Bucket=cloud.bucket, Key=key)["Body"].read() == b"other"


def test_an_object_is_put_only_where_nothing_is(package, cloud):
    s3 = aws_clients.S3(cloud.s3)
    assert s3.put(cloud.bucket, "x", package, sha256_of(package))
    assert not s3.put(cloud.bucket, "x", package, sha256_of(package))
    assert s3.sha256(cloud.bucket, "x") == sha256_of(package)


def test_what_s3_says_of_an_object_is_compared_with_what_was_put(package):
    client = boto3.client("s3", **KEYS)
    with Stubber(client) as stub:
        stub.add_response("put_object", {})
        stub.add_response("head_object", {"ChecksumSHA256": as_base64("0" * 64)})
        with pytest.raises(PublishRefused, match="s3://artifacts/x is not what was put there"):
            aws_clients.S3(client).put("artifacts", "x", package, sha256_of(package))


def test_a_refusal_of_aws_is_one_sentence(tmp_path, package, cloud):
    written(package, cloud.bucket, tmp_path / "out")
    cloud.stub.add_client_error("list_components", "AccessDeniedException", "you may not")
    said = run("publish", tmp_path / "out", status=1)
    assert said.startswith("the account's components: AWS answers AccessDeniedException: you may not. Mend it")
    assert said.count("\n") == 1


def test_a_bucket_that_is_not_there_is_named(tmp_path, package, cloud):
    written(package, "no-such-bucket-anywhere", tmp_path / "out")
    cloud.answers()
    assert "s3://no-such-bucket-anywhere/" in run("publish", tmp_path / "out", status=1)
