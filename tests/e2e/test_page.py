"""The page at `/` in a real browser, on the whole line: what the person at the line sees and does.

Screenshots are kept where SCREENSHOTS names a folder, else in pytest's own.
"""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from lineside_bench.parts.part import encode_jpeg, make_part
from tests.support.page import PANEL, PHONE, Page, expect, line, needs_browser, open_page, policy, shots
from tests.support.paths import ROOT
from tests.support.ports import free_port
from tests.support.waiting import HANG_S, block_until

__all__ = ["line", "open_page", "policy", "shots"]

pytestmark = needs_browser


def predict(line: SimpleNamespace, label: str = "good") -> dict:
    jpeg = encode_jpeg(make_part(33, 5, label=label).image)
    url = f"{line.url}/v1/models/surface-defect/predict?station=try-it"
    return httpx.post(url, content=jpeg, headers={"content-type": "image/jpeg"}).json()


def newest(page: Page) -> str:
    return page.locator("#verdict-part").inner_text()


def test_the_live_part_appears_and_the_next_one_too(open_page, shots) -> None:
    page = open_page()
    expect(page.locator("#verdict-part")).to_contain_text("P-")
    first = newest(page)
    expect(page.locator("#verdict-part")).not_to_have_text(first)
    expect(page.locator("#verdict-word")).to_have_text(re.compile("^(PASS|FAIL|UNKNOWN)$"))
    expect(page.locator("#newest-image img")).to_be_visible()
    assert page.locator("#newest-image img").evaluate("img => img.naturalWidth") > 100
    expect(page.locator("#strip .part").nth(3)).to_be_visible()
    expect(page.locator("#yield")).to_contain_text("%")
    expect(page.locator("#p95")).to_contain_text("ms")
    expect(page.locator("#needs")).to_contain_text("connections work")
    shots(page, "line-light")


@pytest.mark.parametrize(("name", "viewport"), [("panel", PANEL), ("phone", PHONE)])
def test_nothing_is_cut_off_at_the_side(open_page, shots, name: str, viewport: dict[str, int]) -> None:
    page = open_page(viewport=viewport)
    expect(page.locator("#strip .part").first).to_be_visible()
    for view in ("line", "thresholds", "models", "try", "health"):
        page.goto(page.url.split("#")[0] + f"#{view}")
        expect(page.locator(f"#view-{view}")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), view
        assert page.evaluate("scrollY") == 0, f"{view} begins below its top"
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            shots(page, f"{name}-{scheme}-{view}")


def test_the_verdict_can_be_read_from_five_metres(open_page) -> None:
    page = open_page()
    expect(page.locator("#verdict-part")).to_contain_text("P-")
    height = page.locator("#verdict-word").evaluate("it => parseFloat(getComputedStyle(it).fontSize)")
    assert height >= 95  # UNKNOWN is the longest word; PASS and FAIL are larger


def test_the_filter_shows_fails_only(open_page) -> None:
    page = open_page()
    expect(page.locator('#strip .part[data-verdict="fail"]').first).to_be_visible()
    expect(page.locator('#strip .part[data-verdict="pass"]').first).to_be_visible()
    page.get_by_label("Fails", exact=True).check()
    expect(page.locator('#strip .part[data-verdict="pass"]')).to_have_count(0)
    expect(page.locator('#strip .part[data-verdict="fail"]').first).to_be_visible()
    page.get_by_label("All", exact=True).first.check()
    expect(page.locator('#strip .part[data-verdict="pass"]').first).to_be_visible()


def test_a_part_opens_with_everything_about_it(open_page, shots, line) -> None:
    page = open_page()
    part = page.locator("#strip .part", has_text="P-").nth(1)
    part_id = part.get_attribute("data-id")
    page.locator(f'#strip .part[data-id="{part_id}"]').click()
    detail = page.locator("#detail")
    expect(detail.locator("img")).to_be_visible()
    expect(detail).to_contain_text("Decode and prepare")
    expect(detail).to_contain_text("At the PLC")  # the bridge's word comes a moment after the model's
    page.get_by_text("Request, result and outcome as JSON").click()
    shown = json.loads(detail.locator("pre").inner_text())
    assert shown == httpx.get(f"{line.url}/v1/parts/{part_id}").json()
    assert shown["outcome"]["verdict"] == shown["verdict"]
    shots(page, "detail")
    page.keyboard.press("ArrowRight")
    expect(detail.locator("h2")).not_to_have_text(f"Part {shown['result']['context']['part_id']}")
    page.keyboard.press("Escape")
    expect(detail).to_be_hidden()


def test_the_copy_button_copies(open_page) -> None:
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    page.locator("#newest-open").click()
    page.get_by_text("Request, result and outcome as JSON").click()
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_text("Copied.")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert json.loads(copied) == json.loads(page.locator("#detail pre").inner_text())


