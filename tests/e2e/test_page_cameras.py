"""What the page says of the cameras, in a real browser, on the whole line; troubles are told in the service's place.

Screenshots are kept where SCREENSHOTS names a folder, else in pytest's own.
"""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from lineside_inference.api.documents import CamerasDocument
from tests.support.page import PANEL, PHONE, Page, expect, line, needs_browser, open_page, shots
from tests.support.paths import ROOT

__all__ = ["line", "open_page", "shots"]

pytestmark = needs_browser

WIDE = {"width": 1920, "height": 1080}
_WELL: dict[str, Any] = {
    "name": "top",
    "kind": "genicam",
    "target": "22334455",
    "state": "ONLINE",
    "required": False,
    "detail": "",
    "remedy": "",
    "seconds": 60.0,
    "frames_a_second": 12.34,
    "newest_age_s": 0.2,
    "incomplete_share": 0.0,
    "resent_share": 0.0002,
    "socket_drops": 0,
    "lost_control": 0,
    "underruns": 0,
    "clock_error_s": 0.00021,
    "temperature_celsius": 51.4,
    "hot_celsius": 75.0,
    "needs": [],
}
_HOT = {
    "what": "it is 81 °C hot, and 75 °C are allowed (hot_celsius)",
    "remedy": "give its housing air or a metal mount",
    "is_bad": False,
}
_LOSSY = {
    "what": "50 frames were not whole in the last minute (4.8 %), and none of them was judged",
    "remedy": "see cable, plugs and switch; when the line stands, `lineside camera watch` says what to set",
    "is_bad": True,
}
_TROUBLE = [
    _WELL,
    {**_WELL, "name": "side", "target": "192.0.2.21", "temperature_celsius": 81.2, "needs": [_HOT]},
    {
        **_WELL,
        "name": "infeed-with-a-long-name-that-somebody-chose",
        "incomplete_share": 0.048,
        "resent_share": 0.031,
        "needs": [_LOSSY, _HOT],
    },
    {
        **_WELL,
        "name": "back",
        "state": "BACKOFF",
        "detail": "access denied: a program at 192.0.2.7 has control of it; Stop the other program",
        "remedy": "`lineside camera list` shows which cameras answer",
        "frames_a_second": 0.0,
        "newest_age_s": None,
        "incomplete_share": None,
        "resent_share": None,
        "temperature_celsius": None,
    },
]


def tell(page: Page, cameras: list[dict[str, Any]]) -> None:
    """Answer in the service's place, with what it could answer."""
    now = datetime.now(UTC)
    since = {"since": (now - timedelta(hours=3)).isoformat()}
    document = {"now": now.isoformat(), "cameras": [camera | since for camera in cameras]}
    CamerasDocument.model_validate(document)
    page.unroute("**/v1/cameras")
    page.route("**/v1/cameras", lambda route: route.fulfill(json=document))


def test_it_is_quiet_while_all_cameras_do_well(open_page, line) -> None:
    page = open_page()
    expect(page.locator("#strip .part").first).to_be_visible()
    expect(page.locator("#camera-needs")).to_be_hidden()
    page.goto(page.url.split("#")[0] + "#health")
    known = [camera["name"] for camera in httpx.get(f"{line.url}/v1/cameras").json()["cameras"]]
    assert known
    expect(page.locator("#cameras .camera")).to_have_count(len(known))
    expect(page.locator('#cameras .camera[data-state="good"]')).to_have_count(len(known))
    expect(page.locator("#cameras")).to_contain_text(re.compile(r"\d a (second|minute)"))
    expect(page.locator("#cameras")).not_to_contain_text("Temperature")


@pytest.mark.parametrize("viewport", [PANEL, PHONE, WIDE], ids=["panel", "phone", "wide"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_needs_a_person_says_what_to_do(open_page, shots, viewport: dict[str, int], scheme: str) -> None:
    page = open_page(viewport=viewport, color_scheme=scheme)
    tell(page, _TROUBLE)
    needs = page.locator("#camera-needs .need")
    expect(needs).to_have_count(2)
    expect(needs.first).to_have_attribute("data-state", "bad")
    expect(needs.last).to_have_attribute("data-state", "wait")
    expect(needs.last).to_contain_text("Camera side: it is 81 °C hot")
    expect(page.locator("#health-mark")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    shots(page, f"cameras-line-{viewport['width']}-{scheme}")
    page.locator("#camera-needs a").click()
    cards = page.locator("#cameras .camera")
    expect(cards).to_have_count(4)
    expect(cards.nth(0)).to_contain_text("12.3 a second")
    expect(cards.nth(0)).to_contain_text("51 °C")
    expect(cards.nth(0)).to_contain_text("within 0.2 ms")
    expect(cards.nth(1)).to_contain_text("To do: Give its housing air or a metal mount.")
    expect(cards.nth(2)).to_have_attribute("data-state", "bad")
    expect(cards.nth(2)).to_contain_text("4.8 %")
    expect(cards.nth(2).locator("code")).to_have_text("lineside camera watch")
    expect(cards.nth(3)).to_contain_text("has been away for 3 h")
    expect(cards.nth(3)).to_contain_text("Access denied: a program at 192.0.2.7 has control of it")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate((ROOT / "tests/e2e/contrast.js").read_text()) == []
    page.locator("#cameras-all").scroll_into_view_if_needed()
    shots(page, f"cameras-health-{viewport['width']}-{scheme}")
    tell(page, [_WELL])
    expect(cards).to_have_count(1)
    expect(page.locator("#health-mark")).to_be_hidden()


def test_words_of_a_camera_are_never_read_as_html(open_page) -> None:
    page = open_page("health")
    evil = "<img src=x onerror=alert(1)>"
    tell(page, [{**_WELL, "name": evil, "needs": [{"what": evil, "remedy": f"`{evil}`", "is_bad": True}]}])
    expect(page.locator("#cameras .todo").first).to_contain_text("onerror")
    assert page.locator("#cameras img").count() == 0
    assert json.dumps(page.locator("#cameras .todo code").inner_text()) == json.dumps(evil)
