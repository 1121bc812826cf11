"""The models of a folder in S3, fetched from a simulated store: what comes, what is kept, and what is said."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.utils import ContainerMetadataFetcher

from lineside import s3_download
from lineside.greengrass.model_uri import s3_folder
from lineside_forwarder.model_download import kept, listing
from lineside_forwarder.model_download.command import main
from tests.support.credential_server import TOKEN, CredentialServer
from tests.support.ports import free_port
from tests.support.simulated_s3 import Store
from tests.support.store_front import Answer, Asked, Front

PREFIX = "models/detector/v1.4/"
ONNX = bytes(range(256)) * 20_000


class Rig:
    """A bucket with a model, the folder for what is fetched, a repository, and what was said."""

    def __init__(self, store: Store, bucket: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.store, self.bucket, self._capsys = store, bucket, capsys
        self.kept, self.repository = folder / "kept", folder / "repository"
        self.kept.mkdir()
        self.repository.mkdir()
        self.said = ""

    def upload(self, files: dict[str, bytes], prefix: str = PREFIX) -> str:
        for name, content in files.items():
            self.store.client.put_object(Bucket=self.bucket, Key=prefix + name, Body=content)
        return f"s3://{self.bucket}/{prefix}"

    def run(self, verb: str, uri: str) -> int:
        status = main([verb, uri, str(self.kept), str(self.repository)])
        self.out, self.said = self._capsys.readouterr()
        return status

    def fetched(self, uri: str) -> dict[str, Path]:
        assert self.run("fetch", uri) == 0, self.said
        lines = (line.split("=", 1) for line in self.out.splitlines())
        return {name: self.kept / below for name, below in lines}

    def refused(self, uri: str) -> str:
        assert self.run("fetch", uri) == 1, self.out
        assert self.out == ""
        assert "Traceback" not in self.said
        return self.said.splitlines()[-1]

    def place(self, uri: str, *models: str) -> None:
        """Do what component.sh does with what came, and say so."""
        found = self.fetched(uri)
        assert sorted(found) == sorted(models)
        for name, folder in found.items():
            shutil.copytree(folder, self.repository / name, dirs_exist_ok=True)
        assert self.run("placed", uri) == 0, self.said
        assert not list(self.kept.rglob("model.onnx"))


def model(content: bytes = ONNX, version: str = "1") -> dict[str, bytes]:
    digest = hashlib.sha256(content).hexdigest()
    card = f"name: detector\nversion: '{version}'\nfiles:\n  - {{path: {version}/model.onnx, sha256: '{digest}'}}\n"
    config = b'backend: "onnxruntime"\ninput [ { name: "image" } ]\n'
    return {"config.pbtxt": config, "card.yaml": card.encode(), f"{version}/model.onnx": content}


@pytest.fixture
def rig(
    moto_server: Store,
    bucket: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    aws_environment: pytest.MonkeyPatch,
) -> Rig:
    aws_environment.setenv("AWS_ENDPOINT_URL_S3", moto_server.url)
    aws_environment.setattr("time.sleep", lambda _seconds: None)
    return Rig(moto_server, bucket, tmp_path, capsys)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_model_comes_whole_and_is_called_as_its_folder_is(rig: Rig) -> None:
    uri = rig.upload({**model(), "data/1.png": b"none of the repository's"})
    found = rig.fetched(uri)
    assert list(found) == ["detector"]
    assert contents(found["detector"]) == model()
    assert f"{uri}: 3 files, 4.9 MiB" in rig.said
    assert "4 of 4 MiB" in rig.said


def test_a_repository_of_several_comes_by_the_names_of_their_configurations(rig: Rig) -> None:
    uri = rig.upload({f"{name}/{path}": content for name in ("a", "b") for path, content in model().items()})
    rig.upload({"b/config.pbtxt": b'name: "press-7"', "README.md": b"hello"})
    found = rig.fetched(uri)
    assert sorted(found) == ["a", "press-7"]
    assert contents(found["a"]) == model()


def test_what_was_placed_is_asked_of_nobody_again_and_neither_is_the_one_before(
    rig: Rig, front: Front, aws_environment: pytest.MonkeyPatch
) -> None:
    first = rig.upload(model())
    second = rig.upload(model(b"two", "2"), "models/detector/v1.5/")
    rig.place(first, "detector")
    rig.place(second, "detector")
    aws_environment.setenv("AWS_ENDPOINT_URL_S3", front.url)
    assert rig.fetched(second) == {}
    assert f"the models of {second} are here already" in rig.said
    [folder] = rig.fetched(first).values()  # the deployment is rolled back
    assert contents(folder) == model()
    rig.place(first, "detector")
    assert rig.fetched(first) == {}
    assert (rig.repository / "detector/card.yaml").read_bytes() == model()["card.yaml"]
    assert front.asked == []
    shutil.rmtree(rig.repository / "detector/1")  # somebody removed the volume
    assert contents(rig.fetched(first)["detector"]) == model()
    assert front.asked != []


def test_of_older_sources_only_the_last_one_used_is_kept(rig: Rig) -> None:
    uris = [rig.upload(model(b"x" * place, str(place)), f"detector/v1.{place}/") for place in (1, 2, 3)]
    for place, uri in enumerate(uris):
        rig.place(uri, "detector")
        os.utime(kept.Kept(rig.kept, s3_folder(uri)).folder, (place, place))
    assert len(list(rig.kept.iterdir())) == kept.SOURCES
    for uri, is_kept in ((uris[2], True), (uris[1], True), (uris[0], False)):
        rig.fetched(uri)
        assert ("are here already" in rig.said) is is_kept


def test_a_download_that_was_cut_off_goes_on_where_it_ended(
    rig: Rig, front: Front, aws_environment: pytest.MonkeyPatch
) -> None:
    uri = rig.upload(model())
    aws_environment.setenv("AWS_ENDPOINT_URL_S3", front.url)
    aws_environment.setattr(s3_download, "CHUNK_BYTES", 65_536)
    wide, cut = len(ONNX), 3_000_000

    def halved(asked: Asked) -> Answer | None:
        if asked.headers.get("range") == "bytes=0-" and asked.path.endswith("model.onnx"):
            headers = {"Content-Range": f"bytes 0-{wide - 1}/{wide}", "Content-Length": str(wide)}
            return Answer(206, headers=headers, body=ONNX[:cut])
        return Answer(503, "SlowDown") if asked.path.endswith("model.onnx") else None

    front.answer = halved
    assert "deploy it again later; what was fetched is kept" in rig.refused(uri)
    front.answer = lambda _asked: None
    front.asked.clear()
    [folder] = rig.fetched(uri).values()
    assert contents(folder) == model()
    ranges = [asked.headers["range"] for asked in front.asked if "range" in asked.headers]
    assert ranges == [f"bytes={cut}-"]


def test_a_file_that_changed_meanwhile_is_begun_anew(rig: Rig) -> None:
    uri = rig.upload(model())
    rig.fetched(uri)
    rig.upload(model(b"another" * 1000))
    [folder] = rig.fetched(uri).values()
    assert contents(folder) == model(b"another" * 1000)


def test_a_file_that_changes_while_it_is_fetched_is_refused(
    rig: Rig, front: Front, aws_environment: pytest.MonkeyPatch
) -> None:
    uri = rig.upload(model())
    aws_environment.setenv("AWS_ENDPOINT_URL_S3", front.url)

    def overwrite(asked: Asked) -> None:
        if asked.path.endswith("model.onnx"):
            rig.upload(model(b"another"))

    front.answer = overwrite
    assert "changed while it was fetched" in rig.refused(uri)
    assert "into a folder of its own" in rig.said


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"1/model.onnx": b"damaged"}, "/1/model.onnx has SHA-256"),
        ({"card.yaml": b"files: [{path: 2/model.onnx, sha256: a}]"}, "names '2/model.onnx', which is not there"),
        ({"card.yaml": b"a: ["}, "/card.yaml: not YAML"),
        ({"config.pbtxt": b"\xff\xfe"}, "/config.pbtxt is no text of at most 1 MiB"),
        ({"config.pbtxt": b'name: "../x"'}, "stands for a model '../x'"),
    ],
)
def test_what_does_not_belong_together_is_refused_before_it_is_placed(
    rig: Rig, change: dict[str, bytes], says: str
) -> None:
    uri = rig.upload({**model(), **change})
    assert says in rig.refused(uri)
    rig.upload(model())
    assert contents(rig.fetched(uri)["detector"]) == model()  # and mended it comes


def test_two_models_of_one_name_are_refused(rig: Rig) -> None:
    uri = rig.upload({f"{name}/{path}": content for name in ("a", "b") for path, content in model().items()})
    rig.upload({"a/config.pbtxt": b'name: "b"'})
    assert "has two models 'b', in 'a' and 'b'" in rig.refused(uri)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Answer(403, "AccessDenied"), "allow the device's role s3:GetObject on arn:aws:s3:::"),
        (Answer(403, "AccessDenied"), "and s3:ListBucket on arn:aws:s3:::"),
        (Answer(301, "PermanentRedirect", {"x-amz-bucket-region": "eu-west-1"}), "is in region"),
        (Answer(200, body=b"<html>log in</html>"), "look for a proxy or a login page"),
        (Answer(500, "InternalError"), "deploy it again later"),
    ],
)
def test_what_the_store_refuses_is_said_with_what_to_do(
    rig: Rig, front: Front, aws_environment: pytest.MonkeyPatch, answer: Answer, says: str
) -> None:
    aws_environment.setenv("AWS_ENDPOINT_URL_S3", front.url)
    front.answer = lambda _asked: answer
    assert says in rig.refused(rig.upload(model()))


def test_no_bucket_and_nothing_there(rig: Rig) -> None:
    assert rig.refused("s3://no-such-bucket/models/") == (
        "there is no bucket 'no-such-bucket': make it, or correct ModelS3URI"
    )
    assert f"nothing is under s3://{rig.bucket}/elsewhere/" in rig.refused(f"s3://{rig.bucket}/elsewhere/")
    assert "ModelS3URI: expected s3://bucket/folder/" in rig.refused("https://models.example/")
    assert main(["fetch"]) == 2


def test_a_store_that_is_away_is_asked_some_times_and_then_named(rig: Rig, aws_environment: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    aws_environment.setattr("time.sleep", waits.append)
    aws_environment.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{free_port()}")
    assert "cannot be reached" in rig.refused(f"s3://{rig.bucket}/{PREFIX}")
    assert waits == [1.0, 2.0, 4.0]


def test_no_region(rig: Rig, aws_environment: pytest.MonkeyPatch) -> None:
    aws_environment.delenv("AWS_ENDPOINT_URL_S3")
    assert "set awsRegion of the nucleus" in rig.refused(f"s3://{rig.bucket}/{PREFIX}")


def test_a_full_disk_is_said_before_a_byte_comes(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "RESERVE_BYTES", 1 << 60)
    uri = rig.upload(model())
    assert "MiB until they are in place: docker image prune, or a larger disk" in rig.refused(uri)
    assert not list(rig.kept.rglob("model.onnx"))


def test_more_than_allowed_is_refused(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "MAX_FILES", 2)
    assert "has more than 2 files" in rig.refused(rig.upload(model()))


@pytest.fixture
def credentials(aws_environment: pytest.MonkeyPatch) -> Iterator[CredentialServer]:
    """Greengrass' token exchange, in place of keys in the environment."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        aws_environment.delenv(name)
    server = CredentialServer()
    aws_environment.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", server.url)
    aws_environment.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", TOKEN)
    aws_environment.setattr(ContainerMetadataFetcher, "SLEEP_TIME", 0)
    try:
        yield server
    finally:
        server.close()


def test_credentials_are_the_token_exchanges(
    rig: Rig, credentials: CredentialServer, aws_environment: pytest.MonkeyPatch
) -> None:
    uri = rig.upload(model())
    assert contents(rig.fetched(uri)["detector"]) == model()
    assert credentials.given
    rig.store.client.put_object(Bucket=rig.bucket, Key="b/x", Body=b"")
    credentials.status = 500
    said = rig.refused(f"s3://{rig.bucket}/b/")
    assert "Greengrass' token exchange service answers 500: look at the role alias" in said
    assert not [secret for secret in credentials.secrets() if secret in rig.said]
    aws_environment.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "another")
    assert "token exchange service answers 403" in rig.refused(f"s3://{rig.bucket}/b/")
    aws_environment.delenv("AWS_CONTAINER_CREDENTIALS_FULL_URI")
    assert "there are no credentials" in rig.refused(f"s3://{rig.bucket}/b/")