def test_a_threshold_is_previewed_then_applied_and_changes_the_next_verdict(open_page, shots, line, policy) -> None:
    assert predict(line)["verdict"] == "pass"
    page = open_page("thresholds")
    page.locator("#thresholds-model").select_option("surface-defect")
    good = page.locator(".threshold", has_text="good").locator("input[type=number]")
    expect(page.locator('#preview tr[data-kind="pass"] td').first).not_to_have_text("0")
    good.fill("1")
    expect(page.locator('#preview tr[data-kind="pass"] td').nth(1)).to_have_text("0")
    expect(page.locator("#preview-changed .part").first).to_contain_text("PASS → UNKNOWN")
    assert predict(line)["verdict"] == "pass"
    assert policy()["thresholds"] == {}
    shots(page, "thresholds-preview")
    page.get_by_role("button", name="Apply").click()
    page.locator("#ask").get_by_role("button", name="Apply").click()
    expect(page.locator("#thresholds-said")).to_contain_text("Applied")
    assert policy()["thresholds"] == {"good": 1}
    assert predict(line)["verdict"] == "unknown"
    page.goto(f"{line.url}/#line")
    expect(page.locator('#strip .part[data-verdict="unknown"]').first).to_be_visible()


def test_a_policy_changed_by_somebody_else_is_not_overwritten(open_page, line, policy) -> None:
    page = open_page("thresholds")
    page.locator("#thresholds-model").select_option("surface-defect")
    page.locator(".threshold", has_text="scratch").locator("input[type=number]").fill("0.7")
    page.get_by_role("button", name="Apply").click()
    other = {**policy(), "thresholds": {"dent": 0.6}}
    httpx.put(f"{line.url}/v1/policy", json=other).raise_for_status()
    open_page.expected.append("412")
    page.locator("#ask").get_by_role("button", name="Apply").click()
    expect(page.locator("#thresholds-said")).to_contain_text("Somebody else")
    assert policy()["thresholds"] == {"dent": 0.6}


def test_judging_is_switched_off_and_on_again_after_a_confirmation(open_page, shots, line, policy) -> None:
    page = open_page()
    page.get_by_role("button", name="Switch judging off").click()
    page.get_by_role("button", name="Cancel").click()
    assert policy()["enabled"] is True
    page.get_by_role("button", name="Switch judging off").click()
    page.get_by_role("button", name="Switch off", exact=True).click()
    expect(page.locator("#verdict-word")).to_have_text("OFF")
    expect(page.locator("#verdict use")).to_have_attribute("href", "#shape-off")
    expect(page.locator("#alarm")).to_contain_text("switched off")
    result = predict(line)
    assert (result["status"], result["verdict"]) == ("disabled", "unknown")
    shots(page, "off")
    page.get_by_role("button", name="Switch judging on").click()
    page.get_by_role("button", name="Switch on", exact=True).click()
    expect(page.locator("#verdict-word")).not_to_have_text("OFF")
    expect(page.locator("#alarm")).to_be_hidden()
    assert predict(line)["verdict"] == "pass"


def test_a_dropped_image_is_judged_and_not_counted(open_page, shots, tmp_path: Path) -> None:
    jpeg = encode_jpeg(make_part(33, 5, label="scratch").image)
    page = open_page("try")
    page.locator("#try-model").select_option("surface-defect")
    transfer = page.evaluate_handle(
        """bytes => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], "mine.jpg", {type: "image/jpeg"}));
            return transfer;
        }""",
        list(jpeg),
    )
    page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})
    expect(page.locator("#try-result .verdict-name")).to_have_text("FAIL")
    expect(page.locator("#try-result")).to_contain_text("scratch")
    expect(page.locator("#try-image img")).to_be_visible()
    shots(page, "try")
    file = tmp_path / "no.jpg"
    file.write_bytes(b"this is no image")
    page.set_input_files("#try-file", file)
    expect(page.locator("#try-result .verdict-name")).to_have_text("UNKNOWN")
    page.goto(page.url.split("#")[0] + "#line")
    expect(page.locator("#strip .part").first).to_be_visible()
    assert page.locator("#strip .part", has_text="mine.jpg").count() == 0


def test_models_and_health_are_said_in_words(open_page) -> None:
    page = open_page("models")
    expect(page.locator("#model-list")).to_contain_text("surface-defect")
    expect(page.locator("#model-list")).to_contain_text("version 1 in force")
    page.get_by_role("link", name="Health").click()
    expect(page.locator("#health-summary")).to_have_text("Every part can be judged.")
    expect(page.locator("#health-list")).to_contain_text("Triton works")


def test_the_shift_counts_from_now_on_where_asked_to(open_page) -> None:
    page = open_page()
    shown = page.locator("#shift-counts .all dd")

    def parts() -> int:
        return int(shown.inner_text().replace(",", ""))

    block_until(lambda: parts() >= 20)  # two a second: far from what is counted within the few seconds that follow
    before = parts()
    page.locator("#shift-since").click()
    page.get_by_role("button", name="Count from now").click()
    expect(page.locator("#shift-since")).to_contain_text("Since")
    block_until(lambda: parts() < before)
    page.reload()
    block_until(lambda: 0 < parts() < before)


