import re
from pathlib import Path

import pytest

import lineside_inference.api
from tests.support.paths import ROOT
from tests.support.scripts import load_script

PAGES = ROOT / "docs" / "reference"


@pytest.mark.parametrize(
    "name", ["settings.md", "messages.md", "metrics.md", "errors.md", "card.md", "pixel-formats.md"]
)
def test_the_reference_pages_say_what_the_code_does(name: str) -> None:
    made = load_script(PAGES / "generate.py").pages()[name]
    assert made == (PAGES / name).read_text(encoding="utf-8"), "run .venv/bin/python docs/reference/generate.py"


def test_every_code_of_an_http_problem_is_on_the_page() -> None:
    folder = Path(lineside_inference.api.__file__).parent
    sources = "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py"))
    used = set(re.findall(r'Problem\(\s*\d+,\s*"([a-z-]+)"', sources))
    assert used, "the pattern finds nothing any more"
    assert used <= set(load_script(PAGES / "generate.py").OTHER_CODES) | {"internal"}


@pytest.mark.parametrize(
    "page", sorted(ROOT.glob("*.md")) + sorted((ROOT / "docs").rglob("*.md")), ids=lambda p: p.name
)
def test_no_link_is_dead(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page}: {target}"
