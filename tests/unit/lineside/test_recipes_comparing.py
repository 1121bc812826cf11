import json

from lineside.recipes import comparing
from lineside.recipes.publishing import differing

OURS = {
    "ComponentName": "com.example.A",
    "ComponentConfiguration": {"DefaultConfiguration": {"Digest": "kept", "Case": 1}},
    "ComponentDependencies": {"com.example.B": {"VersionRequirement": "^1.0.0"}},
    "Manifests": [
        {
            "Platform": {"os": "linux", "architecture": "aarch64"},
            "Artifacts": [{"Uri": "docker:registry.example.com/a@sha256:" + "1" * 64}, {"Uri": "s3://b/k"}],
        }
    ],
}


def as_aws_gives_it_back():
    theirs = {**OURS, "ComponentType": "aws.greengrass.generic"}
    theirs["ComponentDependencies"] = {"com.example.B": {"VersionRequirement": "^1.0.0", "DependencyType": "HARD"}}
    artifact = {"URI": "s3://b/k", "Digest": "abc", "Algorithm": "SHA-256", "Unarchive": "NONE"}
    theirs["Manifests"] = [
        {
            "Platform": {"os": "linux", "architecture": "aarch64"},
            "Lifecycle": {},
            "Artifacts": [
                {"URI": OURS["Manifests"][0]["Artifacts"][0]["Uri"]},
                {**artifact, "Permission": {"Read": "OWNER", "Execute": "NONE"}},
            ],
        }
    ]
    return theirs


def places(ours, theirs):
    return list(comparing.differences(comparing.canonical(ours), comparing.canonical(theirs)))


def test_what_aws_fills_in_makes_no_difference():
    assert places(OURS, as_aws_gives_it_back()) == []
    assert comparing.fingerprint(OURS) == comparing.fingerprint(as_aws_gives_it_back())


def test_everything_else_does_and_is_named():
    other = as_aws_gives_it_back()
    other["ComponentConfiguration"] = {"DefaultConfiguration": {"Digest": "other", "case": 1}}
    other["Manifests"][0]["Lifecycle"] = {"run": "true"}
    assert places(OURS, other) == [
        "componentconfiguration.defaultconfiguration.Case",
        "componentconfiguration.defaultconfiguration.Digest",
        "componentconfiguration.defaultconfiguration.case",
        "manifests.0.lifecycle",
    ]


def test_what_is_published_is_compared_so():
    ours, theirs = json.dumps(OURS), as_aws_gives_it_back()
    assert differing(ours, json.dumps(theirs)) == ""
    theirs["ComponentConfiguration"] = {"DefaultConfiguration": {"Digest": "other", "Case": 1}}
    assert differing(ours, json.dumps(theirs)) == "componentconfiguration.defaultconfiguration.Digest"
