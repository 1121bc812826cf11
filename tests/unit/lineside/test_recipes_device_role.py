"""The rights of a device's role: what stands in them, and what never does."""

import json

import pytest

from lineside.edge_manager.settings import EdgeManagerSettings
from lineside.recipes.device_role import FOLDER, documents, policy, trust
from lineside.recipes.rendering import Place


def resources(registry: str) -> dict[str, str]:
    return {each["Sid"]: each["Resource"] for each in policy(Place(registry, "plant-bucket", "1.4.0"))["Statement"]}


def test_a_registry_of_ecr_is_pulled_from_and_its_own_repositories_only() -> None:
    assert resources("123456789012.dkr.ecr.eu-central-1.amazonaws.com/lineside") == {
        "Login": "*",
        "Images": "arn:aws:ecr:eu-central-1:123456789012:repository/lineside/*",
        "ArtifactsBucket": "arn:aws:s3:::plant-bucket",
        "Artifacts": "arn:aws:s3:::plant-bucket/com.lineside/*",
        "Evidence": "arn:aws:s3:::EVIDENCE/sme-capture/*",
    }
    china = resources("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn")
    assert china["Images"] == "arn:aws-cn:ecr:cn-north-1:123456789012:repository/*"
    assert china["Artifacts"].startswith("arn:aws-cn:s3:::")


def test_another_registry_needs_no_right_in_aws() -> None:
    assert set(resources("registry.plant.example:5000/lineside")) == {"ArtifactsBucket", "Artifacts", "Evidence"}


@pytest.mark.parametrize("registry", ["lineside", "123456789012.dkr.ecr.eu-central-1.amazonaws.com/lineside"])
def test_nothing_is_allowed_by_a_wildcard_but_the_login(registry: str) -> None:
    for statement in policy(Place(registry, "plant-bucket", "1.4.0"))["Statement"]:
        assert not any("*" in action or action.startswith("sagemaker:") for action in statement["Action"])
        assert statement["Resource"] != "*" or statement["Action"] == ["ecr:GetAuthorizationToken"]
    [statement] = trust()["Statement"]
    assert statement["Principal"] == {"Service": "credentials.iot.amazonaws.com"}


def test_evidence_goes_where_the_settings_put_it() -> None:
    assert EdgeManagerSettings.model_validate({}).FolderPrefix == FOLDER


def test_both_documents_are_json() -> None:
    made = documents(Place("lineside", "plant-bucket", "1.4.0"))
    assert sorted(made) == ["iam/device-role-policy.json", "iam/device-role-trust.json"]
    assert all(json.loads(text)["Version"] == "2012-10-17" for text in made.values())
