"""Images that the nucleus would ask for, and files from a folder."""

import zipfile

import pytest

from lineside_bench.greengrass.core.artifacts import Unavailable, bring_file, check_image
from lineside_bench.greengrass.core.recipe import Artifact, Recipe

MANAGER, TOKENS = "aws.greengrass.DockerApplicationManager", "aws.greengrass.TokenExchangeService"
ECR = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/lineside/inference"
APP = Recipe("app", "1.0.0", {}, (), ())


@pytest.mark.parametrize(
    ("image", "needs"),
    [
        ("lineside/inference:0.1.0", [MANAGER]),
        ("localhost:5000/lineside/inference:0.1.0", [MANAGER]),
        ("lineside/inference@sha256:" + "0" * 64, [MANAGER]),
        (f"{ECR}:0.1.0", [MANAGER, TOKENS]),
    ],
)
def test_images_that_are_asked_for(image, needs):
    check_image(image, needs)


@pytest.mark.parametrize(
    ("image", "needs", "says"),
    [
        ("lineside/inference:0.1.0", [], MANAGER),
        (f"{ECR}:0.1.0", [MANAGER], TOKENS),
        ("lineside/inference", [MANAGER], "no version"),
        ("localhost:5000/inference", [MANAGER], "no version"),
        ("lineside/inference:latest", [MANAGER], "no version"),
        ("lineside/inference:0.1.0@sha256:" + "0" * 64, [MANAGER], "a tag and a digest"),
    ],
)
def test_images_that_are_refused(image, needs, says):
    with pytest.raises(Unavailable, match=says):
        check_image(image, needs)


def bring(tmp_path, uri, unarchive="NONE", *, executable=False, source=True):
    folder = tmp_path / "files"
    artifact = Artifact(uri, unarchive, executable)
    bring_file(artifact, APP, folder if source else None, tmp_path / "into", tmp_path / "unpacked")


def test_a_file_of_the_component_goes_before_one_of_all(tmp_path):
    (tmp_path / "files" / "app" / "1.0.0").mkdir(parents=True)
    (tmp_path / "files" / "run.sh").write_text("of all")
    bring(tmp_path, "s3://bucket/key/run.sh")
    assert (tmp_path / "into" / "run.sh").read_text() == "of all"
    (tmp_path / "files" / "app" / "1.0.0" / "run.sh").write_text("its own")
    bring(tmp_path, "s3://bucket/key/run.sh", executable=True)
    assert (tmp_path / "into" / "run.sh").read_text() == "its own"
    assert (tmp_path / "into" / "run.sh").stat().st_mode & 0o100


def test_a_file_is_found_by_its_key_in_the_bucket_and_never_outside_the_folder(tmp_path):
    (tmp_path / "files" / "com.example" / "1.0.0").mkdir(parents=True)
    (tmp_path / "files" / "com.example" / "1.0.0" / "run.sh").write_text("by its key")
    bring(tmp_path, "s3://bucket/com.example/1.0.0/run.sh")
    assert (tmp_path / "into" / "run.sh").read_text() == "by its key"
    (tmp_path / "outside.sh").touch()
    with pytest.raises(Unavailable, match="is there"):
        bring(tmp_path, "s3://bucket/../outside.sh")


def test_an_archive_is_unpacked_anew_and_stays_in_its_folder(tmp_path):
    (tmp_path / "files").mkdir()
    (tmp_path / "unpacked" / "more").mkdir(parents=True)
    (tmp_path / "unpacked" / "more" / "old").touch()
    with zipfile.ZipFile(tmp_path / "files" / "more.zip", "w") as archive:
        archive.writestr("a/b", "inside")
        archive.writestr("../../outside", "x")
    bring(tmp_path, "s3://bucket/more.zip", "ZIP")
    assert (tmp_path / "unpacked" / "more" / "a" / "b").read_text() == "inside"
    assert not (tmp_path / "unpacked" / "more" / "old").exists()
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize(
    ("uri", "unarchive", "source", "says"),
    [
        ("s3://bucket/gone.sh", "NONE", True, "is there"),
        ("s3://bucket/gone.sh", "NONE", False, "--artifacts"),
        ("s3://bucket/", "NONE", True, "names no file"),
        ("s3://bucket/..", "NONE", True, "names no file"),
        ("s3://bucket/no.zip", "ZIP", True, "no ZIP archive"),
    ],
)
def test_files_that_cannot_be_had(tmp_path, uri, unarchive, source, says):
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "no.zip").write_text("text")
    with pytest.raises(Unavailable, match=says):
        bring(tmp_path, uri, unarchive, source=source)
