import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lineside_fleet.commands import fleet
from tests.support.exported_evidence import many, write

SMALL = """
gate:
  latency: {slower: 0.10}
  throughput: null
  errors: null
  defects: null
  confidence: null
  unknowns: {ratio: 2, allowance: 0.02}
"""


def gate(*arguments: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(fleet, ["gate", *map(str, arguments)])
    return done.exit_code, done.output


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    (tmp_path / "gate.yaml").write_text(SMALL)
    return tmp_path / "gate.yaml"


@pytest.mark.parametrize(("slower", "status", "word"), [(1.0, 0, "Promote"), (1.3, 1, "Stop"), (1.08, 3, "Hold")])
def test_two_exports_are_judged_and_the_status_says_how(
    tmp_path: Path, settings: Path, slower: float, status: int, word: str
) -> None:
    before, after = write(tmp_path / "b", many("3")), write(tmp_path / "s", many("4", slower=slower, seed=2))
    code, text = gate(before, after, "--settings", settings, "--out", tmp_path / "out")
    assert (code, text.split()[0]) == (status, word), text
    assert json.loads((tmp_path / "out" / "gate.json").read_text())["verdict"] == word.lower()
    assert (tmp_path / "out" / "gate.png").read_bytes().startswith(b"\x89PNG")


def test_one_folder_of_both_versions_needs_their_names(tmp_path: Path, settings: Path) -> None:
    write(tmp_path / "all" / "b", many("3"))
    write(tmp_path / "all" / "s", many("4", seed=2))
    folder = tmp_path / "all"
    code, text = gate(folder, folder, "--settings", settings)
    assert code == 3
    assert "mixes versions 3, 4" in text
    versions = ("--baseline-version", "3", "--staged-version", "4")
    code, text = gate(folder, folder, "--settings", settings, *versions, "--json")
    assert code == 0, text
    assert json.loads(text)["staged"]["versions"] == ["4"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("gate: {latencies: {}}", "gate.latencies: not a setting; did you mean 'latency'?"),
        ("gate: {latency: {slow: 1}}", "gate.latency.slow: not a setting; did you mean 'slower'?"),
        ("gate: {looks: many}", "gate.looks: expected a whole number (got 'many')"),
        ("gate: {unknowns: {ratio: 1, allowance: 0}}", "gate.unknowns: ratio 1 and allowance 0 allow nothing"),
        ("gate: [1]", "expected a group"),
        ("- 1", "expected names and values"),
        ("gate: {looks: 1, looks: 2}", "given twice"),
        (
            "gate: {latency: null, throughput: null, errors: null, unknowns: null, defects: null, confidence: null}",
            "let",
        ),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "gate.yaml").write_text(text)
    code, output = gate(tmp_path, tmp_path, "--settings", tmp_path / "gate.yaml")
    assert code == 2
    assert says in output, output


def test_missing_files_end_with_a_sentence(tmp_path: Path) -> None:
    code, text = gate(tmp_path / "none", tmp_path / "none")
    assert code == 2
    assert "No such file" in text
    code, text = gate(tmp_path, tmp_path, "--settings", tmp_path / "none.yaml")
    assert code == 2
    assert "none.yaml: No such file" in text


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, settings: Path) -> None:
    before, after = write(tmp_path / "b", many("3")), write(tmp_path / "s", many("4", seed=2))
    (tmp_path / "file").write_text("")
    code, text = gate(before, after, "--settings", settings, "--out", tmp_path / "file" / "x")
    assert code == 2
    assert "cannot be written" in text
