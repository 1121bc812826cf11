"""What lies in a folder of S3: which models, by which names, and what is refused before a byte is fetched."""

from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from lineside.greengrass.model_uri import s3_folder
from lineside_forwarder.model_download.errors import NotFetched
from lineside_forwarder.model_download.listing import (
    MAX_BYTES,
    MAX_FILES,
    Entry,
    Package,
    entries,
    model_name,
    packages,
    wanted,
)

FOLDER = s3_folder("s3://plant/models/detector/v1.4/")
MODEL = ("config.pbtxt", "card.yaml", "1/model.onnx")


def objects(*paths: str, size: int = 1) -> Iterator[dict[str, Any]]:
    for path in paths:
        yield {"Key": FOLDER.prefix + path, "Size": size, "ETag": '"a"'}


def found(*paths: str) -> tuple[Package, ...]:
    return packages(FOLDER, entries(FOLDER, objects(*paths)))


def refusal(paths: Iterable[str], size: int = 1) -> str:
    with pytest.raises(NotFetched) as raised:
        packages(FOLDER, entries(FOLDER, objects(*paths, size=size)))
    assert raised.value.remedy
    return str(raised.value)


def test_the_folder_is_one_model() -> None:
    assert found(*MODEL, "10/model.onnx", "10/card.yaml", "2/a/b.plan") == (Package("", ("1", "2", "10")),)


def test_the_folder_holds_several() -> None:
    assert found("README.md", *(f"{name}/{path}" for name in ("b", "a") for path in MODEL)) == (
        Package("a", ("1",)),
        Package("b", ("1",)),
    )


def test_what_consoles_make_to_show_a_folder_is_no_file() -> None:
    assert entries(FOLDER, objects("", "1/", "config.pbtxt")) == (Entry("config.pbtxt", 1, '"a"'),)


@pytest.mark.parametrize(
    ("paths", "says"),
    [
        ((), f"nothing is under {FOLDER}: upload the model there (aws s3 sync), or correct ModelS3URI"),
        (("1/",), f"nothing is under {FOLDER}"),
        (("card.yaml", "1/model.onnx"), f"{FOLDER} has no config.pbtxt, and no folder in it has: upload the model's"),
        (("config.pbtxt", "1/model.onnx"), f"{FOLDER} has no card.yaml: upload it beside the versions' folders"),
        (("a/config.pbtxt", "a/1/m", "b/x"), f"{FOLDER}a/ has no card.yaml: upload it"),
        (("a/config.pbtxt", "a/card.yaml", "a/1/m", "b/x"), f"{FOLDER}b/ has no config.pbtxt and no card.yaml"),
        (("config.pbtxt", "card.yaml"), f"{FOLDER} has no folder of a version: upload the model's file into 1/"),
        (("config.pbtxt", "card.yaml", "1", "v2/model.onnx", "02/m"), f"{FOLDER} has no folder of a version"),
        ((*MODEL, "../../etc/passwd"), "'models/detector/v1.4/../../etc/passwd', which is no file's path: delete it"),
        ((*MODEL, "/etc/passwd"), "'models/detector/v1.4//etc/passwd', which is no file's path"),
        ((*MODEL, "1/./x"), "which is no file's path"),
        ((*MODEL, "1/..\\x"), "which is no file's path"),
        ((*MODEL, "1/\x1b[2J"), "which is no file's path"),
        ((*MODEL, "ä" * 128), "which is no file's path"),
        ((*MODEL, "1/model.onnx/x"), "has '1/model.onnx' as a file and as a folder: delete one of them there"),
    ],
)
def test_what_is_no_model_is_refused_with_what_to_do(paths: tuple[str, ...], says: str) -> None:
    assert says in refusal(paths)


def test_too_many_files_and_too_many_bytes_are_refused_while_they_are_listed() -> None:
    many = [f"1/{place}" for place in range(MAX_FILES + 1)]
    assert f"has more than {MAX_FILES} files: let ModelS3URI name" in refusal(many)
    assert len(entries(FOLDER, objects(*many[1:]))) == MAX_FILES
    assert "has more than 16 GiB: let ModelS3URI name" in refusal(MODEL, MAX_BYTES // 2)


def test_only_what_a_repository_has_of_a_model_is_wanted() -> None:
    paths = (*MODEL, "train.py", "data/1.png", "2/card.yaml")
    listed = entries(FOLDER, objects(*paths))
    kept = {each.path for each in wanted(listed, packages(FOLDER, listed))}
    assert kept == {*MODEL, "train.py", "2/card.yaml"}
    listed = entries(FOLDER, objects("README.md", *(f"a/{path}" for path in paths)))
    kept = {each.path for each in wanted(listed, packages(FOLDER, listed))}
    assert kept == {f"a/{path}" for path in (*MODEL, "train.py", "2/card.yaml")}


@pytest.mark.parametrize(
    ("uri", "inner", "config", "name"),
    [
        ("s3://plant/models/detector/v1.4/", "", "", "detector"),
        ("s3://plant/models/detector/1.4.0-rc.1/", "", "", "detector"),
        ("s3://plant/models/detector/2026-04-09/", "", "", "detector"),
        ("s3://plant/models/vision-2/", "", "", "vision-2"),
        ("s3://plant/models/detector/v1.4/", "", 'name: "press-7"', "press-7"),
        ("s3://plant/models/v1.4/", "detector", "", "detector"),
        ("s3://plant/models/v1.4/", "detector", 'name: "press-7"', "press-7"),
        ("s3://plant/detector/", "", 'input [ { name: "image" } ] backend: "onnxruntime"', "detector"),
        ("s3://plant/detector/", "", '# name: "old"\ninput { name: "x" }\nname :\n"mine" # "x"', "mine"),
        ("s3://plant/detector/", "", "default_model_filename: 'a { b' name: 'mine'", "mine"),
    ],
)
def test_a_model_is_called_as_its_configuration_says_else_as_its_folder(
    uri: str, inner: str, config: str, name: str
) -> None:
    assert model_name(s3_folder(uri), Package(inner, ("1",)), config) == name


@pytest.mark.parametrize(
    ("uri", "config", "says"),
    [
        ("s3://plant/v1.4/", "", 's3://plant/v1.4/config.pbtxt names no model, and no folder does: write name: "..."'),
        ("s3://plant/a/", 'name: "../a"', "s3://plant/a/config.pbtxt stands for a model '../a': give it a name of"),
        ("s3://plant/a b/", "", "stands for a model 'a b'"),
    ],
)
def test_a_name_that_is_none_is_refused(uri: str, config: str, says: str) -> None:
    with pytest.raises(NotFetched) as raised:
        model_name(s3_folder(uri), Package("", ("1",)), config)
    assert says in str(raised.value)
