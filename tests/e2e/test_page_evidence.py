"""What the page says of the evidence, in a real browser, on the whole line: what leaves, and what needs a person.

Screenshots are kept where SCREENSHOTS names a folder, else in pytest's own.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from lineside.spool import Spool, SpoolSettings
from lineside_bench.parts.part import encode_jpeg, make_part
from tests.support.page import PANEL, PHONE, expect, needs_browser, open_page, shots
from tests.support.waiting import block_until

__all__ = ["open_page", "shots"]


pytestmark = needs_browser


@pytest.fixture(scope="module")
def line(page_line: SimpleNamespace) -> SimpleNamespace:
    """The line, once evidence has left; where its page and its spool are."""

    def delivered() -> int:
        return sum(one["delivered"] for one in httpx.get(f"{page_line.url}/v1/evidence").json()["destinations"])

    block_until(delivered)
    links = {link["name"]: link for link in httpx.get(f"{page_line.url}/readyz").json()["connections"]}
    return SimpleNamespace(url=page_line.url, spool=Path(links["spool"]["target"]))


@pytest.fixture
def archive(line) -> Iterator[Spool]:
    """One more destination, which takes nothing and has refused a batch for good; gone after the test."""
    with Spool.open(SpoolSettings(folder=line.spool, refusals=1), recover=False) as spool:
        spool.register(["disk", "archive"])
        try:
            lease = block_until(lambda: spool.lease("archive"))
            assert spool.refuse(lease, "400 InvalidRequest")
            spool.report("archive", "BACKOFF", "403 AccessDenied")
            yield spool
        finally:
            spool.forget("archive")


def test_it_is_quiet_while_all_leaves(open_page, shots) -> None:
    page = open_page()
    said = page.locator("#evidence .need")
    expect(said).to_have_count(1)
    expect(said).to_have_attribute("data-state", "good")
    expect(said).to_have_text(re.compile(r"^Evidence \d+ waiting.*; [1-9]\d* delivered$"))
    expect(page.locator("#health-mark")).to_be_hidden()
    shots(page, "evidence-quiet")
    page.goto(page.url.split("#")[0] + "#health")
    row = page.locator("#evidence-all tbody tr")
    expect(row).to_have_count(1)
    expect(row.locator("th")).to_have_text("disk")
    expect(row.locator("td").first).to_have_text("takes it")
    expect(page.locator("#evidence-all")).to_contain_text("free on its disk")


@pytest.mark.parametrize("viewport", [PANEL, PHONE], ids=["panel", "phone"])
def test_what_needs_a_person_says_what_to_do_and_goes_when_it_is_done(
    open_page, shots, archive: Spool, viewport: dict[str, int]
) -> None:
    page = open_page(viewport=viewport, color_scheme="dark")
    expect(page.locator("#evidence .need", has_text="refused 1 batch for good")).to_be_visible()
    expect(page.locator("#evidence .need", has_text="Archive takes nothing")).to_contain_text("403 AccessDenied")
    expect(page.locator("#health-mark")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.locator("#evidence a").click()
    whole = page.locator("#evidence-all")
    expect(whole.locator("code", has_text="lineside spool retry archive")).to_be_visible()
    expect(whole.locator("tbody tr", has_text="archive").locator("td").first).to_have_text("takes nothing")
    expect(whole.locator("tbody tr", has_text="archive").locator("td").last).to_have_text("1")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    shots(page, f"evidence-trouble-{viewport['width']}")
    archive.forget("archive")
    expect(whole.locator(".needs li")).to_have_count(0)
    expect(page.locator("#health-mark")).to_be_hidden()


def test_a_part_says_what_became_of_its_evidence(open_page, line) -> None:
    page = open_page()

    fail = encode_jpeg(make_part(33, 5, label="scratch").image)

    answer = httpx.post(
        f"{line.url}/v1/models/surface-defect/predict?station=by-hand",
        content=fail,
        headers={"content-type": "image/jpeg"},
    ).json()
    assert answer["verdict"] == "fail"
    found = answer["request_id"]
    page.locator(f'#strip .part[data-id="{found}"]').first.click()
    expect(
        page.locator("#detail dd", has_text=re.compile("^kept (on this box, on its way|and delivered)$"))
    ).to_be_visible()
