"""`health`: where it asks agrees with the settings, and the words that need no service."""

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import yaml

from lineside import command, health
from lineside.settings import load

SECTIONS = sorted(health.PORTS)
SETTINGS = {entry.name: entry.load() for entry in entry_points(group="lineside.settings") if entry.name in SECTIONS}


def asked(section: str) -> tuple[str, int]:
    return health._where(section, health.PORTS[section])


def told(section: str) -> tuple[str, int]:
    http = getattr(load(SETTINGS[section]), section).http
    return http.host, http.port


def test_every_service_has_settings_to_agree_with() -> None:
    assert {"inference", "topic_bridge", "opcua_bridge", "forwarder", "exporter"} <= set(SETTINGS)


@pytest.mark.parametrize("section", sorted(SETTINGS))
class TestWhereAgreesWithTheSettings:
    """The real settings of each service are the judge."""

    def test_by_default(self, section: str) -> None:
        assert asked(section) == told(section)

    def test_by_file(self, section: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file = tmp_path / "box.yaml"
        file.write_text(yaml.safe_dump({section: {"http": {"port": 7001, "host": "127.0.0.9"}}}))
        monkeypatch.setenv("LINESIDE_CONFIG", str(file))
        assert asked(section) == told(section) == ("127.0.0.9", 7001)

    def test_by_a_file_that_says_nothing_of_it(
        self, section: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for number, text in enumerate(("", "log: {level: debug}\n", f"{section}: {{}}\n")):
            file = tmp_path / f"{number}.yaml"
            file.write_text(text)
            monkeypatch.setenv("LINESIDE_CONFIG", str(file))
            assert asked(section) == told(section)

    def test_the_environment_wins_over_the_file(
        self, section: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = tmp_path / "box.yaml"
        file.write_text(yaml.safe_dump({section: {"http": {"port": 7001, "host": "127.0.0.9"}}}))
        monkeypatch.setenv("LINESIDE_CONFIG", str(file))
        monkeypatch.setenv(f"LINESIDE_{section.upper()}__HTTP__PORT", "7002")
        assert asked(section) == told(section) == ("127.0.0.9", 7002)

    def test_in_any_case_of_letters(self, section: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(f"lineside_{section}__http__port", "7003")
        assert asked(section) == told(section)
        assert asked(section)[1] == 7003

    def test_by_a_group_in_json(self, section: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(f"LINESIDE_{section.upper()}", '{"http": {"port": 7004}}')
        assert asked(section) == told(section)
        assert asked(section)[1] == 7004
        monkeypatch.setenv(f"LINESIDE_{section.upper()}__HTTP__PORT", "7005")
        assert asked(section) == told(section)
        assert asked(section)[1] == 7005
        monkeypatch.delenv(f"LINESIDE_{section.upper()}")
        monkeypatch.delenv(f"LINESIDE_{section.upper()}__HTTP__PORT")
        monkeypatch.setenv(f"LINESIDE_{section.upper()}__HTTP", '{"port": 7006}')
        assert asked(section) == told(section)
        assert asked(section)[1] == 7006


def test_a_server_on_every_address_is_asked_on_the_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    for host, expected in (("0.0.0.0", "127.0.0.1"), ("::", "::1")):  # noqa: S104 - what is asked for, not listened on
        monkeypatch.setenv("LINESIDE_FORWARDER__HTTP__HOST", host)
        assert asked("forwarder") == (expected, 8083)


def test_settings_that_cannot_be_read_are_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [")
    for file, reason in ((tmp_path / "none.yaml", "cannot be read: No such file or directory"), (broken, "not YAML")):
        monkeypatch.setenv("LINESIDE_CONFIG", str(file))
        assert health.main([], section="inference") == 1
        assert capsys.readouterr().out == f"{file}: {reason}\n"
    monkeypatch.delenv("LINESIDE_CONFIG")
    monkeypatch.setenv("LINESIDE_INFERENCE__HTTP__PORT", "eighty")
    assert health.main([], section="inference") == 1
    assert capsys.readouterr().out == "inference.http.port: 'eighty' is not a number\n"


def test_a_wrong_argument_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert health.main(["--lives"], section="inference") == 2
    assert "--lives" in capsys.readouterr().err


class TestWords:
    """What every service's command understands before it runs the service."""

    def test_help_and_version(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert command.answer("opcua_bridge", ["--help"]) == 0
        assert "lineside-opcua-bridge health [--live]" in capsys.readouterr().out
        assert command.answer("opcua_bridge", ["--version"]) == 0
        assert capsys.readouterr().out.startswith("lineside-opcua-bridge 0.")

    @pytest.mark.parametrize("arguments", [[], ["box.yaml"], ["/etc/lineside/settings.yaml"]])
    def test_a_settings_file_or_nothing_runs_the_service(self, arguments: list[str]) -> None:
        assert command.answer("inference", arguments) is None

    @pytest.mark.parametrize("arguments", [["--port"], ["a.yaml", "b.yaml"], ["healthy", "--live"]])
    def test_anything_else_is_refused_with_the_usage(
        self, arguments: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert command.answer("inference", arguments) == 2
        assert " ".join(arguments) in capsys.readouterr().err


HEAVY = ("pydantic", "uvicorn", "starlette", "numpy", "grpc", "asyncio", "http", "urllib", "yaml", "importlib.metadata")


@pytest.mark.parametrize("section", SECTIONS)
def test_health_imports_next_to_nothing(section: str) -> None:
    module = "lineside_bench.simulators.command" if section.endswith("_sim") else f"lineside_{section}.command"
    main = section if section.endswith("_sim") else "main"
    program = (
        f"import {module} as it; sys.argv[1:] = ['health', '--help-is-none']\n"
        f"try: it.{main}()\nexcept SystemExit as end: status = end.code\n"
        "print(status, *sys.modules)"
    )
    # -S: without site, whose editable installations import what they like; the paths are given instead.
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{program}"],
        capture_output=True,
        text=True,
        check=True,
    )
    status, *modules = done.stdout.split()
    assert status == "2"
    assert not {name for name in modules if name in HEAVY}
