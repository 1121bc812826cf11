"""A model's component on its way to AWS: what is put, in which order, and what is never replaced."""

import json
from pathlib import Path
from typing import Any

import pytest

from lineside.recipes.publishing import (
    Component,
    PublishRefused,
    differing,
    publish,
    read_component,
    sha256_of,
)
from lineside.recipes.rendering import Place, model_recipe, packaged, zipped

PLACE = Place("plant.example/lineside", "artifacts", "0.1.0", ("classic-amd64",))


class Aws:
    """A bucket and the components of an account, as they are asked; `diary` has what was changed, in order."""

    def __init__(self) -> None:
        self.objects: dict[str, str] = {}
        self.recipes: dict[str, str] = {}
        self.states = ["REQUESTED", "DEPLOYABLE"]
        self.diary: list[str] = []
        self.comes_between: str | None = None

    def sha256(self, bucket: str, key: str) -> str | None:
        return self.objects.get(f"{bucket}/{key}")

    def put(self, bucket: str, key: str, file: Path, sha256: str) -> bool:
        assert sha256_of(file) == sha256
        if self.comes_between is not None:
            self.objects[f"{bucket}/{key}"] = self.comes_between
            return False
        self.objects[f"{bucket}/{key}"] = sha256
        self.diary.append(f"put {key.rpartition('/')[2]}")
        return True

    def recipe(self, name: str, version: str) -> str | None:
        return self.recipes.get(f"{name} {version}")

    def create(self, recipe: str) -> None:
        document = json.loads(recipe)
        self.recipes[f"{document['ComponentName']} {document['ComponentVersion']}"] = recipe
        self.diary.append("create")

    def state(self, _name: str, _version: str) -> tuple[str, str]:
        return (self.states.pop(0) if len(self.states) > 1 else self.states[0]), "why"


def component(folder: Path, content: str = "package", version: str = "1.0.0") -> Component:
    files = {"0.1.0/component.sh": "script"}
    files |= {f"models/detector/{version}/detector-3.tar.gz{end}": content + end for end in ("", ".sig")}
    for name, text in files.items():
        path = folder / "artifacts/com.lineside" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    brought = packaged("detector", "detector-3.tar.gz", version, is_signed=True)
    (folder / "recipe.yaml").write_text(model_recipe(brought, PLACE))
    return read_component(folder)


def done(one: Component, aws: Aws) -> tuple[bool, list[str]]:
    said: list[str] = []
    waited: list[float] = []
    return publish(one, aws, aws, said.append, waited.append), said


def refused(one: Component, aws: Aws) -> str:
    with pytest.raises(PublishRefused) as error:
        publish(one, aws, aws, lambda _text: None, lambda _seconds: None)
    return str(error.value)


def test_the_artifacts_are_there_before_the_recipe_and_again_nothing_changes(tmp_path):
    aws, one = Aws(), component(tmp_path)
    is_new, said = done(one, aws)
    assert is_new
    assert aws.diary == ["put component.sh", "put detector-3.tar.gz", "put detector-3.tar.gz.sig", "create"]
    assert said[-1] == "com.lineside.Model.Detector 1.0.0: deployable"
    is_new, said = done(one, aws)
    assert not is_new
    assert len(aws.diary) == 4
    assert said[-1] == "com.lineside.Model.Detector 1.0.0: is there"


def test_what_was_done_half_is_done_to_its_end(tmp_path):
    aws, one = Aws(), component(tmp_path)
    done(one, aws)
    aws.recipes.clear()
    aws.diary.clear()
    assert done(one, aws)[0]
    assert aws.diary == ["create"]


def test_an_object_with_another_content_is_not_replaced_and_nothing_is_put(tmp_path):
    aws = Aws()
    done(component(tmp_path / "a"), aws)
    aws.recipes.clear()
    aws.diary.clear()
    said = refused(component(tmp_path / "b", "other"), aws)
    assert "detector-3.tar.gz is there with another content" in said
    assert aws.diary == []


def test_an_object_that_came_in_between_is_compared(tmp_path):
    aws, one = Aws(), component(tmp_path)
    aws.comes_between = "0" * 64
    assert "is there with another content (SHA-256 000" in refused(one, aws)


def test_a_version_with_another_recipe_is_refused_before_anything_is_put(tmp_path):
    aws, one = Aws(), component(tmp_path)
    other = json.loads(one.recipe) | {"ComponentDescription": "another"}
    aws.recipes["com.lineside.Model.Detector 1.0.0"] = json.dumps(other)
    said = refused(one, aws)
    assert "exists with another content: componentdescription. Give the new one another version" in said
    assert aws.diary == []


def test_what_aws_fills_in_is_no_difference(tmp_path):
    one = json.loads(component(tmp_path).recipe)
    filled: Any = json.loads(json.dumps(one))
    filled["ComponentType"] = "aws.greengrass.generic"
    filled["ComponentConfiguration"] = {}
    for artifact in filled["Manifests"][0]["Artifacts"]:
        artifact |= {"Digest": "x", "Algorithm": "SHA-256", "Unarchive": "NONE"}
    filled["Manifests"][0]["Lifecycle"] = {
        name.capitalize(): step for name, step in filled["Manifests"][0]["Lifecycle"].items()
    }
    assert differing(json.dumps(one), json.dumps(filled)) == ""
    filled["Manifests"][0]["Artifacts"].pop()
    assert differing(json.dumps(one), json.dumps(filled)) == "manifests.0.artifacts"


def test_a_component_that_cannot_be_deployed_is_said_with_the_reason(tmp_path):
    aws, one = Aws(), component(tmp_path)
    aws.states = ["REQUESTED", "FAILED"]
    assert "cannot be deployed: FAILED: why. Correct it" in refused(one, aws)
    aws = Aws()
    aws.states = ["REQUESTED"]
    assert "is not deployable yet. AWS still works on it" in refused(one, aws)


def test_a_folder_that_is_no_component_is_refused(tmp_path):
    with pytest.raises(PublishRefused, match="has 0 recipes"):
        read_component(tmp_path)
    one = component(tmp_path)
    one.artifacts[1].file.unlink()
    with pytest.raises(PublishRefused, match="is not there, and the recipe names s3://artifacts/"):
        read_component(tmp_path)
    (tmp_path / "recipe.yaml").write_text("ComponentName: x\n")
    with pytest.raises(PublishRefused, match="Make it anew by `lineside model component`"):
        read_component(tmp_path)


def test_a_zipped_folder_and_a_package_are_told_to_the_script_apart():
    text = model_recipe(zipped("detector", "1.0.0"), PLACE)
    assert '"{artifacts:decompressedPath}/detector"' in text
    assert "Unarchive: ZIP" in text
    text = model_recipe(packaged("detector", "detector-3.tar.gz", "1.0.0", is_signed=True), PLACE)
    assert '"{artifacts:path}/detector-3.tar.gz"' in text
    assert "Unarchive" not in text
    assert text.count("s3://artifacts/com.lineside/models/detector/1.0.0/detector-3.tar.gz") == 2
