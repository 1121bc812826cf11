from lineside_fleet.rollout import images, recipes

OURS = {
    "ComponentDependencies": {"com.example.B": {"VersionRequirement": "^1.0.0"}},
    "Manifests": [
        {
            "Platform": {"os": "linux", "architecture": "aarch64"},
            "Artifacts": [{"Uri": "docker:registry.example.com/a@sha256:" + "1" * 64}, {"Uri": "s3://b/k"}],
        }
    ],
}


def test_images_architectures_and_dependencies_are_found_whatever_the_case():
    assert recipes.images(OURS) == ["registry.example.com/a@sha256:" + "1" * 64]
    assert recipes.architectures(OURS) == {"aarch64"}
    assert recipes.architectures({"manifests": [{"platform": {"os": "linux"}}]}) is None
    assert recipes.architectures({"Manifests": [{"Platform": {"architecture": "/a.*/"}}]}) is None
    assert recipes.dependencies(OURS) == ["com.example.B"]


def test_images_have_to_be_pinned_and_to_the_named_digest():
    one, other = "sha256:" + "1" * 64, "sha256:" + "2" * 64
    name = "registry.example.com/a"
    assert list(images.problems({"A": [f"{name}@{one}"]}, {name: one})) == []
    wrong = list(
        images.problems({"A": [f"{name}@{other}", f"{name}:latest"]}, {name: one, "registry.example.com/b": one})
    )
    assert len(wrong) == 3
    assert "the rollout names" in wrong[0]
    assert "not pinned by digest" in wrong[1]
    assert "no recipe of the set has an image 'registry.example.com/b'; did you mean" in wrong[2]
