"""docker/versions.env is the one place for what the containers are made of; the defaults elsewhere repeat it."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

import lineside
from tests.support.paths import ROOT

VERSIONS = dict(
    line.split("=", 1)
    for line in (ROOT / "docker" / "versions.env").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
)
COMPOSE = sorted([ROOT / "compose.yaml", *(ROOT / "docker").glob("compose.*.yaml")])
DOCKERFILES = sorted((ROOT / "docker").glob("**/Dockerfile"))


def test_our_version_is_the_libraries() -> None:
    assert VERSIONS["LINESIDE_VERSION"] == lineside.__version__


def test_every_image_that_is_not_ours_is_pinned_to_a_version() -> None:
    for name, image in VERSIONS.items():
        if name.endswith("_IMAGE"):
            assert re.search(r":v?\d+\.\d+", image), image
            assert "@" not in image  # a digest names one architecture's image, or needs the registry to say


def pin() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pin", ROOT / "docker" / "pin.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_an_engine_pulled_is_pinned_and_what_it_built_is_said() -> None:
    images = pin().images((ROOT / "docker" / "versions.env").read_text(encoding="utf-8"))
    assert images == {name: image for name, image in VERSIONS.items() if name.endswith("_IMAGE")}
    wanted = {"A_IMAGE": "python:3.13", "B_IMAGE": "prom/prometheus:v3.5.0", "C_IMAGE": "nvcr.io/x/y:1"}
    wanted |= {"D_IMAGE": "d:1"}
    engine = {
        "python:3.13": ["mirror.plant/python@sha256:11", "docker.io/library/python@sha256:22"],
        "prom/prometheus:v3.5.0": [],
        "nvcr.io/x/y:1": ["nvcr.io/x/y@sha256:33"],
    }
    assert list(pin().pinned(wanted, engine)) == [
        "A_IMAGE=python:3.13@sha256:22",
        "# B_IMAGE: prom/prometheus:v3.5.0 was built or loaded here and has no digest of a registry",
        "C_IMAGE=nvcr.io/x/y:1@sha256:33",
        "# D_IMAGE: d:1 is not on this machine: docker pull d:1",
    ]


@pytest.mark.parametrize("path", COMPOSE, ids=lambda path: path.name)
def test_defaults_of_compose(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    defaults = re.findall(r"\$\{([A-Z0-9_]+(?:_IMAGE|_VERSION)):-([^}]*)\}", text)
    assert {name: VERSIONS.get(name) for name, _ in defaults} == dict(defaults)
    # No image without a variable: CI, and a plant with a registry of its own, name others.
    assert not [line for line in re.findall(r"^\s+image: (.*)$", text, re.MULTILINE) if not line.startswith("${")]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_defaults_of_dockerfiles(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    defaults = dict(re.findall(r"^ARG ([A-Z0-9_]+(?:_IMAGE|_VERSION))=(\S+)$", text, re.MULTILINE))
    assert defaults
    assert {name: VERSIONS.get(name) for name in defaults} == defaults
    bases = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    stages = set(re.findall(r"^FROM \S+ AS (\S+)", text, re.MULTILINE))
    assert all(base.startswith("${") or base in stages for base in bases)
    assert "# syntax=" not in text


def test_the_dockerfiles_are_found() -> None:
    found = {str(path.relative_to(ROOT / "docker")) for path in DOCKERFILES}
    assert {"Dockerfile", "s3-sim/Dockerfile", "triton-cpu/Dockerfile", "triton-l4t/Dockerfile"} <= found
