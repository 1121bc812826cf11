"""`lineside recipe render`: what is asked for, by which digests, and what is refused with nothing written."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lineside.errors import LinesideError
from lineside.recipes.rendering import PLATFORMS, Place, images
from lineside.recipes.writing import pinned, platforms_of, read_digests, with_digests

REGISTRY = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/lineside"
PLACE = Place(REGISTRY, "plant-bucket", "1.4.0")
DIGEST = f"sha256:{'a1' * 32}"


def lineside(*arguments: object) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "lineside", "recipe", "render", *map(str, arguments)]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def test_platforms_are_named_whole_by_nucleus_or_by_architecture() -> None:
    assert platforms_of([]) == tuple(PLATFORMS)
    assert platforms_of(["classic-amd64", "lite"]) == ("lite-arm64", "lite-amd64", "classic-amd64")
    assert platforms_of(["arm64"]) == ("lite-arm64", "classic-arm64")
    with pytest.raises(LinesideError, match="--platform x86"):
        platforms_of(["x86"])


def test_edge_managers_component_is_written_when_asked_for_and_for_the_classic_nucleus_only(tmp_path: Path) -> None:
    where = ("--registry", REGISTRY, "--bucket", "plant-bucket", "--out", tmp_path)
    name = tmp_path / "aws.greengrass.SageMakerEdgeManager.yaml"
    assert lineside(*where).returncode == 0
    assert not name.exists()
    done = lineside(*where, "--edge-manager", "--platform", "lite")
    assert done.returncode == 1
    assert "is a component of the classic nucleus only; leave --edge-manager out" in done.stderr
    assert not name.exists()
    assert lineside(*where, "--edge-manager", "--platform", "classic").returncode == 0
    assert f"Uri: docker:{REGISTRY}/forwarder:" in name.read_text()


def test_digests_are_read_as_docker_pin_and_docker_image_inspect_write_them(tmp_path: Path) -> None:
    file = tmp_path / "digests.env"
    file.write_text(
        f"# a comment\n\nA_IMAGE={REGISTRY}/a:1.4.0@{DIGEST}\n{REGISTRY}/b@{DIGEST}\nlocalhost:5000/c@{DIGEST}\n"
    )
    assert read_digests(file) == dict.fromkeys((f"{REGISTRY}/a", f"{REGISTRY}/b", "localhost:5000/c"), DIGEST)


@pytest.mark.parametrize("line", ["plant.example/a:1.4.0", "plant.example/a@sha256:12", f"@{DIGEST}"])
def test_a_line_that_is_no_digest_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "digests.env"
    file.write_text(f"# one\n{line}\n")
    with pytest.raises(LinesideError, match=r"digests.env:2: .* is no image with its digest"):
        read_digests(file)


def test_an_image_without_its_digest_is_named(tmp_path: Path) -> None:
    file = tmp_path / "digests.env"
    file.write_text("".join(f"{name}@{DIGEST}\n" for name in images(PLACE)[1:]))
    with pytest.raises(LinesideError, match=f"has no digest of {images(PLACE)[0]}\\."):
        with_digests(PLACE, file)
    with pytest.raises(LinesideError, match="cannot be read"):
        with_digests(PLACE, tmp_path / "none")


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, says: str) -> None:
    (folder / "docker").write_text(f"#!/bin/sh\n{says}\n")
    (folder / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


def test_the_engine_is_asked_for_the_digests_of_this_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, monkeypatch, f'echo "[\\"other.example/x@sha256:00\\", \\"${{5%:*}}@{DIGEST}\\"]"')
    place = pinned(PLACE)
    assert set(place.digests) == set(images(PLACE))
    assert place.image("inference") == f"{REGISTRY}/inference@{DIGEST}"


@pytest.mark.parametrize(
    ("says", "what", "remedy"),
    [
        ("exit 1", "is not on this machine", "docker pull"),
        ("echo null", "has no digest of", "docker push"),
        ("echo '[\"other.example/x@sha256:00\"]'", "has no digest of", "docker push"),
    ],
)
def test_an_image_that_was_never_pushed_cannot_be_pinned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str, what: str, remedy: str
) -> None:
    stand_in(tmp_path, monkeypatch, says)
    with pytest.raises(LinesideError, match=what) as refused:
        pinned(PLACE)
    assert remedy in refused.value.remedy


def test_the_command_writes_recipes_and_the_bucket(tmp_path: Path) -> None:
    done = lineside(
        *("--registry", REGISTRY, "--bucket", "plant-bucket", "--version", "1.4.0", "--platform", "classic-amd64"),
        *("--model", "surface-defect=2.0.0", "--model", "press.force=1.0.0", "--out", tmp_path),
    )
    assert done.returncode == 0, done.stderr
    triton = yaml.safe_load((tmp_path / "com.lineside.Triton.yaml").read_text())
    assert triton["ComponentVersion"] == "1.4.0"
    assert triton["ComponentDependencies"]["com.lineside.Model.SurfaceDefect"] == {
        "VersionRequirement": ">=2.0.0",
        "DependencyType": "SOFT",
    }
    assert [manifest["Name"] for manifest in triton["Manifests"]] == ["classic-amd64"]
    assert (tmp_path / "com.lineside.Model.PressForce.yaml").is_file()
    assert (tmp_path / "artifacts/com.lineside/1.4.0/component.sh").is_file()
    role = json.loads((tmp_path / "iam/device-role-policy.json").read_text())
    assert "arn:aws:s3:::plant-bucket/com.lineside/*" in [each["Resource"] for each in role["Statement"]]
    assert f"next: aws s3 sync {tmp_path}/artifacts s3://plant-bucket" in done.stdout


@pytest.mark.parametrize(
    "wrong",
    [
        ("--registry", "Plant.Example/UPPER"),
        ("--bucket", "Plant_Bucket"),
        ("--version", "1.4"),
        ("--platform", "windows"),
        ("--model", "surface-defect"),
        ("--model", "surface-defect=two"),
        ("--digests", "/none/at/all"),
    ],
    ids=" ".join,
)
def test_what_would_be_a_wrong_recipe_is_refused_and_nothing_written(tmp_path: Path, wrong: tuple[str, str]) -> None:
    right = {"--registry": REGISTRY, "--bucket": "plant-bucket", "--out": str(tmp_path / "out")}
    done = lineside(*(word for pair in (right | dict([wrong])).items() for word in pair))
    assert done.returncode in {1, 2}
    assert done.stderr.strip()
    assert not (tmp_path / "out").exists()
