"""The page says what the PLC got, and is red where a part could not be judged now; on the whole line, in a browser."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from lineside_bench.parts.part import encode_jpeg, make_part
from tests.support.page import PHONE, Page, expect, line, needs_browser, open_page, policy, shots

__all__ = ["line", "open_page", "policy", "shots"]

pytestmark = needs_browser

SINCE = "2026-03-01T12:00:00Z"


def link(name: str, state: str = "ONLINE", detail: str = "") -> dict[str, Any]:
    target = {"opcua": "opc.tcp://plc:4840", "bus": "mqtt://broker:1883"}.get(name, name)
    known = {"name": name, "target": target, "state": state, "detail": detail}
    return known | {"required": True, "since": SINCE, "attempts": 0 if state == "ONLINE" else 4, "next_try": None}


def told(service: str, *links: dict[str, Any], silent: bool = False) -> dict[str, Any]:
    ready = not silent and all(it["state"] == "ONLINE" for it in links)
    known = {"service": service, "silent": silent, "heard": SINCE, "ready": ready}
    return known | {"connections": list(links), "omitted": 0}


FINE = told("topic_bridge", link("bus"), link("inference"))
SILENT = told("opcua_bridge", silent=True)


@pytest.fixture
def frozen(line: Any) -> Iterator[Callable[[str], None]]:
    """Freeze a process of the line until the test's end."""
    stopped: list[int] = []

    def freeze(name: str) -> None:
        os.kill(line.pids[name], signal.SIGSTOP)
        stopped.append(line.pids[name])

    yield freeze
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)


def test_a_bridge_that_tells_no_more_is_red_and_its_parts_are_not_shown_as_passed(
    open_page: Any, shots: Any, line: Any, frozen: Any
) -> None:
    page: Page = open_page()
    expect(page.locator("#alarm")).to_be_hidden()
    expect(page.locator("#newest-facts")).to_contain_text("At the PLC")
    frozen("opcua-bridge")
    expect(page.locator("#link")).to_have_text("Not judging")
    expect(page.locator("#alarm")).to_contain_text("No part gets its verdict now: OPC UA bridge has been silent")
    expect(page.locator("#needs")).to_contain_text("OPC UA bridge has been silent")
    expect(page.locator("#verdict")).to_contain_class("old")
    shots(page, "bridge-silent")
    os.kill(line.pids["opcua-bridge"], signal.SIGCONT)
    expect(page.locator("#link")).to_have_text("Live")
    expect(page.locator("#alarm")).to_be_hidden()


@pytest.mark.parametrize(
    ("services", "chip", "says"),
    [
        ([FINE, told("opcua_bridge", link("bus"), link("opcua"))], "Live", ""),
        ([], "Live", ""),
        (
            [FINE, told("opcua_bridge", link("bus"), link("opcua", "BACKOFF", "no route to host"))],
            "Not judging",
            "No part can be judged now: PLC cannot be reached for",
        ),
        (
            [FINE, told("opcua_bridge", link("opcua"), link("trigger press", "BACKOFF", "no node s=Press"))],
            "Not judging",
            "Parts of this trigger cannot be judged now: Trigger press cannot be reached",
        ),
        (
            [told("topic_bridge", link("bus", "CONNECTING", "refused"), link("inference")), SILENT],
            "Not judging",
            "No part can be judged now: Broker, from the topic-bridge is being reached",
        ),
        (
            [told("topic_bridge", silent=True), SILENT],
            "Not judging",
            "No part can be judged now: Topic-bridge has been",
        ),
    ],
)
def test_each_link_of_the_line_is_said_in_words(open_page: Any, services: list[Any], chip: str, says: str) -> None:
    page: Page = open_page(viewport=PHONE)
    document = {"now": SINCE, "silent_after_s": 8.0, "services": services}
    page.route("**/v1/chain", lambda route: route.fulfill(content_type="application/json", body=json.dumps(document)))
    page.reload()
    if not services:
        expect(page.locator("#needs")).to_contain_text("PLC is not connected here")
    if says:
        expect(page.locator("#alarm")).to_contain_text(says)
    expect(page.locator("#needs")).to_contain_text("work")
    expect(page.locator("#link")).to_have_text(chip)
    expect(page.locator("#alarm")).to_be_visible() if says else expect(page.locator("#alarm")).to_be_hidden()


def test_parts_that_are_answered_while_judging_is_off_appear(open_page: Any, line: Any, policy: Any) -> None:
    page: Page = open_page()
    httpx.put(f"{line.url}/v1/policy", json={**policy(), "enabled": False}).raise_for_status()
    expect(page.locator('#strip .part[data-verdict="off"]').nth(1)).to_be_visible()
    page.locator('#strip .part[data-verdict="off"]').first.click()
    expect(page.locator("#detail")).to_contain_text("Judging is off: the PLC got UNKNOWN.")
    expect(page.locator("#detail")).to_contain_text("the bridge: judging is off")


def test_the_newest_part_takes_the_arrow_keys(open_page: Any, line: Any) -> None:
    for number in (1, 2, 3):
        jpeg = encode_jpeg(make_part(33, number, label="good").image)
        url = f"{line.url}/v1/models/surface-defect/predict?station=arrows&part_id=A-{number}"
        httpx.post(url, content=jpeg, headers={"content-type": "image/jpeg"}).raise_for_status()
    page: Page = open_page()
    page.locator("#station").select_option("arrows")
    expect(page.locator("#verdict-part")).to_have_text("A-3")
    page.locator("#newest-open").click()
    title = page.locator("#detail-title")
    expect(page.locator("#detail-newer")).to_be_disabled()
    for key, part in (("ArrowRight", "A-2"), ("ArrowRight", "A-1"), ("ArrowLeft", "A-2"), ("ArrowLeft", "A-3")):
        page.keyboard.press(key)
        expect(title).to_have_text(f"Part {part}")
    page.locator("#detail-older").click()  # and by the buttons, of which the last one is disabled under the finger
    page.locator("#detail-older").click()
    expect(page.locator("#detail-older")).to_be_disabled()
    page.keyboard.press("ArrowLeft")
    expect(title).to_have_text("Part A-2")


@pytest.mark.parametrize("file", ["page.css", "js/main.js", "js/views/dom.js"])
def test_a_page_of_which_a_file_did_not_come_is_loaded_anew(open_page: Any, line: Any, file: str) -> None:
    policy = httpx.get(line.url).headers["content-security-policy"]
    assert "script-src 'self' 'sha256-" in policy
    assert "unsafe" not in policy
    page: Page = open_page()
    open_page.expected.append("net::ERR_CONNECTION_RESET")
    lost: list[str] = []

    def lose(route: Any) -> None:
        lost.append(route.request.url)
        route.abort("connectionreset") if len(lost) <= 2 else route.continue_()  # the second time it is looked for

    page.route(f"**/page/{file}", lose)
    page.reload()
    expect(page.locator(".bar")).to_have_css("display", "flex")
    expect(page.locator("#link")).to_have_text("Live")
    expect(page.locator("#strip .part").first).to_be_visible()
    assert len(lost) > 2
