"""What images leave out, and that whoever is in them does without."""

import subprocess
import sys
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest

from lineside.packages import make_key, pack, sign
from tests.support.model_packages import trusting
from tests.support.paths import ROOT

KEPT = {"boto3", "model_signing", "numpy-2.dist-info"}
TRIM: dict[str, Any] = run_path(str(ROOT / "docker/trim.py"))
BOTH = """
import sys
from runpy import run_module, run_path
gone = run_path(sys.argv.pop(1))["JUDGING"]
import lineside_deployer.__main__, lineside_deployer.doctor
try:
    run_module("lineside_inference.deploying", run_name="__main__", alter_sys=True)
except SystemExit as ended:
    print(ended.code, sorted(gone & {name.partition(".")[0] for name in sys.modules}))
"""
"""A process that is the deployer, and then the command that it runs."""


def left(site: Path, lock: str) -> set[str]:
    """Return the folders that stay in a site-packages."""
    return {each.name for each in site.iterdir()} - {each.name for each in TRIM["_unused"](site, lock)}


@pytest.fixture
def site(tmp_path: Path) -> Path:
    for name in {*TRIM["JUDGING"], *TRIM["KEYLESS"], *KEPT}:
        (tmp_path / name).mkdir()
    return tmp_path


def test_only_the_deployers_image_is_without_what_judges_parts(site: Path) -> None:
    assert left(site, "deployer") == KEPT
    assert left(site, "inference") == KEPT | TRIM["JUDGING"]


def test_the_deployer_and_the_commands_that_it_runs_do_without_it(tmp_path: Path) -> None:
    archive = pack(ROOT / "models/surface-defect", tmp_path).archive
    make_key(tmp_path / "team.key")
    sign(archive, key=tmp_path / "team.key")
    roots = trusting(tmp_path / "roots", tmp_path / "team.key.pub")
    words = ("--repository", tmp_path / "models", "install", archive, "--roots", roots)
    done = subprocess.run(
        [sys.executable, "-c", BOTH, str(ROOT / "docker/trim.py"), *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "version 1\n0 []\n", done.stderr
