"""The page in a real browser, on the whole line."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from tests.support.variables import CHROMIUM, SCREENSHOTS
from tests.support.waiting import HANG_S

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
Page, expect = sync_api.Page, sync_api.expect
expect.set_options(timeout=1000 * HANG_S)  # what does not come fails the test at last, on any machine

PANEL = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}

needs_browser = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"{CHROMIUM} is not installed")


@pytest.fixture
def line(page_line: SimpleNamespace) -> SimpleNamespace:
    return page_line


@pytest.fixture
def shots(tmp_path: Path) -> Callable[[Page, str], None]:
    """Keep a picture of the page under a name."""
    folder = Path(SCREENSHOTS or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return lambda page, name: page.screenshot(path=folder / f"{name}.png")


@pytest.fixture
def open_page(browser, line) -> Iterator[Callable[..., Page]]:
    """Open the page; at the end nothing may have been said on the console, and nothing asked of another host."""
    complaints: list[str] = []
    contexts = []

    def open_(view: str = "line", viewport: dict[str, int] = PANEL, **options) -> Page:
        context = browser.new_context(viewport=viewport, reduced_motion="reduce", **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(1000 * HANG_S)
        page.on("console", lambda it: complaints.append(it.text) if it.type in {"error", "warning"} else None)
        page.on("pageerror", lambda it: complaints.append(str(it)))
        page.on("request", lambda it: complaints.append(it.url) if not it.url.startswith((line.url, "blob:")) else None)
        page.goto(f"{line.url}/#{view}")
        expect(page.locator("#link")).to_have_text("Live")
        return page

    # Parts of complaints that a test brings about on purpose, and of what a new interface of this machine does.
    open_.expected = ["net::ERR_NETWORK_CHANGED"]
    yield open_
    for context in contexts:
        context.close()
    assert [it for it in complaints if not any(known in it for known in open_.expected)] == []


@pytest.fixture
def policy(line) -> Iterator[Callable[[], dict]]:
    """Read the policy; afterwards it is what it was."""
    before = httpx.get(f"{line.url}/v1/policy").json()
    yield lambda: httpx.get(f"{line.url}/v1/policy").json()
    httpx.put(f"{line.url}/v1/policy", json=before).raise_for_status()
