import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from lineside_fleet.gate import report
from lineside_fleet.gate.deciding import evaluate
from lineside_fleet.gate.evaluation import Evaluation
from lineside_fleet.gate.settings import GateSettings
from tests.support.simulated_rollouts import Fleet, Truth, draw


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    before, after = draw(Fleet(devices=8, parts=600), Truth(latency=1.2), np.random.default_rng(1))
    staged = after.until(3, "<b>2</b>")
    staged = replace(staged, source="a&b", cells=tuple(replace(cell, confidence=None) for cell in staged.cells))
    return evaluate(GateSettings(), before.until(3, "1"), staged, 3)


class Page(HTMLParser):
    """What a page refers to and which tags it opens."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in {"src", "href", "action"}]


def test_the_files_are_whole_and_say_the_same(tmp_path: Path, evaluation: Evaluation) -> None:
    written = report.write(evaluation, tmp_path / "new" / "folder")
    assert [path.name for path in written] == ["gate.json", "gate.png", "gate.html"]
    document = json.loads(written[0].read_text())
    assert document["schema"] == "lineside/gate/1"
    assert Evaluation.model_validate(document) == evaluation
    first = written[1].read_bytes()
    assert report.write(evaluation, tmp_path / "new" / "folder")[1].read_bytes() == first


def test_the_page_needs_nothing_else_and_escapes_what_others_say(tmp_path: Path, evaluation: Evaluation) -> None:
    text = report.write(evaluation, tmp_path)[2].read_text()
    page = Page()
    page.feed(text)
    assert page.addresses == []
    assert not {"script", "link", "img", "iframe", "b2"} & set(page.tags)
    assert re.search(r"url\(|@import|https?:", text) is None
    assert "&lt;b&gt;2&lt;/b&gt;" in text
    assert "a&amp;b" in text
    assert page.tags.count("svg") == sum(metric.estimate is not None for metric in evaluation.metrics)
    assert "prefers-color-scheme: dark" in text
    for metric in evaluation.metrics:
        assert metric.sentence.replace("<", "&lt;").partition(" of ")[0] in text
