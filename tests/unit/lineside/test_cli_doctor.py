"""The doctor's report: who is asked when, in which order it comes out, as a table and as JSON, and its exit status."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from lineside.checks import Check, Contributor, Mark, bounded, fail, ok, skip, warn
from lineside.cli import common_checks, doctor
from lineside.settings import Settings
from lineside.threads import run_abandonable

FOUND = [
    ok("settings", "right for inference; thing 'press-7'"),
    warn("clock", "2026-11-22T12:00:00+00:00; no time server keeps it", "keep it by a time server"),
    fail("broker", "127.0.0.1:1883: Connection refused", "is the broker running there?"),
    skip("topics end to end", "needs: broker"),
]


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.logging, "disable", lambda _level: None)
    monkeypatch.setattr(doctor.telemetry, "configure", lambda *_given, **_named: None)


def says(*checks: Check) -> Contributor:
    async def contributor(_file: Path | None, _before: Mapping[str, Check]) -> AsyncIterator[Check]:
        for check in checks:
            yield check

    return contributor


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    """Return what runs the command with contributors of the test's own; gives exit status and output."""

    def run(*arguments: str, common: Contributor, machine: Contributor, **others: Contributor) -> tuple[int, str]:
        monkeypatch.setattr(doctor.common_checks, "checks", common)
        monkeypatch.setattr(doctor.machine, "checks", machine)
        monkeypatch.setattr(doctor, "contributors", lambda: others)
        app = typer.Typer()
        app.command()(doctor.doctor)
        result = CliRunner().invoke(app, arguments)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.output

    return run


def test_the_json_keeps_its_schema(asked, golden: Callable[[str, str], None]) -> None:
    status, output = asked("--json", common=says(FOUND[0], FOUND[2]), machine=says(FOUND[1]), bridge=says(FOUND[3]))
    assert status == 1
    golden("doctor.json", output)


@pytest.mark.parametrize("how", [["FILE"], ["--config", "FILE"], ["FILE", "--config", "FILE"], ["--json", "FILE"]])
def test_the_settings_file_is_named_with_or_without_the_option(asked, tmp_path: Path, how: list[str]) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("thing: press-7\n")
    seen: list[Path | None] = []

    async def common(file: Path | None, _before: Mapping[str, Check]) -> AsyncIterator[Check]:
        seen.append(file)
        yield ok("settings", "right")

    status, output = asked(*[str(path) if each == "FILE" else each for each in how], common=common, machine=says())
    assert (status, seen) == (0, [path]), output


def test_two_settings_files_are_one_too_many(asked) -> None:
    status, output = asked("a.yaml", "--config", "b.yaml", common=says(), machine=says())
    assert status == 2
    assert "two settings files: a.yaml and b.yaml" in " ".join(output.replace("│", " ").split())


def test_without_a_file_the_report_says_that_it_is_about_the_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = common_checks._settings(None, [Settings()])
    assert said.mark == "warn"
    assert "about the defaults, not about your box" in said.what
    assert "lineside doctor FILE" in said.remedy
    monkeypatch.setenv("LINESIDE_THING", "press-8")
    assert "defaults and LINESIDE_THING are checked" in common_checks._settings(None, [Settings()]).what
    found = common_checks._settings(tmp_path / "a.yaml", [Settings()])
    assert (found.mark, found.what.startswith(f"{tmp_path}/a.yaml: right for")) == ("ok", True)


def test_nothing_failed_is_exit_status_0(asked) -> None:
    status, output = asked(common=says(FOUND[0]), machine=says(FOUND[1]), bridge=says(FOUND[3]))
    assert status == 0
    assert output.splitlines()[-1] == "3 checks: 1 ok, 1 warn, 1 skip"


def test_the_order_is_that_of_who_is_asked_not_of_who_is_quick(asked) -> None:
    second_is_done = asyncio.Event()

    async def first(_file: Path | None, _before: Mapping[str, Check]) -> AsyncIterator[Check]:
        await second_is_done.wait()
        yield ok("first", "waited for the second, which runs beside it")

    async def second(_file: Path | None, _before: Mapping[str, Check]) -> AsyncIterator[Check]:
        yield ok("second", "is done at once")
        second_is_done.set()

    _status, output = asked("--json", common=says(), machine=says(), first=first, second=second)
    assert [check["name"] for check in json.loads(output)["checks"]] == ["first", "second"]


def test_the_services_checks_know_what_was_found_of_the_machine_and_the_broker(asked) -> None:
    async def knows(_file: Path | None, before: Mapping[str, Check]) -> AsyncIterator[Check]:
        yield ok("known", ", ".join(f"{name} {check.mark}" for name, check in before.items()))

    _status, output = asked("--json", common=says(FOUND[2]), machine=says(FOUND[1]), bridge=knows)
    assert json.loads(output)["checks"][-1]["what"] == "broker fail, clock warn"


def test_checks_that_break_are_a_failure_and_the_others_go_on(asked) -> None:
    async def breaks(_file: Path | None, _before: Mapping[str, Check]) -> AsyncIterator[Check]:
        yield ok("before it", "")
        raise KeyError("colour")

    status, output = asked("--json", common=says(), machine=says(), bridge=breaks, forwarder=says(FOUND[0]))
    assert status == 1
    assert [(check["name"], check["mark"]) for check in json.loads(output)["checks"]] == [
        ("before it", "ok"),
        ("bridge checks", "fail"),
        ("settings", "ok"),
    ]
    assert "colour" in output


def test_checks_that_hang_are_left_in_the_end(asked, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hangs(_file: Path | None, _before: Mapping[str, Check]) -> AsyncIterator[Check]:
        yield ok("before it", "")
        await asyncio.Event().wait()

    monkeypatch.setattr(doctor, "WHOLE_S", 0.01)
    status, output = asked("--json", common=says(), machine=says(), bridge=hangs)
    assert status == 1
    assert [check["name"] for check in json.loads(output)["checks"]] == ["before it", "bridge checks"]


def test_wrong_settings_are_exit_status_2_and_nothing_is_asked(asked, tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("bus: {prot: 1883}\n")
    status, output = asked("--json", "--config", str(path), common=says(FOUND[0]), machine=says())
    assert status == 2
    document = json.loads(output)
    assert {check["name"] for check in document["checks"]} == {"settings"}
    assert document["ok"] is False


async def test_a_blocking_call_gives_its_result_and_its_error() -> None:
    assert await run_abandonable(lambda: 7) == 7
    with pytest.raises(OSError, match="gone"):
        await run_abandonable(lambda: (_ for _ in ()).throw(OSError("gone")))


async def test_a_call_that_hangs_is_left_behind_in_a_thread_that_keeps_nobody() -> None:
    hung, left = threading.Event(), []

    def hangs() -> Check:
        left.append(threading.current_thread())
        hung.wait()
        return ok("disk", "")

    try:
        check = await bounded("disk", lambda: run_abandonable(hangs), within_s=0.01)
        assert check.mark is Mark.FAIL
        assert left[0].daemon
    finally:
        hung.set()
        left[0].join()
    await asyncio.sleep(0)  # its late result finds nobody, and says nothing


def test_what_a_peer_says_moves_no_cursor(asked) -> None:
    status, output = asked(common=says(fail("peer", "says \x1b[2J\x9b31m", "look \x07")), machine=says())
    assert status == 1
    assert "says \\x1b[2J\\x9b31m" in output
    assert "look \\x07" in output
    assert "\x1b[2J" not in output