def test_everything_is_reached_by_the_keyboard(open_page, policy) -> None:
    page = open_page()
    expect(page.locator("#strip .part").first).to_be_visible()
    expect(page.locator("#judging")).to_be_enabled()
    reached = []
    for _ in range(16):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                "(() => { const it = document.activeElement; const style = getComputedStyle(it);"
                " const shown = it.type === 'radio' ? getComputedStyle(it.nextElementSibling) : style;"
                " return [it.id || it.className || it.textContent, shown.outlineStyle]; })()"
            )
        )
    names = [name for name, _ in reached]
    assert names[0] == "skip"
    for wanted in ("Line", "Thresholds", "Models", "judging", "newest-open", "shift-since", "part"):
        assert any(wanted in name for name in names), (wanted, names)
    assert [name for name, outline in reached if outline == "none"] == []
    page.locator("#judging").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#ask")).to_be_visible()
    assert page.evaluate("document.activeElement.value") == "no"
    page.keyboard.press("Enter")
    expect(page.locator("#ask")).to_be_hidden()
    assert policy()["enabled"] is True


def test_the_text_has_contrast(open_page) -> None:
    script = (ROOT / "tests/e2e/contrast.js").read_text()
    for scheme in ("light", "dark"):
        page = open_page(color_scheme=scheme)
        expect(page.locator("#strip .part").nth(3)).to_be_visible()
        for view in ("line", "thresholds", "models", "try", "health"):
            page.goto(page.url.split("#")[0] + f"#{view}")
            expect(page.locator(f"#view-{view}")).to_be_visible()
            assert page.evaluate(script) == [], (scheme, view)
        page.evaluate("document.querySelector('h1').style.color = 'rgb(128, 128, 128)'")
        assert len(page.evaluate(script)) == 1, "the check sees what it should see"


def test_findings_are_drawn_in_pixels_of_the_original(open_page, line) -> None:
    page = open_page()
    kept = httpx.get(f"{line.url}/v1/parts").json()["parts"]
    result_id = next(part["result"]["id"] for part in kept if part["picture"])
    found = page.evaluate(
        """async ([address, result]) => {
            const {drawn} = await import('/page/js/views/image.js');
            const figure = await drawn(address, result, "");
            figure.style.width = "400px";
            document.querySelector("#try-image").replaceChildren(figure);
            location.hash = "#try";
            await new Promise(requestAnimationFrame);
            await new Promise(requestAnimationFrame);
            const image = figure.querySelector("img"), box = figure.querySelector(".box").getBoundingClientRect();
            const place = image.getBoundingClientRect(), scale = image.naturalWidth / place.width;
            return [box.left - place.left, box.top - place.top, box.width, box.height].map(it => it * scale);
        }""",
        [f"/v1/parts/{result_id}/image", {"findings": [{"label": "x", "confidence": 1, "box": [40, 60, 240, 160]}]}],
    )
    assert found == pytest.approx([40, 60, 200, 100], abs=8)  # the line has a width, on both sides


def test_a_token_is_asked_for_where_one_is_needed(browser, tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("a-long-and-secret-token-0123456789\n")
    port = free_port()
    settings = {
        "inference": {
            "http": {"port": port, "token_file": str(tmp_path / "tokens")},
            "triton": {"url": "127.0.0.1:1"},
            "model_repository": str(ROOT / "models"),
        }
    }
    (tmp_path / "settings.yaml").write_text(json.dumps(settings))  # JSON is YAML
    command = [sys.executable, "-m", "lineside_inference", str(tmp_path / "settings.yaml")]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=tmp_path)
    try:
        block_until(lambda: process.poll() is not None or answers(f"http://127.0.0.1:{port}/livez"))
        assert process.poll() is None, (tmp_path / "log").read_text()
        page = browser.new_context().new_page()
        page.goto(f"http://127.0.0.1:{port}/")
        for token, said in (("wrong", "does not know"), ("a-long-and-secret-token-0123456789", "")):
            expect(page.locator("#token")).to_be_visible()
            page.locator("#token-value").fill(token)
            page.get_by_role("button", name="Go on").click()
            if said:
                expect(page.locator("#token-said")).to_contain_text(said)
        expect(page.locator("#token")).to_be_hidden()
        expect(page.locator("#link")).to_have_text("Not judging")  # there is no Triton
        expect(page.locator("#needs")).to_contain_text("Triton")
        page.context.close()
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(HANG_S) == 0  # an open page does not hold it up


def answers(url: str) -> bool:
    try:
        return httpx.get(url).is_success
    except httpx.HTTPError:
        return False


def test_the_page_says_when_the_service_is_gone_and_comes_back(open_page, line) -> None:
    page = open_page()
    expect(page.locator("#verdict-part")).to_contain_text("P-")
    open_page.expected.append("Failed to load resource")
    os.kill(line.pid, signal.SIGKILL)  # the line starts it again
    expect(page.locator("#alarm")).to_contain_text("Not connected")
    expect(page.locator("#verdict")).to_contain_class("old")
    expect(page.locator("#link")).to_have_text("Live")
    expect(page.locator("#alarm")).to_be_hidden()
    block_until(lambda: page.locator("#strip .part").count() > 1)
    expect(page.locator("#verdict")).not_to_contain_class("old")
