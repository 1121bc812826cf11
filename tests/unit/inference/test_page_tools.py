"""What `make check` runs over the page finds a circle, a layer passed over, a wrong field and loose format."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.paths import ROOT

INFERENCE = ROOT / "services" / "inference"
PAGE = Path("src", "lineside_inference", "page")
CHECK = Path("page-tools", "check")


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the page and its tools, with the packages that `make check` has installed."""
    if not (INFERENCE / "page-tools" / "node_modules" / ".locked").is_file():
        if "npm" in os.environ.get("TESTS_NEED", ""):
            pytest.fail("the page's tools are not installed, and TESTS_NEED names npm: run make check first")
        pytest.skip("the page's tools are not installed: run make check first")
    shutil.copy(INFERENCE / "biome.jsonc", tmp_path)
    shutil.copytree(INFERENCE / PAGE, tmp_path / PAGE)
    tools = INFERENCE / "page-tools"
    shutil.copytree(tools, tmp_path / "page-tools", ignore=shutil.ignore_patterns("node_modules"))
    (tmp_path / "page-tools" / "node_modules").symlink_to(tools / "node_modules")
    return tmp_path


def append(name: str, text: str) -> Callable[[Path], None]:
    def change(js: Path) -> None:
        with (js / name).open("a", encoding="utf-8") as file:
            file.write(text)

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda _js: None, ""),
        (append("views/detail.js", '\nexport { tile } from "./tile.js";\n'), "noImportCycles"),
        (append("state/view.js", '\nexport { byId } from "../views/dom.js";\n'), "State imports state only"),
        (append("words/links.js", '\nexport { get } from "../service/http.js";\n'), "Words import state and words"),
        (append("service/chain.js", '\nexport { byId } from "../views/dom.js";\n'), "know no view"),
        (append("state/line.js", "\nexport const strayed = line.parts[0]?.pictures;\n"), "'pictures' does not exist"),
        (append("state/line.js", "\nexport const loose  = 1\n"), "Formatter would have printed"),
    ],
)
def test_it_finds(copied: Path, change: Callable[[Path], None], says: str) -> None:
    change(copied / PAGE / "js")
    done = subprocess.run([copied / CHECK], capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == (not says), done.stdout + done.stderr
    assert says in done.stdout + done.stderr


def test_without_npm_it_says_so_and_fails_only_where_it_is_needed(copied: Path) -> None:
    for need, code in (("", 0), ("docker,npm", 1)):
        environment = {**os.environ, "PATH": "/nonexistent", "TESTS_NEED": need}
        done = subprocess.run(["/bin/sh", copied / CHECK], capture_output=True, text=True, env=environment, check=False)
        assert (done.returncode, "install Node.js" in done.stderr) == (code, True)
